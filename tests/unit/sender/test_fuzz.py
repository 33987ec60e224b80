"""The whole client, from the greeting to QUIT, against servers that talk nonsense; an oracle says who is right.

`FUZZ=100` in the environment does a hundred times as many rounds; `make repeat` does.
"""

import os
import tracemalloc
from math import inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.sender.opening import Introduction, NotOpened, Opened, Opening, opening_of
from services.sender.reply_parser import MAX_LINE, MAX_REPLY, ReplyParser
from services.sender.session_mails import Sent
from services.sender.smtp_client import SmtpClient
from services.sender.tls import TlsPolicy
from shared.contracts import TlsMode
from shared.outcomes import Delivered
from shared.settings import Timeouts
from tests.support.referee import taken
from tests.support.transcript import mail, said

ROUNDS = int(os.environ.get("FUZZ", "1"))

EHLO = [
    b"250 mx\r\n",
    b"250-mx\r\n250 PIPELINING\r\n",
    b"250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-DSN\r\n250 LIMITS RCPTMAX=2 MAILMAX=2\r\n",
    b"250-mx\r\n250-PIPELINING\r\n250 LIMITS RCPTDOMAINMAX=1\r\n",
    b"502 what?\r\n",
]
ANSWERS = [
    b"250 ok\r\n", b"250-a\r\n250 b\r\n", b"251 ok\r\n", b"354 go\r\n", b"421 bye\r\n", b"450 later\r\n",
    b"452 4.5.3 many\r\n", b"550 5.1.1 no\r\n", b"503 what?\r\n", b"250\n", b"250-a\r\n251 b\r\n", b"999 x\r\n",
    b"250 ok\r\n250 ok\r\n", b"250 ok\r\n421 bye\r\n", b"\xff\xfe\0\r\n", b"250 " + b"x" * MAX_LINE + b"\r\n", b"",
]  # fmt: skip


class Server:
    """Answers each command, with what it is told for some of them; what it sends is then garbled."""

    def __init__(self, ehlo: bytes, unusual: dict[int, bytes], edits: dict[int, tuple[str, bytes]]) -> None:
        self._ehlo, self._unusual, self._edits = ehlo, unusual, edits
        self._heard = b""
        self._in_content = False
        self._count = self._sent = 0

    def greet(self) -> bytes:
        return self._garbled(b"220 mx\r\n")

    def hear(self, data: bytes) -> bytes:
        self._heard += data
        answers = b""
        while (end := self._heard.find(b"\r\n.\r\n" if self._in_content else b"\r\n")) >= 0:
            line, self._heard = self._heard[:end], self._heard[end + (5 if self._in_content else 2) :]
            answers += self._garbled(self._answer(line))
        return answers

    def _answer(self, line: bytes) -> bytes:
        self._count += 1
        usual = self._ehlo if line.startswith(b"EHLO") else b"354 go\r\n" if line == b"DATA" else b"250 ok\r\n"
        answer = self._unusual.get(self._count, usual)
        self._in_content = line == b"DATA" and not self._in_content and answer.startswith(b"354")
        if self._in_content:
            self._heard = b"\r\n" + self._heard
        return answer

    def _garbled(self, answer: bytes) -> bytes:
        garbled = b""
        for index in range(len(answer)):
            octet = answer[index : index + 1]
            self._sent += 1
            match self._edits.get(self._sent):
                case ("replace", text):
                    octet = text
                case ("insert", text):
                    octet += text
            garbled += octet
        return garbled


