"""Servers that say how much they take over one session (RFC 9422), as transcripts."""

import pytest

from services.sender.extensions import Extensions, ServerLimits
from services.sender.reply_parser import ReplyParser
from services.sender.session_mails import Sent
from services.sender.smtp_client import SmtpClient
from shared.outcomes import Parked
from shared.settings import Timeouts
from tests.support.transcript import CONTENT_LINES, mail, play, said, told

GO = "S: 250 ok\nS: 250 ok\nS: 354 go\n"


def client(**limits: int) -> SmtpClient:
    return SmtpClient("mx", Extensions(pipelining=True, limits=ServerLimits(**limits)), Timeouts(), ReplyParser())


def envelope(*recipients: str) -> str:
    rcpts = "".join(f"C: RCPT TO:<{recipient}>\n" for recipient in recipients)
    return f"\nC: MAIL FROM:<a@sender.example>\n{rcpts}C: DATA\n"


def in_words(machine: SmtpClient) -> list[str]:
    """As `told`, but recipients that are left for another connection are "parked"."""
    words = []
    for result in machine.mails.results:
        if isinstance(result, Sent) and any(isinstance(outcome, Parked) for outcome in result.outcomes):
            kinds = ", ".join(type(outcome).__name__.lower() for outcome in result.outcomes)
            words.append(f"{result.mail.key}: {kinds}")
        else:
            words += told([result])
    return words


@pytest.mark.checklist(117)
def test_after_as_many_transactions_as_the_server_takes_comes_quit():
    machine = client(transactions=2)
    machine.submit([mail(1), mail(2), mail(3), mail(4)])
    first = f"{envelope('b@mx.example')}{GO}{CONTENT_LINES}{envelope('b@mx.example')}S: 250 first\n{GO}"
    play(machine, f"{first}{CONTENT_LINES}\n\nS: 250 second\nC: QUIT\nS: 221 bye")
    assert in_words(machine) == [
        "1: delivered 250 first", "3: untouched", "4: untouched", "2: delivered 250 second",
    ]  # fmt: skip


@pytest.mark.checklist(117)
def test_a_failed_transaction_counts_as_one():
    machine = client(transactions=1)
    machine.submit([mail(1), mail(2)])
    refused = "S: 451 later\nS: 503 no\nS: 503 no\nC: RSET\nS: 250 ok\n"
    play(machine, f"{envelope('b@mx.example')}{refused}C: QUIT\nS: 221 bye")
    assert in_words(machine) == ["1: deferred 451 later", "2: untouched"]


def test_mail_that_comes_to_a_session_used_up_comes_back():
    machine = client(transactions=1)
    machine.submit([mail(1)])
    play(machine, f"{envelope('b@mx.example')}{GO}{CONTENT_LINES}\nS: 250 first")
    machine.submit([mail(2)])
    assert machine.full
    play(machine, "C: QUIT\nS: 221 bye")
    assert in_words(machine) == ["1: delivered 250 first", "2: untouched"]


@pytest.mark.checklist(62, 117)
@pytest.mark.parametrize(
    ("stated", "chunks"), [(None, [100, 100, 50]), (30, [30] * 8 + [10]), (200, [200, 50]), (999_999, [250])]
)
def test_a_transaction_has_as_many_recipients_as_the_server_takes(stated, chunks):
    machine = client() if stated is None else client(recipients=stated)
    machine.submit([mail(1, *[f"u{number}@mx.example" for number in range(250)])])
    dot = 0
    for size in chunks:
        assert said(machine).count(b"RCPT TO:") == size
        machine.feed(b"250 ok\r\n" * (dot + 1 + size) + b"354 go\r\n", 0)
        dot = 1
    said(machine)
    machine.feed(b"250 last\r\n", 0)
    [sent] = machine.mails.results
    assert isinstance(sent, Sent)
    assert len(sent.outcomes) == 250


@pytest.mark.checklist(117)
def test_recipients_beyond_the_last_transaction_wait_for_another_connection_and_are_charged_nothing():
    machine = client(transactions=1, recipients=1)
    machine.submit([mail(1, "b@mx.example", "c@mx.example"), mail(2)])
    play(
        machine,
        f"{envelope('b@mx.example')}{GO}{CONTENT_LINES}\n\nS: 250 first\nC: QUIT\nS: 221 bye",
    )
    assert in_words(machine) == ["2: untouched", "1: delivered, parked"]


@pytest.mark.checklist(117)
def test_a_session_names_no_more_domains_than_the_server_takes():
    machine = client(domains=2)
    machine.submit([mail(1, "b@one.example", "c@two.example", "d@three.example", "e@ONE.example"), mail(2)])
    replies = "S: 250 ok\n" * 4 + "S: 354 go\n"
    taken = envelope("b@one.example", "c@two.example", "e@ONE.example")
    play(machine, f"{taken}{replies}{CONTENT_LINES}\n\nS: 250 first\nC: QUIT\nS: 221 bye")
    assert in_words(machine) == ["2: untouched", "1: delivered, delivered, parked, delivered"]


@pytest.mark.checklist(117)
def test_mails_of_known_domains_follow_and_the_first_of_another_ends_the_session():
    machine = client(domains=1)
    machine.submit([mail(1, "b@one.example"), mail(2, "c@one.example"), mail(3, "d@two.example"), mail(4)])
    first = f"{envelope('b@one.example')}{GO}{CONTENT_LINES}{envelope('c@one.example')}S: 250 first\n{GO}"
    play(machine, f"{first}{CONTENT_LINES}\n\nS: 250 second\nC: QUIT\nS: 221 bye")
    assert in_words(machine) == [
        "1: delivered 250 first", "3: untouched", "4: untouched", "2: delivered 250 second",
    ]  # fmt: skip


def test_recipients_that_were_too_many_wait_for_another_connection_when_this_one_is_used_up():
    machine = client(transactions=1)
    machine.submit([mail(1, "b@mx.example", "c@mx.example")])
    replies = "S: 250 ok\nS: 250 ok\nS: 452 4.5.3 too many\nS: 354 go\n"
    taken = envelope("b@mx.example", "c@mx.example")
    play(machine, f"{taken}{replies}{CONTENT_LINES}\n\nS: 250 first\nC: QUIT\nS: 221 bye")
    assert in_words(machine) == ["1: delivered, parked"]
