"""The whole client, from the greeting to QUIT, against servers that talk nonsense; an oracle says who is right.

`FUZZ=100` in the environment does a hundred times as many rounds; `make repeat` does.
"""

import base64
import os
import re
import tracemalloc
from math import inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.sender.login import Login
from services.sender.opening import Introduction, NotOpened, Opened, Opening, Stage, opening_of
from services.sender.reply_parser import MAX_LINE, MAX_REPLY, ReplyParser
from services.sender.session_mails import Sent
from services.sender.smtp_client import SmtpClient
from services.sender.tls import TlsPolicy
from shared.contracts.work import TlsMode
from shared.outcomes import Delivered
from shared.settings import Timeouts
from tests.support.openings import TLS_1_3
from tests.support.referee import replies, taken
from tests.support.transcript import mail, said
from tests.support.unruly import HEARD, NONCE, PASSWORD, Nature, Unruly

ROUNDS = int(os.environ.get("FUZZ", "1"))

ANSWERS = [
    b"250 ok\r\n", b"250-a\r\n250 b\r\n", b"251 ok\r\n", b"354 go\r\n", b"421 bye\r\n", b"450 later\r\n",
    b"452 4.5.3 many\r\n", b"550 5.1.1 no\r\n", b"503 what?\r\n", b"250\n", b"250-a\r\n251 b\r\n", b"999 x\r\n",
    b"250 ok\r\n250 ok\r\n", b"250 ok\r\n421 bye\r\n", b"\xff\xfe\0\r\n", b"250 " + b"x" * MAX_LINE + b"\r\n", b"",
    b"220 go\r\n", b"235 in\r\n", b"334 \r\n", b"334 YQ==\r\n", b"334 ?\r\n", b"454 4.7.0 later\r\n",
    b"535 5.7.8 " + HEARD + b"\r\n", b"334 " + HEARD + b"\r\n", b"354 " + HEARD + b"\r\n",
]  # fmt: skip
EXTENSIONS = [
    b"PIPELINING", b"SIZE 1000", b"DSN", b"STARTTLS", b"AUTH PLAIN LOGIN XOAUTH2 CRAM-MD5 SCRAM-SHA-256", b"AUTH PLAIN",
    b"LIMITS RCPTMAX=2 MAILMAX=2", b"LIMITS RCPTDOMAINMAX=1",
]  # fmt: skip
MECHANISMS = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2"]
TOKEN = b"ya29.of-the-robot"
SECRETS = [PASSWORD, TOKEN]


def a_login(mechanisms: tuple[str, ...], allow_plaintext: bool) -> Login:
    return Login(b"robot", PASSWORD, allow_plaintext, TOKEN, mechanisms)


def offering(*extensions: bytes) -> bytes:
    """An answer to EHLO."""
    *lines, last = [b"mx", *extensions]
    return b"".join(b"250-%s\r\n" % line for line in lines) + b"250 %s\r\n" % last


