"""Whatever a server answers, every mail has one result, and it is the right one."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sender.extensions import Extensions
from services.sender.reply_parser import ReplyParser
from services.sender.session_mails import MailResult, Sent
from services.sender.smtp_client import SmtpClient
from shared.outcomes import Bounced, Deferred, Delivered
from shared.settings import Timeouts
from tests.support.transcript import mail, said, told

HANGS_UP = b""
AGREES_AND_HANGS_UP = b"250 too late\r\n"
USUAL = b"250 ok\r\n"
UNUSUAL = [
    b"250\r\n",
    b"250-2.0.0 two\r\n250 2.0.0 lines\r\n",
    b"251 elsewhere\r\n",
    b"450 4.2.0 later\r\n",
    b"452 4.5.3 too many\r\n",
    b"550 5.1.1 no\r\n",
    b"550-5.7.1 no\r\n550 5.7.1 never\r\n",
    b"503 what?\r\n",
    b"354 go ahead\r\n",
    b"421 4.3.2 bye\r\n",
    b"850 NONSENSE\r\n",
    b"nonsense\r\n",
    b"\r\n",
    b"250-a\r\n251 b\r\n",
    HANGS_UP,
    AGREES_AND_HANGS_UP,
]


class Server:
    """Answers each command in turn as it is told, and remembers which mails it took, and for whom."""

    def __init__(self, answers: Iterator[bytes]) -> None:
        self.took: list[tuple[int, str]] = []  # key of the mail, recipient
        self.hung_up = False
        self._answers = answers
        self._heard = b""
        self._in_content = self._has_sender = False
        self._recipients: list[str] = []

    def hear(self, data: bytes) -> bytes:
        """The answers to what the client says."""
        self._heard += data
        answers = []
        while not self.hung_up and (end := self._heard.find(b"\r\n.\r\n" if self._in_content else b"\r\n")) >= 0:
            line, self._heard = self._heard[:end], self._heard[end + (5 if self._in_content else 2) :]
            answers.append(self._answer(line))
        return b"".join(answers)

    def _answer(self, said: bytes) -> bytes:
        answer = next(self._answers, USUAL)
        yes = answer.startswith(b"25")
        if self._in_content:
            self._in_content = False
            if yes and self._recipients:
                self.took += [(int(said.split()[1]), recipient) for recipient in self._recipients]
        elif said.startswith(b"MAIL"):
            self._has_sender, self._recipients = yes, []
        elif said.startswith(b"RCPT") and yes and self._has_sender:
            self._recipients.append(said[9:-1].decode())
        elif said == b"DATA":
            answer = b"354 go\r\n" if answer == USUAL else answer
            self._in_content = answer.startswith(b"354")
            # A lone dot comes where the content would have: after the line end that DATA's own line had.
            self._heard = b"\r\n" + self._heard if self._in_content else self._heard
        self.hung_up = answer in (HANGS_UP, AGREES_AND_HANGS_UP) or answer.startswith(b"421")
        return HANGS_UP if answer == AGREES_AND_HANGS_UP else answer


def converse(server: Server, pipelining: bool, recipients: list[int], portion: int) -> tuple[SmtpClient, int]:
    """Send mails with so many recipients; what the server says comes in portions. The client, and the rounds."""
    client = SmtpClient("mx", Extensions(pipelining=pipelining), Timeouts(), ReplyParser())
    for key, count in enumerate(recipients):
        content = b"Key: %d\r\n\r\n..body\r\n.\r\n" % key
        client.submit([mail(key, *[f"{number}@mx.example" for number in range(count)], content=content)])
    rounds = 0
    while not client.closed and (data := said(client)):
        rounds += 1
        answers = server.hear(data)
        for start in range(0, len(answers), portion):
            if not client.closed:
                client.feed(answers[start : start + portion], 0.0)
        if server.hung_up and not client.closed:
            client.lost("the server hung up")
    return client, rounds


# A few unusual answers among usual ones come farther than a random mixture.
ANSWERS = st.dictionaries(st.integers(0, 30), st.sampled_from(UNUSUAL), max_size=4).map(
    lambda unusual: [unusual.get(number, USUAL) for number in range(31)]
)
RECIPIENTS = st.lists(st.integers(1, 3), min_size=1, max_size=5)


@settings(max_examples=400)
@given(ANSWERS, st.booleans(), RECIPIENTS, st.integers(1, 200))
def test_a_mail_counts_as_delivered_exactly_when_the_server_took_it(answers, pipelining, recipients, portion):
    server = Server(iter(answers))
    client, _ = converse(server, pipelining, recipients, portion)
    assert client.mails.in_flight == 0, "it hangs"
    results = {result.mail.key: result for result in client.mails.results}
    assert sorted(results) == list(range(len(recipients)))
    assert len(client.mails.results) == len(recipients)
    assert len(set(server.took)) == len(server.took), "sent twice"
    for key, result in results.items():
        check(key, result, server)


def check(key: int, result: MailResult, server: Server) -> None:
    if not isinstance(result, Sent):
        assert key not in {taken for taken, _ in server.took}
        return
    assert len(result.outcomes) == len(result.mail.recipients)
    for recipient, outcome in zip(result.mail.recipients, result.outcomes, strict=True):
        taken = (key, recipient) in server.took
        assert isinstance(outcome, Delivered | Deferred | Bounced)
        if isinstance(outcome, Delivered):
            assert taken
        elif taken:
            assert isinstance(outcome, Deferred)
            assert outcome.in_doubt


@pytest.mark.checklist(53)
@settings(max_examples=200)
@given(ANSWERS, st.booleans(), RECIPIENTS, st.integers(1, 9))
def test_however_the_answers_are_split_the_results_are_the_same(answers, pipelining, recipients, portion):
    whole, _ = converse(Server(iter(answers)), pipelining, recipients, 100_000)
    split, _ = converse(Server(iter(answers)), pipelining, recipients, portion)
    assert told(split.mails.results) == told(whole.mails.results)


@settings(max_examples=300)
@given(st.lists(st.one_of(st.binary(max_size=8), st.sampled_from(UNUSUAL)), max_size=40), st.booleans())
def test_random_octets_neither_hang_nor_crash(pieces, pipelining):
    client = SmtpClient("mx", Extensions(pipelining=pipelining), Timeouts(), ReplyParser())
    client.submit([mail(1), mail(2, "b@mx.example", "c@mx.example")])
    dots = 0
    for piece in pieces:
        dots += said(client).count(b"\r\n.\r\n")
        if client.closed:
            break
        client.feed(piece, 0.0)
    client.lost("the server hung up")
    assert client.mails.in_flight == 0
    assert sorted(result.mail.key for result in client.mails.results) == [1, 2]
    delivered = [
        result
        for result in client.mails.results
        if isinstance(result, Sent) and any(isinstance(outcome, Delivered) for outcome in result.outcomes)
    ]
    assert len(delivered) <= dots


def test_with_pipelining_a_mail_takes_one_round_trip():
    _, rounds = converse(Server(iter([])), pipelining=True, recipients=[1] * 20, portion=1000)
    assert rounds == 21
    _, rounds = converse(Server(iter([])), pipelining=False, recipients=[1] * 20, portion=1000)
    assert rounds == 80
