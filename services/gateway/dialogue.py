"""What clients are answered: who may come in, whose mail is taken, and when it is safe.

The methods' names and arguments are aiosmtpd's, which asks them before it answers a command.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from aiosmtpd.smtp import MISSING

from services.gateway.account_book import AccountBook
from services.gateway.crowd import is_in
from services.gateway.head import read_letter
from services.gateway.mended_smtp import MendedSMTP
from services.gateway.parcel import parcel
from services.gateway.place import Place
from services.gateway.post import Post
from services.gateway.rates import Rates
from services.gateway.room import Room, Share, too_large
from services.gateway.session import ClientSession, MailEnvelope
from services.gateway.sign_in import Shown, SignIn, from_base64, read_login, read_plain
from services.gateway.trace import Passage, received_line
from shared import metrics
from shared.accounts import Account, may_send_as
from shared.addresses import check_spec
from shared.mail_ids import new_mail_id
from shared.refusals import Invalid
from shared.settings import Settings

log = structlog.get_logger()


class Dialogue:
    """aiosmtpd's handler, one for all connections: what a connection is about lies in its session and envelope."""

    def __init__(
        self,
        place: Place,
        settings: Callable[[], Settings],
        book: AccountBook,
        sign_in: SignIn,
        post: Post,
        user: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`user` is ours at the broker, which is told with each mail."""
        self._place = place
        self._settings = settings
        self._book = book
        self._sign_in = sign_in
        self._post = post
        self._user = user
        self._clock = clock
        self._rates = Rates()
        self._room = Room()

    async def handle_EHLO(  # noqa: N802
        self, _server: MendedSMTP, session: ClientSession, _envelope: MailEnvelope, hostname: str, offers: list[str]
    ) -> list[str]:
        """Commands may come ahead of replies (RFC 2920): they are read one by one."""
        session.host_name = hostname
        if self._place.accounts is None:
            offers = [line for line in offers if not line.startswith("250-AUTH")]
        return [offers[0], "250-PIPELINING", *offers[1:]]

    async def handle_AUTH(  # noqa: N802
        self, server: MendedSMTP, session: ClientSession, envelope: MailEnvelope, args: list[str]
    ) -> str | None:
        """PLAIN or LOGIN. None: it has been answered."""
        if envelope.mail_from is not None:
            return "503 5.5.1 not while a mail is under way"
        shown = await _shown(server, args)
        if not isinstance(shown, Shown):
            return shown
        server.wait_for_us()
        judged = await self._sign_in.judge(shown, session.address)
        if isinstance(judged, str):
            return judged
        session.authenticated, session.signed_in = True, judged
        log.info("signed_in", client=session.address, account=judged.account, tls=server.over_tls)
        return "235 2.7.0 welcome"

    async def handle_MAIL(  # noqa: N802
        self, _server: MendedSMTP, session: ClientSession, envelope: MailEnvelope, address: str, _options: list[str]
    ) -> str:
        """Only those may send who are known here, in their own name, and as often as they may."""
        sender = self._sender(session)
        if isinstance(sender, str):
            return sender
        checked = "" if address == "<>" else _checked(address, envelope)
        if checked is None:
            return _no_address("553 5.1.7", address, envelope)
        if sender is not None and (refusal := _not_its_own(sender, [checked] if checked else [])):
            return f"553 5.7.1 {refusal}"
        if sender is not None and (refusal := self._too_often(*sender)):
            return refusal
        envelope.sender, envelope.mail_from = sender, checked or "<>"
        return "250 2.1.0 Ok"

    async def handle_RCPT(  # noqa: N802
        self, _server: MendedSMTP, _session: ClientSession, envelope: MailEnvelope, address: str, _options: list[str]
    ) -> str:
        """As many as fit; a client sends the others in a mail of their own (RFC 5321 section 4.5.3.1.10)."""
        checked = None if address == "<>" else _checked(address, envelope)
        if checked is None:
            return _no_address("553 5.1.3", address, envelope)
        if len(envelope.rcpt_tos) >= self._settings().gateway.recipients or not envelope.add(checked):
            return "452 4.5.3 too many recipients"
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: MendedSMTP, session: ClientSession, envelope: MailEnvelope) -> str:  # noqa: N802
        """Take the content, and say yes when the broker has it."""
        most = server.data_size_limit
        share = Share(self._room, most)
        try:
            content = await server.input.content(share.take)
            if content is not None and len(content) > most:
                reply = too_large(most)
            elif content is None:
                reply = share.refusal
            else:
                server.wait_for_us()
                reply = await self._submit(content, server, session, envelope)
        finally:
            share.give_back()
        metrics.GATEWAY_MAILS.labels(reply[:3]).inc()
        return reply

    async def _submit(self, content: bytes, server: MendedSMTP, session: ClientSession, envelope: MailEnvelope) -> str:
        now, mail, address = datetime.now(UTC), new_mail_id(), session.address
        name, account = envelope.sender or (None, None)
        told = {"mail": mail, "client": address, "account": name}
        try:
            letter = read_letter(content, now)
        except Invalid as refused:
            log.warning("not_submitted", **told, reason=str(refused), next="client_is_told")
            return f"550 5.6.0 {refused}"
        if envelope.sender and (refusal := _not_its_own(envelope.sender, [author.spec for author in letter.authors])):
            log.warning("not_submitted", **told, reason=refusal, next="client_is_told")
            return f"550 5.7.1 From: {refusal}"
        passage = Passage(
            helo=str(session.host_name),
            address=address,
            extended=session.extended_smtp,
            tls=server.over_tls,
            signed_in=account is not None,
            smtputf8=envelope.smtp_utf8,
        )
        traced = received_line(passage, self._place.name, mail, now) + letter.content
        reverse_path = (envelope.mail_from or "").replace("<>", "")
        message = parcel(mail, traced, reverse_path, envelope.rcpt_tos, letter.wishes, account, self._user)
        try:
            reply = await self._post.send(message)
        except asyncio.CancelledError:
            log.warning("client_gone", **told, next="it_may_send_it_again")
            raise
        if reply.startswith("2"):
            log.info("submitted", **told, recipients=len(envelope.rcpt_tos), size=len(content))
        return reply

    def _sender(self, session: ClientSession) -> tuple[str, Account] | str | None:
        """Whose mail it is; None of a network that need not say so. Else the reply."""
        signed_in = session.signed_in
        if signed_in is None:
            known = is_in(session.address, self._place.networks)
            return None if known else "530 5.7.0 sign in first"
        account = self._book.get(signed_in.account)
        if account is None or account.password != signed_in.password:
            return "421 4.7.0 the account has changed; sign in again"
        return signed_in.account, account

    def _too_often(self, name: str, account: Account) -> str | None:
        if account.rate is None:
            return None
        wait_s = self._rates.take(name, account.rate, self._clock())
        if not wait_s:
            return None
        log.warning("rate_exceeded", account=name, rate=account.rate, next="client_tries_again")
        return f"450 4.7.28 takes {account.rate} mails a minute; try again in {wait_s:.0f} s"


async def _shown(server: MendedSMTP, args: list[str]) -> Shown | str | None:
    """What a client shows, perhaps after challenges. Else the reply; None when that has been given."""
    first = from_base64(args[1]) if len(args) > 1 else None
    if isinstance(first, str):
        return first
    if args[0] == "PLAIN":
        response = await server.challenge_auth("") if first is None else first
        return read_plain(response) if response is not MISSING else None
    user = await server.challenge_auth(server.AuthLoginUsernameChallenge) if first is None else first
    if user is MISSING:
        return None
    password = await server.challenge_auth(server.AuthLoginPasswordChallenge)
    return read_login(user, password) if password is not MISSING else None


def _checked(address: str, envelope: MailEnvelope) -> str | None:
    """The address in its normal form; None for one that is none, or needs SMTPUTF8 and came without (RFC 6531)."""
    if not address.isascii() and not envelope.smtp_utf8:
        return None
    try:
        return check_spec(address)
    except ValueError:
        return None


def _no_address(codes: str, address: str, envelope: MailEnvelope) -> str:
    if not address.isascii() and not envelope.smtp_utf8:
        return "553 5.6.7 the address is not ASCII; takes it with SMTPUTF8"
    return f"{codes} takes an e-mail address: {address[:100]} is none"


def _not_its_own(sender: tuple[str, Account], addresses: list[str]) -> str | None:
    name, account = sender
    strange = next((address for address in addresses if not may_send_as(account, address)), None)
    return None if strange is None else f"{name} may not send as {strange}"