@pytest.fixture(autouse=True)
def no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same input leads to the same dialogue."""
    monkeypatch.setattr("scramp.core.token_hex", lambda: NONCE)


class Session:
    """The client as the driver runs it, and the tape of what went over the wire; "H" and "F" are handshakes."""

    def __init__(self, mails: int, recipients: int, mode: TlsMode = TlsMode.NONE, login: Login | None = None) -> None:
        self.mode, self.login = mode, login
        self.tape: list[tuple[str, bytes]] = []
        self.parser = ReplyParser()
        self.timeouts = Timeouts()
        introduction = Introduction("us.example", TlsPolicy(mode, verify=False), False, login, beware_of_loops=False)
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

    def negotiates(self, succeeds: bool) -> None:
        """The handshake. It may begin only when the server has answered what was said, and nothing else."""
        answers = replies(self.tape)
        assert len(answers) == 1 + self.all_of("C").count(b"\r\n")
        assert answers[-1][1] == sum(len(data) for _, data in self.tape)
        if succeeds:
            self.tape.append(("H", b""))
            self.opening.secured(0.0, TLS_1_3)
        else:
            self.tape.append(("F", b""))
            self.opening.not_secured("they could not agree")

    def all_of(self, side: str) -> bytes:
        return b"".join(data for who, data in self.tape if who == side)

    def waits_for_ever(self) -> bool:
        """Whether nothing would wake it, though there is something to wait for."""
        if self.client is None:
            waits = self.opening.result is None and not self.opening.wants_handshake  # the driver limits that
            return waits and self.opening.deadline == inf
        return bool(not self.client.closed and self.client.mails.in_flight and self.client.deadline == inf)


def converse(session: Session, server: Unruly, portion: int = 1000, handshake: bool = True) -> None:
    """Until one of the two has nothing to say. Answers come in portions of so many octets."""
    answers = server.greet()
    for _ in range(200):
        for start in range(0, len(answers), portion):
            if not session.machine.closed:
                session.hears(answers[start : start + portion])
        if session.machine.closed:
            return
        if session.opening.wants_handshake:
            session.negotiates(handshake)
            answers = server.secured()
        elif not (answers := server.hear(session.says())):
            return
        assert not session.waits_for_ever()
    raise AssertionError("it never ends")


@pytest.mark.parametrize("mode", TlsMode)
@pytest.mark.parametrize("mechanism", [None, *MECHANISMS])
def test_a_server_that_behaves_gets_every_mail(mode, mechanism):
    offered = offering(*EXTENSIONS[:5])
    session = Session(3, 2, mode, a_login((mechanism,), allow_plaintext=True) if mechanism else None)
    converse(session, Unruly(Nature(ehlo=offered, ehlo_in_tls=offered)))
    check(session)
    assert len(taken(session.tape)) == 6
    assert isinstance(session.opening.result, Opened)
    assert session.opening.result.mechanism == (mechanism or "")


def rarely(unusual: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.one_of(st.just(b""), st.just(b""), st.just(b""), unusual)


_EDIT = st.tuples(
    st.sampled_from(["replace", "insert"]), st.one_of(st.binary(max_size=3), st.sampled_from([b"\r\n", b"-", b"2"]))
)
_OFFER = st.one_of(
    st.lists(st.sampled_from(EXTENSIONS), unique=True).map(lambda extensions: offering(*extensions)),
    st.just(offering(*EXTENSIONS[:5])),
    st.just(offering(*EXTENSIONS[3:6])),
    st.sampled_from([offering(), b"502 what?\r\n"]),
)
# Trouble comes at any time, but often so late that a session gets as far as its mails.
_NATURE = st.builds(
    Nature,
    ehlo=_OFFER,
    ehlo_in_tls=_OFFER,
    unusual=st.dictionaries(st.integers(1, 25) | st.integers(5, 30), st.sampled_from(ANSWERS), max_size=4),
    edits=st.dictionaries(st.integers(1, 300) | st.integers(300, 900), _EDIT, max_size=3),
    injected=rarely(st.sampled_from([*ANSWERS, b"2"])),
    early=rarely(st.sampled_from([*ANSWERS, b"2"])),
)
_LOGIN = st.none() | st.builds(
    a_login, st.sampled_from([(), *((mechanism,) for mechanism in MECHANISMS)]), allow_plaintext=st.booleans()
)


@pytest.mark.checklist(44, 46, 47, 50, 53, 54, 66, 100, 104, 120, 121, 124, 125, 126, 127, 133, 143)
@settings(max_examples=300 * ROUNDS, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    _NATURE,
    st.sampled_from(TlsMode),
    _LOGIN,
    st.sampled_from([True, True, True, False]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 60),
    st.sampled_from(["lost", "expire"]),
)
def test_whatever_a_server_says_nothing_counts_as_delivered_that_it_did_not_take(
    nature, mode, login, handshake, mails, recipients, portion, end
):
    session = Session(mails, recipients, mode, login)
    converse(session, Unruly(nature), portion, handshake)
    if not session.machine.closed:
        session.machine.lost("the server hung up") if end == "lost" else session.machine.expire()
    check(session)


def check(session: Session) -> None:
    """What has to be true of every session, however it went."""
    check_what_was_said(session)
    check_secrets(session)
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


def check_what_was_said(session: Session) -> None:
    """No mail without the TLS and the sign-in it needs, and nothing that was not offered on this side of TLS."""
    handshakes = [number for number, (who, _) in enumerate(session.tape) if who in "HF"]
    assert len(handshakes) <= (0 if session.mode is TlsMode.NONE else 1)
    border = handshakes[0] if handshakes else len(session.tape)
    before, behind = session.tape[:border], session.tape[border + 1 :]
    lines = b"".join(data for who, data in before if who == "C").split(b"\r\n")[:-1]
    if session.mode is TlsMode.NONE:
        assert b"STARTTLS" not in lines
    if session.mode is TlsMode.REQUIRE or handshakes:
        assert {line.split()[0] for line in lines} <= {b"EHLO", b"HELO", b"STARTTLS", b"QUIT"}
    if handshakes and session.tape[border][0] == "F":
        assert behind == []
        assert isinstance(session.opening.result, NotOpened)
        assert session.opening.result.stage is Stage.TLS
    assert not any(b"STARTTLS" in data for who, data in behind if who == "C")
    for part in (before, behind):
        offered = b"".join(data for who, data in part if who == "S").upper()
        for data in (data for who, data in part if who == "C"):
            for keyword, use in USES.items():
                assert keyword in offered or not use.search(data)
            for mechanism in re.findall(rb"^AUTH (\S+)", data, re.MULTILINE):
                assert mechanism in offered
    said_first, mail, said_then = session.all_of("C").partition(b"MAIL FROM")
    assert len(re.findall(rb"^AUTH ", said_first, re.MULTILINE)) <= 1
    assert b"AUTH " not in said_then
    if mail:  # what was said before it, the last line of a sign-in for one, was answered by yes
        assert replies(session.tape)[said_first.count(b"\r\n")][0] // 100 == 2


USES = {
    b"SIZE": re.compile(rb"^MAIL .* SIZE=", re.MULTILINE),
    b"DSN": re.compile(rb"^RCPT .* ORCPT=", re.MULTILINE),
    b"STARTTLS": re.compile(rb"^STARTTLS\r", re.MULTILINE),
    b"PIPELINING": re.compile(rb"^MAIL .*\r\nRCPT ", re.MULTILINE),
}


def check_secrets(session: Session) -> None:
    """None goes out in clear unless that is allowed, and none is quoted."""
    in_clear = b""
    for who, data in session.tape:
        if who == "H":
            break
        in_clear += data if who == "C" else b""
    if session.login is None:
        assert b"AUTH" not in session.all_of("C")
    elif not session.login.allow_plaintext:
        assert not any(secret in text for secret in SECRETS for text in readings(in_clear))
    if isinstance(session.opening.result, NotOpened):
        told = str(session.opening.result).encode()
        assert not any(secret in text for secret in SECRETS for text in readings(told))


def readings(text: bytes) -> list[bytes]:
    """A text as it stands, and each word of it, taken for base64."""
    words = re.findall(rb"[A-Za-z0-9+/]{8,}", text)
    whole = [word[:-1] if len(word) % 4 == 1 else word for word in words]
    return [text, *(base64.b64decode(word + b"==") for word in whole)]


@pytest.mark.checklist(52)
@pytest.mark.parametrize(
    "heard",
    [
        [],
        [b"220 mx\r\n"],
        [b"220 mx\r\n", offering(b"STARTTLS"), b"220 go\r\n"],
        [b"220 mx\r\n", offering(b"AUTH LOGIN")],
        [b"220 mx\r\n", offering()],
    ],
    ids=["greeting", "EHLO", "handshake", "AUTH", "MAIL"],
)
@pytest.mark.parametrize(
    "piece", [b"x" * 4096, b"250-a\r\n" * 500, b"250-\n" * 500, b"250 ok\r\n" * 500, b"\0" * 4096, b"2"]
)
def test_a_server_that_never_stops_talking_fills_no_memory(heard, piece):
    signs_in = any(b"AUTH" in answer for answer in heard)
    session = Session(1, 1, TlsMode.ENABLE, a_login(("LOGIN",), allow_plaintext=True) if signs_in else None)
    tracemalloc.start()
    try:
        for answer in heard:
            session.hears(answer)
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
