"""Transactions, as transcripts."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sender.extensions import Extensions
from services.sender.reply_parser import MAX_LINE, MAX_REPLY, ReplyParser
from services.sender.smtp_client import BLOCK, SmtpClient
from shared.outcomes import Deferred, Delivered
from shared.settings import Timeouts
from shared.smtp_reply import Reply
from tests.support.transcript import CONTENT, CONTENT_LINES, mail, play, said, told

HOST = "mx1.example.net [192.0.2.1]:25"
ENVELOPE = """
C: MAIL FROM:<a@sender.example>
C: RCPT TO:<b@mx.example>
C: DATA
"""
GO = """
S: 250 sender ok
S: 250 recipient ok
S: 354 go ahead
"""


def client(pipelining: bool = True, **offered: object) -> SmtpClient:
    extensions = Extensions(pipelining=pipelining, **offered)  # type: ignore[arg-type]  # rows of tables
    return SmtpClient(HOST, extensions, Timeouts(), ReplyParser())


def outcomes(transcript: str, *mails: object, pipelining: bool = True) -> list[str]:
    """What becomes of the mails (one small one where none is given) in this dialogue."""
    machine = client(pipelining)
    machine.submit(mails or [mail()])  # type: ignore[arg-type]  # only mails are passed
    play(machine, transcript)
    return told(machine.mails.results)


# -- a mail after the other


@pytest.mark.checklist(58, 61, 98, 99, 105)
def test_with_pipelining_the_envelope_goes_in_one_group():
    assert outcomes(f"{ENVELOPE}{GO}{CONTENT_LINES}\nS: 250 2.0.0 queued as 1") == [
        "1: delivered 250 2.0.0 queued as 1"
    ]


def test_the_outcome_names_the_host_and_keeps_the_reply():
    machine = client()
    machine.submit([mail()])
    play(machine, f"{ENVELOPE}{GO}{CONTENT_LINES}\nS: 250 2.0.0 queued")
    [sent] = machine.mails.results
    assert sent.outcomes == (Delivered(Reply(250, "2.0.0", "queued"), HOST),)
    assert (machine.mails.in_flight, machine.mails.begun) == (0, 1)


def test_the_end_of_a_mail_and_the_next_envelope_travel_together():  # one round trip a mail
    transcript = f"""
{ENVELOPE}{GO}{CONTENT_LINES}{ENVELOPE.rstrip()}
S: 250 first
S: 250 sender ok
S: 250 recipient ok
S: 354 go ahead
{CONTENT_LINES}
S: 250 second
"""
    assert outcomes(transcript, mail(1), mail(2)) == ["1: delivered 250 first", "2: delivered 250 second"]


def test_a_mail_submitted_while_another_is_under_way_follows_at_once():
    machine = client()
    machine.submit([mail(1)])
    play(machine, f"{ENVELOPE}{GO}{CONTENT_LINES}")
    machine.submit([mail(2)])
    play(machine, f"{ENVELOPE}\nS: 250 first\nS: 250 ok\nS: 250 ok\nS: 354 go\n{CONTENT_LINES}\nS: 250 second")
    assert told(machine.mails.results) == ["1: delivered 250 first", "2: delivered 250 second"]


# -- a sender that has slept


def test_a_mail_whose_claim_has_run_out_is_not_begun_and_those_behind_it_come_back():
    transcript = f"""
{ENVELOPE}{GO}{CONTENT_LINES}
S: 250 first
C: QUIT
"""
    late = mail(2, is_ours=lambda: False)
    assert outcomes(transcript, mail(1), late, mail(3)) == ["2: untouched", "3: untouched", "1: delivered 250 first"]


@pytest.mark.parametrize("pipelining", [True, False])
def test_no_content_goes_out_when_the_claim_has_run_out_before_the_server_wants_it(pipelining: bool):
    still = iter([True, False])
    machine = client(pipelining)
    machine.submit([mail(1, is_ours=lambda: next(still)), mail(2)])
    group = f"{ENVELOPE}{GO}"
    single = "C: MAIL FROM:<a@sender.example>\nS: 250 ok\nC: RCPT TO:<b@mx.example>\nS: 250 ok\nC: DATA\nS: 354 go"
    play(machine, group if pipelining else single)
    assert machine.closed
    assert told(machine.mails.results) == ["1: deferred 451 4.3.0", "2: untouched"]


@pytest.mark.checklist(65)
def test_without_pipelining_each_command_waits_for_its_reply():
    transcript = f"""
