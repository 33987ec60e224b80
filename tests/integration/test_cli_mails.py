"""`list`, `show`, `retract`, `replace`, `release` against a real scheduler."""

import re

import pytest

from tests.support.ports import wait_until
from tests.support.up import Up


def send(up: Up, *arguments: str) -> str:
    """Send a mail and wait until the scheduler has it; its id."""
    said = up.command("send", "--from", "a@x.example", "--to", "b@y.example", "--text", "Hello", *arguments)
    assert said.code == 0, said.err
    mail = said.out.strip()
    wait_until(lambda: up.command("show", mail).code == 0, "its admission")
    return mail


def test_a_held_mail_is_listed_shown_and_taken_back(up: Up):
    mail = send(up, "--subject", "Held", "--batch", "held")
    [line] = up.command("list", "--batch", "held", "--json").json["mails"]
    assert (line["id"], line["subject"], line["recipients"][0]["state"]) == (mail, "Held", "held")
    shown = up.command("show", mail).out
    assert "b@y.example: held until" in shown
    assert "by the setting sending.hold = 1h" in shown
    assert re.search(r"submitted by +pillarbox$", shown, re.MULTILINE)
    mine = [up.command("list", "--submitted-by", user, "--batch", "held") for user in ("pillarbox", "nobody")]
    assert [mail in said.out for said in mine] == [True, False]
    taken = up.command("retract", mail)
    assert (taken.code, taken.out) == (0, f"{mail}: retracted: it will not be sent\n")
    assert "retracted" in up.command("list", "--batch", "held").out


def test_a_delivered_mail_is_too_late_to_take_back_and_says_who_took_it_when(up: Up):
    mail = send(up, "--hold", "0")
    wait_until(lambda: "delivered" in up.command("show", mail).out, "its outcome")
    late = up.command("retract", mail)
    assert late.code == 1
    assert f"{mail}: too late: delivered at 20" in late.out
    assert "250 2.0.0 kept as" in late.out
    replaced = up.command("replace", mail, "--from", "a@x.example", "--to", "b@y.example", "--text", "Other")
    assert (replaced.code, replaced.out) == (1, f"{mail}: too late: b@y.example: delivered\n")
    released = up.command("release", mail)
    assert (released.code, released.out) == (1, f"{mail}: nothing of it was waiting\n")
    resent = up.command("resend", mail)
    assert (resent.code, resent.out) == (1, f"{mail}: nothing of it waits in doubt\n")
    closed = up.command("close", mail, "--json")
    assert (closed.code, closed.json["closed"], closed.json["mails"][0]["recipients"]) == (1, 0, 0)


def test_a_whole_batch_is_taken_back(up: Up):
    mails = {send(up, "--batch", "many") for _ in range(2)}
    answer = up.command("retract", "--batch", "many", "--json")
    assert answer.code == 0
    assert {mail["id"] for mail in answer.json["mails"]} == mails
    assert answer.json["counts"] == {"retracted": 2}
    assert up.command("retract", "--batch", "nobody's").code == 1


SIGNED = (
    b"From: a@x.example\r\nTo: c@y.example\r\nSubject:  Second\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\n"
    b"Message-ID: <1@x.example>\r\nContent-Type: multipart/signed; boundary=b; micalg=pgp-sha256;\r\n"
    b' protocol="application/pgp-signature"\r\n'
    b"\r\n--b\r\n\r\nCorrected  \r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n"
)


def test_a_finished_message_takes_the_place_of_a_held_one_octet_for_octet(up: Up, tmp_path):
    before = up.inbox()
    mail = send(up, "--subject", "First")
    (tmp_path / "new.eml").write_bytes(SIGNED)
    replaced = up.command("replace", mail, tmp_path / "new.eml", "--rcpt-to", "d@y.example")
    assert (replaced.code, replaced.out) == (0, f"{mail}: replaced: the new content stands in its place\n")
    released = up.command("release", mail)
    assert (released.code, released.out) == (0, f"{mail}: it goes now\n")
    [arrived] = [file for file in up.wait_for_mail(len(before) + 1) if file not in before]
    assert arrived.read_bytes().endswith(SIGNED)
    assert "d@y.example" in up.command("show", mail).out


@pytest.mark.parametrize(
    ("content", "flags", "code", "says"),
    [
        (b"Subject: whose?\n\nx\n", [], 1, "message.From"),
        (b"From: a@x.example\n\nx\n", [], 1, "message.to"),
        (SIGNED, ["--rcpt-to", "nobody"], 2, "--rcpt-to"),
        (SIGNED, ["--subject", "x"], 2, "--subject"),
    ],
)
def test_a_finished_message_that_can_not_go_replaces_nothing(up: Up, tmp_path, content, flags, code, says):
    mail = send(up, "--subject", "First")
    (tmp_path / "new.eml").write_bytes(content)
    said = up.command("replace", mail, tmp_path / "new.eml", *flags)
    assert (said.code, says in said.err) == (code, True), said.err
    assert up.command("retract", mail).code == 0


@pytest.mark.parametrize("command", ["show", "retract", "release"])
def test_an_unknown_id_is_a_no(up: Up, command: str):
    said = up.command(command, "nothing-of-this-name")
    assert said.code == 1
    assert "no mail nothing" in said.err or "no such mail" in said.out


def test_the_list_goes_on_where_the_former_page_ended(up: Up):
    mails = [send(up, "--batch", "pages") for _ in range(3)]
    first = up.command("list", "--batch", "pages", "--limit", "2")
    assert [mail in first.out for mail in mails] == [False, True, True]
    before = first.err.partition("--before ")[2].strip()
    second = up.command("list", "--batch", "pages", "--limit", "2", "--before", before)
    assert [mail in second.out for mail in mails] == [True, False, False]
    assert up.command("retract", "--batch", "pages").code == 0


def test_what_the_scheduler_refuses_names_the_field(up: Up):
    said = up.command("retract", "--recipient", "nobody")
    assert said.code == 1
    assert "recipient: 'nobody' is no e-mail address" in said.err
