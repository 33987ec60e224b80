"""Opening an SMTP session, without a socket: greeting, EHLO, STARTTLS, AUTH."""

import enum
from collections.abc import Generator
from math import inf

import msgspec

from services.sender.auth import sign_in
from services.sender.channel import Channel
from services.sender.dialogue import Handshake, Say, Step
from services.sender.extensions import Extensions, read_extensions
from services.sender.login import Login
from services.sender.reply_parser import BadReply, ReplyParser
from services.sender.tls import TlsPolicy
from shared.contracts.work import TlsMode
from shared.settings import Timeouts
from shared.smtp_reply import Reply, own_verdict


class Stage(enum.Enum):
    """How far an attempt to open a session came."""

    NO_ROUTE = "no route"  # this machine has none to the address, as to all of IPv6 in many networks
    CONNECT = "connect"
    GREETING = "greeting"
    HELLO = "hello"
    TLS = "tls"
    TLS_LATER = "tls later"  # 454 or 421 to STARTTLS: not for now
    AUTH = "auth"
    LOOP = "loop"  # the server says it is us


class Opened(msgspec.Struct, frozen=True):
    """Mail may go."""

    offered: Extensions
    mechanism: str = ""  # by which we have signed in


class NotOpened(msgspec.Struct, frozen=True):
    """No mail may go over this connection."""

    stage: Stage
    reply: Reply
    mechanism: str = ""  # by which we have tried to sign in


class Introduction(msgspec.Struct, frozen=True):
    """What we say and want when we open a session."""

    helo: str
    policy: TlsPolicy
    implicit_tls: bool
    login: Login | None
    beware_of_loops: bool  # a server that gives our own name is us


_Dialogue = Generator[Step, Reply, Opened | NotOpened]


def opening_of(introduction: Introduction, timeouts: Timeouts, parser: ReplyParser) -> "Opening":
    """The machine that opens a session; its parser goes on to the session."""
    return Opening(_open_session(introduction, timeouts), parser, timeouts)


def _open_session(introduction: Introduction, timeouts: Timeouts) -> _Dialogue:
    """The dialogue from the greeting to the first MAIL."""
    channel = Channel()
    if introduction.implicit_tls:
        channel = yield from _handshake()
    greeting = yield Say(b"", "the greeting", timeouts.greeting.total_seconds())
    if greeting.code >= 300:
        return NotOpened(Stage.GREETING, greeting)
    offered = yield from _hello(introduction.helo, timeouts)
    if isinstance(offered, Extensions) and not introduction.implicit_tls and _wants_tls(introduction.policy, offered):
        refusal = yield from _start_tls(offered, timeouts)
        if refusal is not None:
            return refusal
        channel = yield from _handshake()
        # RFC 3207 section 4.2: what was offered before may be an attacker's, so it is forgotten.
        offered = yield from _hello(introduction.helo, timeouts)
    if isinstance(offered, NotOpened):
        return offered
    if introduction.beware_of_loops and offered.server.lower() == introduction.helo.lower():
        # RFC 5321 section 6.3
        text = f"the server introduces itself by our own name, {introduction.helo}: mail would go round in circles"
        return NotOpened(Stage.LOOP, own_verdict(554, "5.4.6", text))
    if introduction.login is None:
        return Opened(offered)
    tried = yield from sign_in(introduction.login, offered.auth, channel, timeouts.auth.total_seconds())
    if tried.reply.code >= 300:
        return NotOpened(Stage.AUTH, tried.reply, tried.mechanism)
    return Opened(offered, tried.mechanism)


def _hello(helo: str, timeouts: Timeouts) -> Generator[Step, Reply, Extensions | NotOpened]:
    reply = yield Say(f"EHLO {helo}\r\n".encode("ascii"), "EHLO", timeouts.hello.total_seconds())
    if reply.code < 300:
        return read_extensions(reply)
    if reply.code >= 500:
        # RFC 5321 section 4.1.4. After HELO there are no extensions.
        reply = yield Say(f"HELO {helo}\r\n".encode("ascii"), "HELO", timeouts.hello.total_seconds())
        if reply.code < 300:
            return Extensions(server=read_extensions(reply).server)
    return NotOpened(Stage.HELLO, reply)


def _wants_tls(policy: TlsPolicy, offered: Extensions) -> bool:
    return policy.mode is TlsMode.REQUIRE or (policy.mode is TlsMode.ENABLE and offered.starttls)


def _start_tls(offered: Extensions, timeouts: Timeouts) -> Generator[Step, Reply, NotOpened | None]:
    """None when the handshake may begin. A server that says no gets its mail, if at all, over a new connection:
    another host may have TLS, and comes first."""
    if not offered.starttls:
        return NotOpened(Stage.TLS, own_verdict(451, "4.7.4", "TLS is required, and the server does not offer it"))
    reply = yield Say(b"STARTTLS\r\n", "STARTTLS", timeouts.hello.total_seconds())
    if reply.code < 300:
        return None
    if reply.code == 421:
        return NotOpened(Stage.TLS_LATER, reply)
    text = f"no TLS: the server answered STARTTLS with: {reply}"
    return NotOpened(Stage.TLS_LATER if reply.code == 454 else Stage.TLS, own_verdict(451, "4.7.4", text))


