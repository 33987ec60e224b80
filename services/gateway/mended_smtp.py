"""aiosmtpd's connection, with what it lacks for a server that strangers can reach (written for 1.4.6).

- It takes a bare LF for the end of a command, and reads contents line by line: both are left to `input.py`.
- Its STARTTLS goes through asyncio's insides and not uvloop's, may be given twice, and throws away what was injected
  before the handshake; here it is `loop.start_tls`, and an injection ends the connection (RFC 3207, CVE-2011-0411).
- It knows no TLS but STARTTLS, so without it AUTH is not offered over implicit TLS.
- Limits of command lines lie in the class and change with every connection's EHLO.
- It closes without a word when a client idles, counts no refusals, and does not part from clients at a stop.
- Addresses are read by the parser of headers, which takes comments, and 60 µs.
"""

import asyncio
import re
import ssl
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec
import structlog
from aiosmtpd.smtp import SMTP, syntax

from services.gateway.input import Input, NotALine
from services.gateway.session import ClientSession, MailEnvelope
from shared.trouble import what_failed

log = structlog.get_logger()

HANDSHAKE_WITHIN_S = 30.0
_OURS_S = 90.0  # the idle time does not count while we make the client wait: a brake, a broker
_LINGER_S = 10.0  # for a client to read our last words
_LONGEST_REPLY = 510  # octets without CRLF, RFC 5321 section 4.5.3.1.5
_LONGEST_COMMAND = 4096  # Input takes no longer line
# Per connection, by command. Who needs more mails connects again; who needs more of these is not after sending mail.
_MOST_COMMANDS = {
    **dict.fromkeys(("EHLO", "HELO", "AUTH", "VRFY", "EXPN", "HELP", "NOOP", "STARTTLS"), 100),
    "RCPT": 100_000,
    "*": 10_000,
}
# RFC 5321 section 4.1.2: a source route before the mailbox is passed over; a quoted local part may hold anything.
_PATH = re.compile(r'<(?:@[^<>:\s]+:)?((?:"(?:[^"\\]|\\.)*"@)?[^<>"\s]*)>(?:\s+(.*))?', re.DOTALL)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a connection, asked anew wherever it may have changed."""

    name: str
    tls: ssl.SSLContext | None  # for STARTTLS
    may_sign_in_plainly: bool
    idle_s: float
    most_errors: int
    max_size: Callable[[], int]


class MendedSMTP(SMTP):
    """One connection."""

    command_size_limit = _LONGEST_COMMAND
    AuthLoginUsernameChallenge = "Username:"  # what clients are used to
    AuthLoginPasswordChallenge = "Password:"

    def __init__(self, handler: Any, terms: Terms, on_end: Callable[["MendedSMTP"], None]) -> None:
        """`on_end` is told once, when the connection is over."""
        self._terms = terms
        self._on_end: Callable[[MendedSMTP], None] | None = on_end
        self._errors = 0
        self._parting = False
        self.input = Input(self._hold)
        super().__init__(
            handler,
            data_size_limit=terms.max_size(),
            enable_SMTPUTF8=True,
            hostname=terms.name,
            ident="ESMTP Pillarbox",
            tls_context=terms.tls,
            timeout=terms.idle_s,
            auth_require_tls=not terms.may_sign_in_plainly,
            command_call_limit=_MOST_COMMANDS,
            loop=asyncio.get_running_loop(),
        )
        self.command_size_limits = defaultdict(lambda: _LONGEST_COMMAND)

    @property
    def data_size_limit(self) -> int:
        """Octets of the largest mail, as the settings have it now."""
        return self._terms.max_size()

    @data_size_limit.setter
    def data_size_limit(self, _at_the_start: int) -> None:
        """aiosmtpd's constructor sets it."""

    @property
    def over_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self._tls_protocol is not None

    @property
    def in_transaction(self) -> bool:
        """Whether a mail is under way: from MAIL to the reply to its content."""
        return self.envelope is not None and self.envelope.mail_from is not None

    def wait_for_us(self) -> None:
        """The client is to wait for us now, and not the other way round."""
        self._reset_timeout(_OURS_S)

    def part(self) -> None:
        """We stop: say so now, or after the mail that is under way."""
        self._parting = True
        if not self.in_transaction:
            self._say_goodbye("421 4.3.2 the server stops; try again")

    def cut(self) -> None:
        """Close at once."""
        if (link := self._link) is not None:
            link.abort()

    # -- what asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tls_protocol = transport.get_extra_info("ssl_object")
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.in_transaction:  # a content may take longer than a client may idle
            self._reset_timeout()
        self.input.feed(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.session is not None:  # else its handshake has failed, and aiosmtpd knows nothing of it
            super().connection_lost(error)
        self._end()

    # -- what aiosmtpd does differently

    def _cb_client_connected(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = cast(asyncio.StreamReader, _Commands(self))  # the part of it that is used
        self._writer = writer

    def _create_session(self) -> ClientSession:
        return ClientSession(self.loop)

    def _create_envelope(self) -> MailEnvelope:
        return MailEnvelope()

    def _timeout_cb(self) -> None:
        if (link := self._link) is not None and link.is_closing():
            link.abort()  # a client that does not read our last words
        else:
            self._say_goodbye("421 4.4.2 nothing was heard for too long")

    async def handle_exception(self, error: Exception) -> str:
        if isinstance(error, NotALine):
            return str(error)
        log.error("session_failed", reason=what_failed(error), exc_info=error, next="client_tries_again")
        return "451 4.3.0 something failed here; try again later"

    async def push(self, status: str | bytes) -> None:
        """Say it; close after a 421, a 521, and a refusal too many."""
        text = status if isinstance(status, str) else status.decode("ascii")
        await super().push(_fit(text))
        if text.startswith(("421", "521")):
            self._close()
        elif text.startswith(("4", "5")):
            self._errors += 1
            if self._errors >= self._terms.most_errors:
                self._say_goodbye("421 4.7.0 too many errors")
        if self._parting and not self.in_transaction and text[3:4] == " " and text[:1] != "3":
            self.part()

    @syntax("STARTTLS", when="tls_context")
    async def smtp_STARTTLS(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        """RFC 3207. What was said before counts no longer, a sign-in neither."""
        if arg:
            await self.push("501 5.5.4 Syntax: STARTTLS")
        elif self.over_tls or self.tls_context is None or self.in_transaction:
            await self.push("503 5.5.1 not now")
        else:
            await self._start_tls(self.tls_context)

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        """RFC 5321 section 4.1.1.4. The handler reads the content itself."""
        assert self.envelope is not None
        if not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 need RCPT before DATA")
        elif arg:
            await self.push("501 5.5.4 Syntax: DATA")
        else:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            status = await self._call_handler_hook("DATA")
            self._reset_timeout()
            self.envelope = self._create_envelope()
            await self.push(status)

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        found = _PATH.fullmatch(arg)
        if found is None or any("\ud800" <= letter <= "\udfff" for letter in arg):  # what was no UTF-8
            return None, None
        return found.group(1) or "<>", found.group(2) or ""

    def _getparams(self, params: Any) -> dict[str, str | bool] | None:
        """A client may say who wrote the mail (RFC 4954 section 5); nobody here asks."""
        found: Mapping[str, str | bool] | None = super()._getparams(params)
        return None if found is None else {name: value for name, value in found.items() if name != "AUTH"}

    # --

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        transport = self._link
        assert transport is not None
        transport.pause_reading()  # what follows the 220 is for the handshake
        if self.input.waiting:
            await self.push("521 5.5.1 commands after STARTTLS and before its reply")
            return
        await self.push("220 2.0.0 go ahead")
        try:
            secured = await self.loop.start_tls(
                transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_WITHIN_S
            )
        except (OSError, ssl.SSLError) as error:
            log.info("handshake_failed", reason=str(error) or type(error).__name__)
            transport.abort()
            self.connection_lost(None)  # nobody else tells
            raise asyncio.CancelledError from error
        assert secured is not None
        self.transport = self._writer._transport = secured  # type: ignore[attr-defined]  # as aiosmtpd does
        self._over_ssl = True
        self._tls_protocol = secured.get_extra_info("ssl_object")
        self.envelope = self._create_envelope()
        self.session = self._create_session()
        self.session.peer, self.session.ssl = secured.get_extra_info("peername"), {}
        self._reset_timeout()

    @property
    def _link(self) -> asyncio.Transport | None:
        """The transport; uvloop's are no asyncio.Transport by their type."""
        return cast(asyncio.Transport | None, self.transport)

    def _hold(self, hold: bool) -> None:
        if (link := self._link) is not None and not link.is_closing():
            link.pause_reading() if hold else link.resume_reading()

    def _say_goodbye(self, reply: str) -> None:
        if (link := self._link) is not None and not link.is_closing():
            link.write(f"{reply}\r\n".encode())
            self._close()

    def _close(self) -> None:
        if (link := self._link) is not None:
            link.close()
            self._reset_timeout(_LINGER_S)

    def _end(self) -> None:
        if self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end(self)


class _Commands:
    """What aiosmtpd reads commands and answers to challenges from."""

    def __init__(self, connection: MendedSMTP) -> None:
        self._connection = connection

    async def readuntil(self) -> bytes:
        """The next line; none, though more have come, once we have closed."""
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            raise asyncio.CancelledError
        return await self._connection.input.line()

    readline = readuntil


def _fit(reply: str) -> str:
    """A reply may repeat what a client said: it has to stay one line, of ASCII, and of a length that clients take."""
    if not (reply.isascii() and reply.isprintable()):
        reply = "".join(letter if " " <= letter <= "~" else "?" for letter in reply)
    return reply[:_LONGEST_REPLY]