C: MAIL FROM:<a@sender.example>
S: 250 ok
C: RCPT TO:<b@mx.example>
S: 250 ok
C: RCPT TO:<c@mx.example>
S: 251 user not local, will forward
C: DATA
S: 354 go
{CONTENT_LINES}
S: 250 first
C: MAIL FROM:<a@sender.example>
S: 250 ok
C: RCPT TO:<b@mx.example>
S: 250 ok
C: DATA
S: 354 go
{CONTENT_LINES}
S: 250 second
"""
    mails = [mail(1, "b@mx.example", "c@mx.example"), mail(2)]
    assert outcomes(transcript, *mails, pipelining=False) == [  # 251 is accepted
        "1: delivered 250 first, delivered 250 first",
        "2: delivered 250 second",
    ]


@pytest.mark.checklist(106)
def test_pipelining_can_be_turned_off():
    machine = SmtpClient(HOST, Extensions(pipelining=True), Timeouts(), ReplyParser(), pipelining=False)
    machine.submit([mail()])
    assert said(machine) == b"MAIL FROM:<a@sender.example>\r\n"


# -- recipients

TWO = """
C: MAIL FROM:<a@sender.example>
C: RCPT TO:<b@mx.example>
C: RCPT TO:<c@mx.example>
C: DATA
"""


@pytest.mark.checklist(45, 64)
@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (["250 ok", "550 5.1.1 no", "354 go"], "delivered 250 queued, bounced 550 5.1.1 no"),
        (["450 later", "250 ok", "354 go"], "deferred 450 later, delivered 250 queued"),
        (["251 will forward", "551 try c@x.example", "354 go"], "delivered 250 queued, bounced 551 try c@x.example"),
        (["250 ok", "452 4.2.2 mailbox full", "354 go"], "delivered 250 queued, deferred 452 4.2.2 mailbox full"),
        (["250 ok", "552 5.2.2 mailbox full", "354 go"], "delivered 250 queued, deferred 552 5.2.2 mailbox full"),
        (["250 ok", "499 x", "354 go"], "delivered 250 queued, deferred 499 x"),
        (["250 ok", "599 x", "354 go"], "delivered 250 queued, bounced 599 x"),
        (["250 ok", "530 5.7.0 sign in first", "354 go"], "delivered 250 queued, deferred 530 5.7.0 sign in first"),
    ],
)
def test_each_recipient_has_its_own_outcome(replies, expected):
    lines = "\n".join(f"S: {reply}" for reply in ["250 ok", *replies])
    transcript = f"{TWO}{lines}\n{CONTENT_LINES}\nS: 250 queued"
    assert outcomes(transcript, mail(1, "b@mx.example", "c@mx.example")) == [f"1: {expected}"]


@pytest.mark.checklist(63)
def test_recipients_that_are_too_many_go_in_another_transaction():
    transcript = f"""
{TWO}
S: 250 ok
S: 250 ok
S: 452 4.5.3 too many recipients
S: 354 go
{CONTENT_LINES}
C: MAIL FROM:<a@sender.example>
C: RCPT TO:<c@mx.example>
C: DATA
S: 250 first
S: 250 ok
S: 250 ok
S: 354 go
{CONTENT_LINES}
S: 250 second
"""
    assert outcomes(transcript, mail(1, "b@mx.example", "c@mx.example")) == [
        "1: delivered 250 first, delivered 250 second"
    ]


def test_a_transaction_that_takes_nobody_is_the_last():
    transcript = f"""
{TWO}
S: 250 ok
S: 250 ok
S: 552 too many recipients
S: 354 go
{CONTENT_LINES}
C: MAIL FROM:<a@sender.example>
C: RCPT TO:<c@mx.example>
C: DATA
S: 250 first
S: 250 ok
S: 452 still too many
S: 503 no recipients
C: RSET
S: 250 ok
"""
    assert outcomes(transcript, mail(1, "b@mx.example", "c@mx.example")) == [
        "1: delivered 250 first, deferred 452 still too many"
    ]


def test_the_further_transaction_may_be_refused_as_a_whole():
    transcript = f"""
{TWO}
S: 250 ok
S: 250 ok
S: 452 too many recipients
S: 354 go
{CONTENT_LINES}
C: MAIL FROM:<a@sender.example>
C: RCPT TO:<c@mx.example>
C: DATA
S: 250 first
S: 451 slow down
S: 503 MAIL first
S: 503 MAIL first
C: RSET
S: 250 ok
"""
    assert outcomes(transcript, mail(1, "b@mx.example", "c@mx.example")) == [
        "1: delivered 250 first, deferred 451 slow down"
    ]


@pytest.mark.checklist(62)
def test_more_than_a_hundred_recipients_go_in_chunks():
    addresses = [f"u{number}@mx.example" for number in range(250)]
    machine = client()
    machine.submit([mail(1, *addresses)])
    replies_to_the_dot_before = 0
    for size in (100, 100, 50):
        assert said(machine).count(b"RCPT TO:") == size
        machine.feed(b"250 ok\r\n" * (replies_to_the_dot_before + 1 + size) + b"354 go\r\n", 0)
        replies_to_the_dot_before = 1
    assert said(machine) == CONTENT + b".\r\n"
    machine.feed(b"250 last\r\n", 0)
    [sent] = machine.mails.results
    assert [outcome.reply.text for outcome in sent.outcomes] == ["ok"] * 200 + ["last"] * 50


# -- refusals

REFUSED_RECIPIENT = f"""
{ENVELOPE}
S: 250 ok
S: 550 5.1.1 no such user
"""


@pytest.mark.checklist(67, 70, 102)
def test_all_refused_and_data_refused_is_followed_by_rset():
    transcript = f"{REFUSED_RECIPIENT.rstrip()}\nS: 503 5.5.1 no valid recipients\nC: RSET\nS: 250 ok"
    assert outcomes(transcript) == ["1: bounced 550 5.1.1 no such user"]


@pytest.mark.checklist(101)
def test_all_refused_and_data_accepted_gets_a_lone_dot():
    transcript = f"{REFUSED_RECIPIENT.rstrip()}\nS: 354 go\nC: .\nC: RSET\nS: 250 took nothing\nS: 250 ok"
    assert outcomes(transcript) == ["1: bounced 550 5.1.1 no such user"]


def test_the_next_mail_follows_a_failed_one_over_the_same_connection():
    transcript = f"""
{REFUSED_RECIPIENT.rstrip()}
S: 503 5.5.1 no valid recipients
C: RSET{ENVELOPE.rstrip()}
S: 250 reset
S: 250 ok
S: 250 ok
S: 354 go
{CONTENT_LINES}
S: 250 second
"""
    assert outcomes(transcript, mail(1), mail(2)) == ["1: bounced 550 5.1.1 no such user", "2: delivered 250 second"]


@pytest.mark.checklist(68)
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("451 4.3.0 later", "deferred 451 4.3.0 later"),
        ("550 5.7.1 go away", "bounced 550 5.7.1 go away"),
        ("552 5.3.4 too big", "bounced 552 5.3.4 too big"),  # of MAIL, it is for good (RFC 1870)
        ("530 5.7.0 sign in first", "deferred 530 5.7.0 sign in first"),  # item 140
        ("503 5.5.1 not here", "deferred 503 5.5.1 not here"),  # a disorder, and no verdict on the mail
        ("530 5.7.0 say STARTTLS first", "deferred 530 5.7.0 say STARTTLS first"),
    ],
)
@pytest.mark.parametrize("rest", [["503 MAIL first", "503 MAIL first"], ["550 no", "503 no"], ["250 ok", "503 no"]])
def test_a_refusal_of_mail_is_for_every_recipient(reply, rest, expected):
    lines = "\n".join(f"S: {line}" for line in [reply, *rest[:1], *rest])
    transcript = f"{TWO}{lines}\nC: RSET\nS: 250 ok"
    assert outcomes(transcript, mail(1, "b@mx.example", "c@mx.example")) == [f"1: {expected}, {expected}"]


def test_a_refusal_of_mail_counts_even_where_the_server_goes_on():
    transcript = f"{ENVELOPE}S: 550 no\nS: 250 ok\nS: 354 go\nC: .\nC: RSET\nS: 250 queued\nS: 250 ok"
    assert outcomes(transcript) == ["1: bounced 550 no"]


def test_a_refusal_of_mail_is_for_recipients_of_later_chunks_too():
    machine = client()
    machine.submit([mail(1, *[f"u{number}@mx.example" for number in range(101)])])
    said(machine)
    machine.feed(b"550 no\r\n" + b"503 no\r\n" * 101, 0)
    assert said(machine) == b"RSET\r\n"
    [sent] = machine.mails.results
    assert {outcome.reply.code for outcome in sent.outcomes} == {550}


@pytest.mark.parametrize(("reply", "expected"), [("451 later", "deferred 451 later"), ("554 no", "bounced 554 no")])
def test_a_refusal_of_data_is_for_those_who_were_accepted(reply, expected):
    transcript = f"{TWO}S: 250 ok\nS: 250 ok\nS: 550 5.1.1 no\nS: {reply}\nC: RSET\nS: 250 ok"
    recipients = ("b@mx.example", "c@mx.example")
    assert outcomes(transcript, mail(1, *recipients)) == [f"1: {expected}, bounced 550 5.1.1 no"]


@pytest.mark.checklist(69)
@pytest.mark.parametrize(
    ("reply", "expected"), [("451 later", "deferred 451 later"), ("554 5.7.1 spam", "bounced 554 5.7.1 spam")]
)
def test_a_refusal_after_the_final_dot_is_for_all_who_were_accepted(reply, expected):
    transcript = f"""
{TWO}
S: 250 ok
S: 250 ok
S: 250 ok
S: 354 go
{CONTENT_LINES}
S: {reply}
C: RSET
S: 250 ok
"""
    assert outcomes(transcript, mail(1, "b@mx.example", "c@mx.example")) == [f"1: {expected}, {expected}"]


def test_a_refusal_after_the_final_dot_does_not_disturb_the_envelope_behind_it():
    transcript = f"""
{ENVELOPE}{GO}{CONTENT_LINES}{ENVELOPE.rstrip()}
S: 554 5.7.1 spam
S: 250 ok
S: 250 ok
S: 354 go
{CONTENT_LINES}
S: 250 second
"""
    assert outcomes(transcript, mail(1), mail(2)) == ["1: bounced 554 5.7.1 spam", "2: delivered 250 second"]


@pytest.mark.checklist(70)
@pytest.mark.parametrize(
    ("dialogue", "expected"),
    [
        ("C: MAIL FROM:<a@sender.example>\nS: 550 no", "bounced 550 no"),
        ("C: MAIL FROM:<a@sender.example>\nS: 250 ok\nC: RCPT TO:<b@mx.example>\nS: 450 later", "deferred 450 later"),
        (
            "C: MAIL FROM:<a@sender.example>\nS: 250 ok\nC: RCPT TO:<b@mx.example>\nS: 250 ok\nC: DATA\nS: 554 no",
            "bounced 554 no",
        ),
    ],
)
def test_without_pipelining_rset_is_answered_before_the_next_mail(dialogue, expected):
    transcript = f"{dialogue}\nC: RSET\nS: 250 ok\nC: MAIL FROM:<a@sender.example>\nX: hangs up"
    assert outcomes(transcript, mail(1), mail(2), pipelining=False) == [f"1: {expected}", "2: untouched"]


@pytest.mark.checklist(71)
@pytest.mark.parametrize("reply", ["S: 500 what?", "S: 421 4.3.2 bye", "S: 354 hm", "X: hangs up"])
def test_a_failed_rset_does_not_harm_the_next_mail(reply):
    transcript = f"{REFUSED_RECIPIENT.rstrip()}\nS: 503 no\nC: RSET{ENVELOPE.rstrip()}\n{reply}"
    assert outcomes(transcript, mail(1), mail(2)) == ["1: bounced 550 5.1.1 no such user", "2: untouched"]


# -- the end of the connection, at any time


@pytest.mark.checklist(44, 46, 47, 48, 49, 52, 66, 72, 73, 74, 75, 89, 104)
@pytest.mark.parametrize(
    ("transcript", "expected"),
    [
        (f"{ENVELOPE}X: hangs up", "deferred 451 4.4.2"),
        (f"{ENVELOPE}S: 250 ok\nX: hangs up", "deferred 451 4.4.2"),
        (f"{ENVELOPE}S: 250 ok\nS: 250 ok\nX: hangs up", "deferred 451 4.4.2"),
        (f"{ENVELOPE}{GO}{CONTENT_LINES}\nX: hangs up", "deferred 451 4.4.2 in doubt"),
        (f"{ENVELOPE}S: 550 5.7.1 no\nX: hangs up", "bounced 550 5.7.1 no"),
        (f"{ENVELOPE}S: 250 ok\nS: 550 5.1.1 no\nX: hangs up", "bounced 550 5.1.1 no"),
        (f"{ENVELOPE}S: 250 ok\nS: 452 too many\nX: hangs up", "deferred 452 too many"),
        (f"{REFUSED_RECIPIENT.rstrip()}\nS: 354 go\nC: .\nC: RSET\nX: hangs up", "bounced 550 5.1.1 no such user"),
        (f"{ENVELOPE}T: waits in vain", "deferred 451 4.4.2"),
        (f"{ENVELOPE}S: 250 ok\nS: 250 ok\nT: waits in vain", "deferred 451 4.4.2"),
        (f"{ENVELOPE}{GO}{CONTENT_LINES}\nT: waits in vain", "deferred 451 4.4.2 in doubt"),
        (f"{ENVELOPE}S: 421 4.3.2 bye", "deferred 421 4.3.2 bye"),
        (f"{ENVELOPE}S: 250 ok\nS: 421 bye", "deferred 421 bye"),
        (f"{ENVELOPE}S: 250 ok\nS: 250 ok\nS: 421 bye", "deferred 421 bye"),
        (f"{ENVELOPE}{GO}{CONTENT_LINES}\nS: 421 bye", "deferred 421 bye"),  # it was answered: no doubt
        (f"{ENVELOPE}S: nonsense", "deferred 451 4.5.0"),
        (f"{ENVELOPE}S: 250 ok\nS: 850 NONSENSE", "deferred 451 4.5.0"),
        (f"{ENVELOPE}{GO}{CONTENT_LINES}\nS: nonsense", "deferred 451 4.5.0 in doubt"),
        (f"{ENVELOPE}S: 550 {'x' * MAX_LINE}", "deferred 451 4.5.0"),  # no verdict, however it begins
        (f"{ENVELOPE}" + "S: 550-on and on\n" * (MAX_REPLY // 12), "deferred 451 4.5.0"),
        (f"{ENVELOPE}S: 550-no\nS: 551 no", "deferred 451 4.5.0"),
        (f"{ENVELOPE}S: 354 go", "deferred 451 4.5.0"),
        (f"{ENVELOPE}S: 250 ok\nS: 354 go", "deferred 451 4.5.0"),
        (f"{ENVELOPE}{GO}{CONTENT_LINES}\nS: 354 go", "deferred 451 4.5.0 in doubt"),
        (f"{ENVELOPE}S: 250 ok\nS: 250 ok\nS: 250 ok", "deferred 451 4.5.0"),  # no content without 354
        (f"{ENVELOPE}S: 250 ok\nS: 250 ok\nS: 350 go", "deferred 451 4.5.0"),  # 354 alone
        (f"{ENVELOPE.rstrip()}{GO.rstrip()}\nS: 250 queued", "deferred 451 4.5.0"),  # taken before it was sent
        (f"{ENVELOPE.rstrip()}{GO.rstrip()}\nS: 552 too big", "bounced 552 too big"),
    ],
)
def test_the_end_of_the_connection_defers_what_is_under_way(transcript, expected):
    machine = client()
    machine.submit([mail(1)])
    play(machine, transcript)
    assert told(machine.mails.results) == [f"1: {expected}"]
    assert machine.closed


@pytest.mark.parametrize(
    ("event", "first"),
    [
        ("X: hangs up", "deferred 451 4.4.2 in doubt"),
        ("T: waits in vain", "deferred 451 4.4.2 in doubt"),
        ("S: 421 bye", "deferred 421 bye"),
        ("S: nonsense", "deferred 451 4.5.0 in doubt"),
    ],
)
def test_a_mail_whose_envelope_was_sent_behind_another_stays_untouched(event, first):
    transcript = f"{ENVELOPE}{GO}{CONTENT_LINES}{ENVELOPE}{event}"
    assert outcomes(transcript, mail(1), mail(2), mail(3)) == [f"1: {first}", "2: untouched", "3: untouched"]


@pytest.mark.checklist(78)
@pytest.mark.parametrize(
    ("event", "second"),
    [
        ("X: hangs up", "untouched"),  # closed while idle, so to say
        ("S: 421 bye", "deferred 421 bye"),
        ("S: 250 ok\nX: hangs up", "deferred 451 4.4.2"),
        ("T: waits in vain", "deferred 451 4.4.2"),
        ("S: nonsense", "deferred 451 4.5.0"),
    ],
)
def test_a_mail_after_one_that_was_delivered_is_charged_only_with_what_the_server_says_of_it(event, second):
    transcript = f"{ENVELOPE}{GO}{CONTENT_LINES}{ENVELOPE}S: 250 first\n\n{event}"
    assert outcomes(transcript, mail(1), mail(2)) == ["1: delivered 250 first", f"2: {second}"]


@pytest.mark.parametrize(
    ("event", "expected"), [("X: hangs up", "451 4.4.2"), ("S: 421 bye", "421 bye"), ("S: 250 what?", "451 4.5.0")]
)
def test_a_session_that_served_nobody_charges_its_first_mail(event, expected):
    machine = client()
    play(machine, event)
    assert machine.closed
    machine.submit([mail(1), mail(2)])
    # Else a server that always hangs up would be connected to for ever.
    assert told(machine.mails.results) == [f"1: deferred {expected}", "2: untouched"]


@pytest.mark.checklist(55, 78)
@pytest.mark.parametrize("event", ["X: hangs up", "S: 421 4.4.2 idle for too long", "S: 250 what?"])
def test_an_idle_connection_may_end_without_harm(event):
    machine = client()
    machine.submit([mail(1)])
    play(machine, f"{ENVELOPE}{GO}{CONTENT_LINES}\nS: 250 first\n\n{event}")
    assert machine.closed
    machine.submit([mail(2)])
    assert told(machine.mails.results) == ["1: delivered 250 first", "2: untouched"]


def test_the_recipients_of_a_later_chunk_are_deferred_when_the_first_was_delivered():
    machine = client()
    machine.submit([mail(1, *[f"u{number}@mx.example" for number in range(101)])])
    said(machine)
    machine.feed(b"250 ok\r\n" * 101 + b"354 go\r\n", 0)
    said(machine)
    machine.feed(b"250 first\r\n", 0)
    machine.lost("the server hung up")
    [sent] = machine.mails.results
    assert [type(outcome) for outcome in sent.outcomes] == [Delivered] * 100 + [Deferred]
    assert sent.outcomes[-1].in_doubt is False


def test_a_recipient_accepted_in_a_mail_in_doubt_is_in_doubt_and_a_refused_one_is_not():
    transcript = f"{TWO}S: 250 ok\nS: 250 ok\nS: 450 later\nS: 354 go\n{CONTENT_LINES}\nX: hangs up"
    recipients = ("b@mx.example", "c@mx.example")
    assert outcomes(transcript, mail(1, *recipients)) == ["1: deferred 451 4.4.2 in doubt, deferred 450 later"]


# -- QUIT


def quitting(transcript: str) -> SmtpClient:
    machine = client()
    machine.quit()
    play(machine, transcript)
    return machine


@pytest.mark.checklist(77)
@pytest.mark.parametrize(
    "end", ["S: 221 bye", "S: 500 what?", "S: 421 bye", "S: nonsense", "X: hangs up", "T: in vain"]
)
def test_quit_ends_the_session_whatever_the_server_says_to_it(end):
    machine = quitting(f"C: QUIT\n{end}")
    assert machine.closed
    assert machine.mails.results == []


def test_what_is_under_way_is_finished_before_quit_and_what_waits_comes_back():
    machine = client()
    machine.submit([mail(1), mail(2), mail(3)])
    play(machine, f"{ENVELOPE}{GO}{CONTENT_LINES}{ENVELOPE}")
    machine.quit()
    play(machine, f"S: 250 first\n\n{GO}{CONTENT_LINES}\nS: 250 second\nC: QUIT\nS: 221 bye")
    assert told(machine.mails.results) == ["3: untouched", "1: delivered 250 first", "2: delivered 250 second"]
    machine.submit([mail(4)])
    assert told(machine.mails.results)[3:] == ["4: untouched"]


def test_quit_waits_for_rset():
    machine = client()
    machine.submit([mail(1)])
    play(machine, f"{REFUSED_RECIPIENT.rstrip()}\nS: 503 no\nC: RSET")
    machine.quit()
    play(machine, "S: 250 ok\nC: QUIT\nS: 221 bye")
    assert machine.closed


# -- the content


@pytest.mark.checklist(90, 92, 94, 97)
@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"", b".\r\n"),
        (b"\r\n", b"\r\n.\r\n"),
        (b"a\r\n\r\n", b"a\r\n\r\n.\r\n"),  # no line more, none less
        (b".\r\n", b"..\r\n.\r\n"),
        (b".a\r\n.b\r\n..c\r\nd.\r\n", b"..a\r\n..b\r\n...c\r\nd.\r\n.\r\n"),
        (b"a\r\n.\r\nMAIL FROM:<x@y>\r\n", b"a\r\n..\r\nMAIL FROM:<x@y>\r\n.\r\n"),
        (b"a\n.\r\nb\r\n", b"a\n..\r\nb\r\n.\r\n"),  # no content can end itself
        (b"a\n.\nb\r\n", b"a\n..\nb\r\n.\r\n"),
        (b"a\r\n.\nb\r\n", b"a\r\n..\nb\r\n.\r\n"),
        (b"a\r\n.\rb\r\n", b"a\r\n..\rb\r\n.\r\n"),
        (b"a\n.\rb\r\n", b"a\n..\rb\r\n.\r\n"),
        (b"a\r.\rb\r\n", b"a\r..\rb\r\n.\r\n"),
        (b"a\r.\nb\r\n", b"a\r..\nb\r\n.\r\n"),
        (b"a\r.\r\nb\r\n", b"a\r..\r\nb\r\n.\r\n"),
    ],
)
def test_content_on_the_wire(content, wire):
    machine = client()
    machine.submit([mail(1, content=content)])
    play(machine, f"{ENVELOPE}")
    machine.feed(b"250 ok\r\n250 ok\r\n354 go\r\n", 0)
    assert said(machine) == wire


@pytest.mark.checklist(90, 92, 94)
@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a", b"\r\n.\r\n"]), max_size=30).map(b"".join))
def test_no_content_ends_itself_for_any_reading_of_line_ends(content):
    machine = client()
    machine.submit([mail(1, content=content)])
    said(machine)
    machine.feed(b"250 ok\r\n250 ok\r\n354 go\r\n", 0)
    wire = said(machine)
    assert wire.endswith(b".\r\n")
    data = b"\n" + wire.removesuffix(b".\r\n")
    assert data == b"\n" or data.endswith(b"\r\n")
    assert not re.search(rb"[\r\n]\.[\r\n]", data)


@pytest.mark.checklist(99)
def test_the_commands_that_end_a_group_stand_at_its_end():
    machine = client()
    machine.submit([mail(1), mail(2)])
    groups = [said(machine)]
    for replies in ("250 ok\r\n250 ok\r\n354 go", "250 taken\r\n250 ok\r\n250 ok\r\n354 go", "250 taken"):
        machine.feed(f"{replies}\r\n".encode(), 0)
        groups.append(said(machine))
        machine.quit()
    last = [group.split(b"\r\n")[-2] for group in groups]
    assert last == [b"DATA", b"DATA", b".", b"QUIT"]
    for group in groups:
        assert not re.search(rb"^(DATA|QUIT)\r\n.", group, re.MULTILINE)


@pytest.mark.parametrize("size", [BLOCK - 2, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 17])
def test_a_large_content_goes_in_blocks_and_the_final_dot_after_them(size):
    content = b"\r\n.x" * (size // 4) + b"\r\n"
    machine = client()
    machine.submit([mail(1, content=content), mail(2)])
    said(machine)
    machine.feed(b"250 ok\r\n250 ok\r\n354 go\r\n", 0)
    blocks = [bytes(block) for block in iter(lambda: machine.to_send(0), b"")]
    assert all(len(block) <= BLOCK for block in blocks[:-1])
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    envelope = b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n"
    assert b"".join(blocks) == stuffed + b".\r\n" + envelope


def test_a_large_content_is_forgotten_when_its_outcome_is_taken_though_the_session_goes_on():
    content = b"x" * (3 * BLOCK) + b"\r\n"
    before = sys.getrefcount(content)
    machine = client()
    machine.submit([mail(1, content=content)])
    said(machine)
    machine.feed(b"250 ok\r\n250 ok\r\n354 go\r\n", 0)
    said(machine)
    machine.feed(b"250 ok\r\n", 0)
    assert told(machine.mails.results) == ["1: delivered 250 ok"]
    machine.mails.results.clear()
    assert not machine.closed
    assert sys.getrefcount(content) == before


def large(*events: str) -> list[str]:
    """What becomes of a mail of three blocks of which one was written, when these things happen."""
    machine = client()
    machine.submit([mail(1, content=b"x" * (3 * BLOCK) + b"\r\n"), mail(2)])
    said(machine)
    machine.feed(b"250 ok\r\n250 ok\r\n354 go\r\n", 0)
    machine.to_send(0)
    for event in events:
        match event:
            case "hangs up":
                machine.lost("the server hung up")
            case "waits in vain":
                machine.expire()
            case reply:
                machine.feed(reply.encode() + b"\r\n", 0)
    assert machine.closed
    return told(machine.mails.results)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("hangs up", "deferred 451 4.4.2"),  # not in doubt: the final dot was not sent
        ("waits in vain", "deferred 451 4.4.2"),
        ("552 5.3.4 too big", "bounced 552 5.3.4 too big"),
        ("451 4.3.1 disk full", "deferred 451 4.3.1 disk full"),
        ("421 4.3.2 bye", "deferred 421 4.3.2 bye"),
        ("250 queued", "deferred 451 4.5.0"),  # it can not have been: the content was not there
        ("nonsense", "deferred 451 4.5.0"),
    ],
)
def test_the_end_within_the_content_leaves_nothing_in_doubt(event, expected):
    assert large(event) == [f"1: {expected}", "2: untouched"]


# -- deadlines

MAIL, RCPT, DATA, BLOCK_LIMIT, DOT, QUIT = 300.0, 300.0, 120.0, 180.0, 600.0, 5.0  # RFC 5321 section 4.5.3.2


@pytest.mark.checklist(81, 82, 83, 84, 85, 86)
def test_each_command_has_its_own_time_from_when_it_is_next():
    machine = client()
    machine.submit([mail(1)])
    assert machine.deadline == float("inf")
    said(machine, now=1000)
    assert machine.deadline == 1000 + MAIL
    machine.feed(b"250 ok\r\n", 1010)
    assert machine.deadline == 1010 + RCPT
    machine.feed(b"250 ok\r\n", 1020)
    assert machine.deadline == 1020 + DATA
    machine.feed(b"354 go\r\n", 1030)
    said(machine, now=1030)
    assert machine.deadline == 1030 + DOT
    machine.feed(b"250 queued\r\n", 1040)
    assert machine.deadline == float("inf")
    machine.quit()
    said(machine, now=1050)
    assert machine.deadline == 1050 + QUIT


@pytest.mark.checklist(87)
def test_octets_that_trickle_in_do_not_move_the_deadline():
    machine = client()
    machine.submit([mail(1)])
    said(machine, now=0)
    for now, octet in enumerate(b"250-sender"):
        machine.feed(bytes([octet]), float(now))
    machine.feed(b"\r\n250-ok\r\n", 11)
    assert machine.deadline == MAIL


@pytest.mark.checklist(84)
def test_each_block_has_its_own_time():
    machine = client()
    machine.submit([mail(1, content=b"x" * (2 * BLOCK))])
    said(machine, now=0)
    machine.feed(b"250 ok\r\n250 ok\r\n354 go\r\n", 0)
    assert machine.deadline == BLOCK_LIMIT
    machine.to_send(10)
    assert machine.deadline == 10 + BLOCK_LIMIT
    machine.to_send(20)
    assert machine.deadline == 20 + BLOCK_LIMIT
    machine.to_send(30)
    machine.to_send(40)
    assert machine.deadline in (30 + DOT, 40 + DOT)


@pytest.mark.parametrize(
    ("transcript", "says"),
    [
        (ENVELOPE, "did not answer MAIL in time"),
        (f"{ENVELOPE}S: 250 ok", "did not answer RCPT in time"),
        (f"{ENVELOPE}{GO}{CONTENT_LINES}", "did not answer the final dot in time"),
    ],
)
def test_a_time_out_says_what_was_not_answered(transcript, says):
    machine = client()
    machine.submit([mail(1)])
    play(machine, transcript)
    machine.expire()
    assert says in machine.mails.results[0].outcomes[0].reply.text


# -- what the server can not have


@pytest.mark.checklist(59, 108, 109, 111)
def test_a_mail_that_the_server_can_not_have_is_not_announced():
    machine = client(size=1000)
    machine.submit(
        [
            mail(1, content=b"x" * 2000),
            mail(2, eight_bit=True),
            mail(3, reverse_path="ü@sender.example", smtputf8=True),
            mail(4, "b> SIZE=1@mx.example"),
            mail(5, "b@mx.example", "ü@mx.example", "b>@mx.example"),
            mail(6, recipients=()),
        ]
    )
    play(machine, f"{ENVELOPE.replace('example>', 'example> SIZE=21', 1)}{GO}{CONTENT_LINES}\nS: 250 queued")
    assert sorted(told(machine.mails.results)) == [
        "1: bounced 552 5.3.4",
        "2: bounced 554 5.6.3",
        "3: bounced 553 5.6.7",
        "4: bounced 553 5.1.3",
        "5: delivered 250 queued, bounced 553 5.6.7, bounced 553 5.1.3",
        "6: ",
    ]