def _handshake() -> Generator[Step, Reply, Channel]:
    handshake = Handshake()
    yield handshake
    return handshake.channel


class Opening:
    """Carries the dialogue out: `feed` and `to_send` move octets, until `wants_handshake` or a `result`."""

    def __init__(self, dialogue: _Dialogue, parser: ReplyParser, timeouts: Timeouts) -> None:
        self.result: Opened | NotOpened | None = None
        self.wants_handshake = False
        self.deadline = inf
        self._dialogue = dialogue
        self._parser = parser
        self._goodbye = Say(b"QUIT\r\n", "QUIT", timeouts.quit.total_seconds())
        self._said = self._goodbye
        self._handshake = Handshake()
        self._out = b""
        self._verdict: NotOpened | None = None  # the result, once the server has answered QUIT or does not
        self._unproven = False  # secured, but nothing has come through yet
        self._take_step(next(dialogue))

    @property
    def closed(self) -> bool:
        """Hang up."""
        return isinstance(self.result, NotOpened)

    def start(self, now: float) -> None:
        """The connection is there: what is awaited first is awaited from now on."""
        # The driver limits a handshake itself.
        self.deadline = inf if self.wants_handshake else now + self._said.patience

    def feed(self, data: bytes, now: float) -> None:
        """Take octets from the server."""
        try:
            for reply in self._parser.feed(data):
                self._unproven = False
                self._take(reply)
                self.start(now)
                if self.closed:
                    return
        except BadReply as error:
            if self.wants_handshake:
                self._intruded()
            else:
                self._fail("4.5.0", f"the server sent {self._quotable(str(error))}")
            return
        if self.wants_handshake and self._parser.pending:
            self._intruded()

    def to_send(self, now: float) -> bytes:
        """Octets for the server."""
        data, self._out = self._out, b""
        return b"" if self.closed else data

    def secured(self, now: float, channel: Channel) -> None:
        """The handshake is done."""
        self.wants_handshake = False
        self._unproven = True
        self._handshake.channel = channel
        self._advance(own_verdict(220, "", "secured"))
        self.start(now)

    def not_secured(self, why: str) -> None:
        """The handshake failed."""
        self.result = NotOpened(Stage.TLS, own_verdict(451, "4.7.5", f"no TLS: {why}"))

    def expire(self) -> None:
        """The deadline has passed."""
        self._fail("4.4.2", f"the server did not answer {self._said.name} in time")

    def lost(self, why: str) -> None:
        """The connection is gone."""
        if not self.closed:
            self._fail("4.4.2", f"the connection broke before the answer to {self._said.name}: {why}")

    def _take(self, reply: Reply) -> None:
        intermediate = reply.code // 100 == 3 and not (reply.code == 334 and self._said.name == "AUTH")
        if self._verdict is not None:
            self.result = self._verdict
        elif self.wants_handshake:
            self._intruded()
        elif reply.code == 421 and (self.result is not None or self._out):
            self.result = NotOpened(Stage.HELLO, reply)
        elif intermediate or self._out or self.result is not None:
            # No answer to anything, or to something that is not said yet.
            self._fail("4.5.0", f"the server answered {self._said.name} with: {self._quotable(str(reply))}")
        else:
            self._advance(reply)

    def _advance(self, reply: Reply) -> None:
        try:
            self._take_step(self._dialogue.send(reply))
        except StopIteration as end:
            if isinstance(end.value, NotOpened):
                self._verdict = end.value
                self._take_step(self._goodbye)  # RFC 5321 section 4.1.1.10: no closing without it
            else:
                self.result = end.value

    def _take_step(self, step: Step) -> None:
        if isinstance(step, Handshake):
            self._handshake = step
            self.wants_handshake = True
        else:
            self._said = step
            self._out = step.line

    def _intruded(self) -> None:
        """RFC 3207 section 4.2: what lies between STARTTLS and the handshake may be an attacker's."""
        self.not_secured("the server sent something before the handshake")

    def _quotable(self, words: str) -> str:
        # What comes after a password may be the password; sign_in masks proper answers only.
        return "(not shown)" if self._said.name == "AUTH" else words

    def _fail(self, enhanced: str, text: str) -> None:
        # A server that hangs up at STARTTLS offers TLS that can not be had. So does one that hangs up after the
        # handshake: with TLS 1.3 it says only then that it does not like ours.
        stage = Stage.TLS if self._unproven or self._said.name == "STARTTLS" else Stage.HELLO
        self.result = self._verdict or NotOpened(stage, own_verdict(451, enhanced, text))
