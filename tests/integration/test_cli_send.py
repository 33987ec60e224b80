"""`pillarbox send`, from flags and files to the inbox."""

import email
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from tests.support.ports import wait_until
from tests.support.up import Up

NOW = ("--hold", "0")


def new_mails(up: Up, before: list[Path], count: int) -> list[EmailMessage]:
    """The mails that came since, by subject."""
    up.wait_for_mail(len(before) + count)
    messages = [
        email.message_from_bytes(file.read_bytes(), policy=default) for file in up.inbox() if file not in before
    ]
    return sorted(messages, key=lambda message: str(message["Subject"]))


def finished(number: int) -> bytes:
    return f"From: a@x.example\nTo: b{number}@y.example\nSubject: number {number:02}\n\nFrom number {number}\n".encode()


def test_a_mail_put_together_from_flags_arrives_with_all_its_parts(up: Up, tmp_path: Path):
    before = up.inbox()
    (tmp_path / "page.html").write_text("<p>Grüße</p>", encoding="utf-8")
    (tmp_path / "report.pdf").write_bytes(b"%PDF")
    said = up.command(
        "send", "--from", "Ada <a@x.example>", "--to", "b@y.example", "--cc", "c@y.example", "--bcc", "d@y.example",
        "--reply-to", "r@x.example", "--subject", "Grüße", "--text-file", "-", "--html-file", tmp_path / "page.html",
        "--attach", tmp_path / "report.pdf", "--header", "X-Kind: test", "--id", "my-own-id", "--batch", "parts", *NOW,
        stdin="Grüße\n".encode(),
    )  # fmt: skip
    assert (said.code, said.out) == (0, "my-own-id\n"), said.err
    assert "1 mail safe with the broker at amqp://" in said.err
    [mail] = new_mails(up, before, 1)
    assert (mail["From"], mail["Subject"], mail["X-Kind"]) == ("Ada <a@x.example>", "Grüße", "test")
    assert mail["Bcc"] is None
    assert mail.get_body(("plain",)).get_content().strip() == "Grüße"
    assert mail.get_body(("html",)).get_content().strip() == "<p>Grüße</p>"
    assert [part.get_filename() for part in mail.iter_attachments()] == ["report.pdf"]


def test_the_same_id_twice_stays_one_mail(up: Up):
    before = up.inbox()
    arguments = ("--from", "a@x.example", "--to", "b@y.example", "--text", "x", "--id", "twice", *NOW)
    for subject in ("first", "second"):
        assert up.command("send", *arguments, "--subject", subject).code == 0
    [mail] = new_mails(up, before, 1)
    assert mail["Subject"] == "first"
    wait_until(lambda: "delivered" in up.command("show", "twice").out, "its outcome")
    assert len(up.inbox()) == len(before) + 1


def test_a_finished_message_goes_to_the_envelope_of_the_flags(up: Up, tmp_path: Path):
    before = up.inbox()
    (tmp_path / "mail.eml").write_bytes(finished(1))
    said = up.command(
        "send", tmp_path / "mail.eml", "--mail-from", "bounces@x.example", "--rcpt-to", "e@y.example", "--json", *NOW
    )
    assert said.code == 0, said.err
    [sent] = said.json["mails"]
    assert sent["source"] == str(tmp_path / "mail.eml")
    new_mails(up, before, 1)
    story = up.command("show", sent["id"], "--json").json
    assert story["sender"] == "bounces@x.example"
    assert [recipient["address"] for recipient in story["recipients"]] == ["e@y.example"]


def test_a_folder_an_mbox_and_standard_input_are_sent_message_by_message(up: Up, tmp_path: Path):
    before = up.inbox()
    for number in (1, 2):
        (tmp_path / f"{number}.eml").write_bytes(finished(number))
    mbox = b"".join(
        b"From a Thu Jan  1 00:00:00 1970\n" + finished(n).replace(b"\nFrom ", b"\n>From ") + b"\n"
        for n in range(3, 33)
    )
    (tmp_path / "box").write_bytes(mbox)
    counts = [
        len(up.command("send", *place, *NOW, stdin=stdin).out.splitlines())
        for place, stdin in (([tmp_path], b""), ([tmp_path / "box"], b""), (["-"], finished(33)))
    ]
    assert counts == [2, 30, 1]
    mails = new_mails(up, before, 33)
    assert [mail["Subject"] for mail in mails] == [f"number {number:02}" for number in range(1, 34)]
    assert mails[5].get_content().strip() == "From number 6"


def test_what_the_scheduler_refuses_lies_with_the_dead_letters_and_says_why(up: Up, tmp_path: Path):
    (tmp_path / "mail.eml").write_bytes(b"Subject: nobody wrote this\n\nx\n")
    said = up.command("send", tmp_path / "mail.eml", "--id", "nobody")
    assert said.code == 0
    wait_until(lambda: up.command("dead", "list", "--json").json["total"] == 1, "the dead letter")
    [letter] = up.command("dead", "list", "--json").json["letters"]
    assert (letter["message_id"], letter["exchange"]) == ("nobody", "pillarbox.submit")
    assert "From" in letter["reason"]