class Session:
    """The client as the driver runs it, and the tape of what went over the wire."""

    def __init__(self, mails: int, recipients: int) -> None:
        self.tape: list[tuple[str, bytes]] = []
        self.parser = ReplyParser()
        self.timeouts = Timeouts()
        policy = TlsPolicy(TlsMode.NONE, verify=False)
        introduction = Introduction("us.example", policy, False, None, beware_of_loops=False)
        self.opening: Opening = opening_of(introduction, self.timeouts, self.parser)
        self.opening.start(0.0)
        self.client: SmtpClient | None = None
        self.mails = [
            mail(key, *[f"{n}@mx{n}.example" for n in range(recipients)], content=b"Key: %d\r\n\r\n..x\r\n.\r\n" % key)
            for key in range(mails)
        ]

    @property
    def machine(self) -> Opening | SmtpClient:
        return self.client or self.opening

    def hears(self, data: bytes) -> None:
        self.tape.append(("S", data))
        self.machine.feed(data, 0.0)
        if self.client is None and isinstance(self.opening.result, Opened):
            self.client = SmtpClient("mx", self.opening.result.offered, self.timeouts, self.parser)
            self.client.submit(self.mails)
            self.client.quit() if len(self.mails) == 1 else None

    def says(self) -> bytes:
        data = said(self.machine)
        self.tape.append(("C", data))
        return data

    def waits_for_ever(self) -> bool:
        """Whether nothing would wake it, though there is something to wait for."""
        if self.client is None:
            return self.opening.result is None and self.opening.deadline == inf
        return bool(not self.client.closed and self.client.mails.in_flight and self.client.deadline == inf)


_EDIT = st.tuples(
    st.sampled_from(["replace", "insert"]), st.one_of(st.binary(max_size=3), st.sampled_from([b"\r\n", b"-", b"2"]))
)


@pytest.mark.checklist(44, 46, 47, 50, 53, 54, 66, 100, 104)
@settings(max_examples=300 * ROUNDS, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(EHLO),
    st.dictionaries(st.integers(1, 25), st.sampled_from(ANSWERS), max_size=4),
    st.dictionaries(st.integers(1, 300), _EDIT, max_size=3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 60),
    st.sampled_from(["lost", "expire"]),
)
def test_whatever_a_server_says_nothing_counts_as_delivered_that_it_did_not_take(
    ehlo, unusual, edits, mails, recipients, portion, end
):
    session, server = Session(mails, recipients), Server(ehlo, unusual, edits)
    answers = server.greet()
    for _ in range(200):
        if not answers or session.machine.closed:
            break
        for start in range(0, len(answers), portion):
            if not session.machine.closed:
                session.hears(answers[start : start + portion])
        answers = server.hear(session.says())
        assert not session.waits_for_ever()
    else:
        raise AssertionError("it never ends")
    if not session.machine.closed:
        session.machine.lost("the server hung up") if end == "lost" else session.machine.expire()
    check(session)


def check(session: Session) -> None:
    if session.client is None:
        assert isinstance(session.opening.result, NotOpened)
        return
    session.client.lost("the test is over")
    results = session.client.mails.results
    assert session.client.mails.in_flight == 0
    assert sorted(result.mail.key for result in results) == list(range(len(session.mails)))
    took = taken(session.tape)
    for result in results:
        if isinstance(result, Sent):
            assert len(result.outcomes) == len(result.mail.recipients)
            for recipient, outcome in zip(result.mail.recipients, result.outcomes, strict=True):
                if isinstance(outcome, Delivered):
                    assert (result.mail.key, recipient.encode()) in took


@pytest.mark.checklist(52)
@pytest.mark.parametrize(
    "piece", [b"x" * 4096, b"250-a\r\n" * 500, b"250-\n" * 500, b"250 ok\r\n" * 500, b"\0" * 4096, b"2"]
)
def test_a_server_that_never_stops_talking_fills_no_memory(piece):
    session = Session(mails=1, recipients=1)
    tracemalloc.start()
    try:
        session.hears(b"220 mx\r\n")
        session.says()
        fed = 0
        while not session.machine.closed and fed < 4_000_000:
            session.machine.feed(piece, 0.0)
            fed += len(piece)
            assert session.machine.closed or len(session.parser._partial) <= MAX_LINE
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert session.machine.closed
    assert fed <= 3 * MAX_REPLY
    assert peak < 4_000_000
