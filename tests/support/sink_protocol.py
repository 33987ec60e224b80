"""The SMTP side of a recording server: aiosmtpd, asking the rules before it answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session, syntax

from tests.support.certificates import Certificate
from tests.support.sink_memory import Connection, HangUp, Pause, SinkMemory

logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # aiosmtpd's, which warns of what tests do on purpose

_SIZE_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class SinkOptions:
    """What the server offers and demands."""

    certificate: Certificate | None = None
    implicit_tls: bool = False
    require_tls: bool = False
    users: Mapping[str, str] = field(default_factory=dict)
    auth_in_plaintext: bool = False
    breaks_handshake: bool = False
    pipelining: bool = True
    smtputf8: bool = True
    name: str = "sink.example"


class SinkProtocol(SMTP):
    """One connection."""

    def __init__(self, memory: SinkMemory, options: SinkOptions) -> None:
        self.memory = memory
        self.options = options
        self.connection = Connection(0)
        starttls = options.certificate if not options.implicit_tls else None
        super().__init__(
            _Hooks(self),
            data_size_limit=_SIZE_LIMIT,
            enable_SMTPUTF8=options.smtputf8,
            hostname=options.name,
            ident="sink",
            tls_context=starttls.server_context() if starttls else None,
            require_starttls=options.require_tls,
            auth_require_tls=not options.auth_in_plaintext and not options.implicit_tls,
            authenticator=self._authenticate_user,
        )
        self._auth_required = bool(options.users)  # as an argument it warns of what tests want
        self._smtp_methods = {verb: self._recorded(verb, method) for verb, method in self._smtp_methods.items()}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called a second time when a handshake after STARTTLS is done."""
        if not self.connection.number:
            self.connection = self.memory.opened()
        self.connection.tls = transport.get_extra_info("sslcontext") is not None
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The end, also of a handshake that failed."""
        self.memory.closed(self.connection)
        super().connection_lost(error)

    def cut(self) -> None:
        """Close at once, whatever is going on."""
        if isinstance(self.transport, asyncio.WriteTransport) and not self.transport.is_closing():
            self.transport.abort()

    def part(self, reply: str) -> None:
        """Say this and close."""
        if isinstance(self.transport, asyncio.WriteTransport) and not self.transport.is_closing():
            self.transport.write(f"{reply}\r\n".encode())
            self.transport.close()

    def close(self) -> None:
        """Close once everything said has gone out."""
        if self.transport is not None:
            self.transport.close()

    def take(self, envelope: Envelope) -> None:
        """The mail is ours."""
        assert envelope.original_content is not None
        self.memory.take(
            self.connection,
            _bare(envelope.mail_from),
            envelope.rcpt_tos,
            envelope.original_content,
            envelope.mail_options,
        )

    async def decide(
        self, verb: str, addresses: list[str], *, before_hanging_up: Callable[[], None] = lambda: None
    ) -> str | None:
        """Do what the rules say; the reply they give, or None for the usual one."""
        action = self.memory.rule_for(verb, addresses)
        match action:
            case Pause():
                await action.hold()
                return None
            case HangUp():
                before_hanging_up()
                self.close()
                raise asyncio.CancelledError
            case _:
                return action

    async def push(self, status: str | bytes) -> None:
        """Close after a 421, as a server that says it announces (RFC 5321 section 3.8)."""
        text = status if isinstance(status, bytes) else status.encode()
        await super().push(text)
        if text.startswith(b"421"):
            self.close()

    @syntax("DATA")
    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        """Refuse the command itself where a rule says so."""
        assert self.envelope is not None
        refusal = await self.decide("DATA", self.envelope.rcpt_tos)
        if refusal is None:
            await super().smtp_DATA(arg)
        else:
            await self.push(refusal)

    @syntax("STARTTLS", when="tls_context")
    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        """Refuse, or break the handshake."""
        refusal = await self.decide("STARTTLS", [])
        if refusal is not None:
            await self.push(refusal)
        elif self.options.breaks_handshake:
            await self.push("220 go ahead")
            await self.push("this is not a TLS record")
            self.close()
        else:
            await super().smtp_STARTTLS(arg)

    async def _handle_client(self) -> None:
        greeting = await self.decide("CONNECT", [])
        if greeting is None:
            await super()._handle_client()
        else:
            await self.push(greeting)
            self.close()

    def _recorded(self, verb: str, method: Callable[[str | None], Awaitable[None]]) -> Any:
        async def record(argument: str | None) -> None:
            shown = verb if verb == "AUTH" or not argument else f"{verb} {argument}"
            self.connection.commands.append(shown)
            await method(argument)

        return record

    def _authenticate_user(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: Any
    ) -> AuthResult:
        user = login.login.decode()
        known = self.options.users.get(user) == login.password.decode()
        self.connection.user = user if known else None
        return AuthResult(success=known, handled=False)


class _Hooks:
    """What aiosmtpd asks before it answers; the methods' names and arguments are its own."""

    def __init__(self, protocol: SinkProtocol) -> None:
        self._protocol = protocol

    async def handle_EHLO(  # noqa: N802
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        answer = await self._protocol.decide("EHLO", [])
        if answer is None or answer.startswith("250"):
            session.host_name = self._protocol.connection.helo = hostname
        if answer is not None:
            return [answer]
        options = self._protocol.options
        offers = [line for line in responses if options.users or not line.startswith("250-AUTH")]
        return [offers[0], *(["250-PIPELINING"] if options.pipelining else []), *offers[1:]]

    async def handle_HELO(  # noqa: N802
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str
    ) -> str:
        session.host_name = self._protocol.connection.helo = hostname
        return f"250 {self._protocol.options.name}"

    async def handle_MAIL(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        refusal = await self._protocol.decide("MAIL", [_bare(address)])
        if refusal is not None:
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 sender ok"

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        refusal = await self._protocol.decide("RCPT", [address])
        if refusal is not None:
            return refusal
        if self._protocol.memory.is_greylisted(_bare(envelope.mail_from), address):
            return "450 4.7.1 greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 recipient ok"

    async def handle_DATA(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        protocol = self._protocol
        reply = await protocol.decide(".", envelope.rcpt_tos, before_hanging_up=lambda: protocol.take(envelope))
        if reply is not None and not reply.startswith("2"):
            return reply
        protocol.take(envelope)
        return reply or f"250 2.0.0 taken as {len(protocol.memory.mails)}"


def _bare(path: str | None) -> str:
    """The reverse-path without the angle brackets that aiosmtpd keeps around an empty one."""
    return "" if path in (None, "<>") else str(path)
