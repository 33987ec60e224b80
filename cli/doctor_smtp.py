"""A look at an SMTP server: what it says, which TLS it speaks, and whether it lets us in. No mail is sent.

With the standard library's client; certificates are judged, and sign-ins done, as the senders do.
"""

import asyncio
import contextlib
import re
import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec
from cryptography import x509

from services.sender.auth import SignIn, sign_in
from services.sender.channel import Channel, channel_of
from services.sender.helo import HeloNames
from services.sender.login import Login
from services.sender.tls import TlsPolicy, is_implicit, policy_of
from shared.contracts.work import Host, Route, TlsMode
from shared.smtp_reply import Reply

PATIENCE_S = 10.0  # for each answer
FAILURES = (OSError, smtplib.SMTPException)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3}) ")  # RFC 2034


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a server showed of itself."""

    greeting: str = ""
    name: str = ""  # as it answers EHLO
    helo: str = ""  # what we have said
    starttls: bool = False
    trouble: str = ""  # why TLS did not come about
    channel: Channel = Channel()
    days_left: int | None = None  # of its certificate
    mechanisms: frozenset[str] = frozenset()
    sign_in: SignIn | None = None  # None: not tried


async def look(route: Route, names: HeloNames, login: Callable[[Seen], Login | None] = lambda seen: None) -> Seen:
    """Connect to the route's first host, say EHLO, go over to TLS where the settings want it, and look.

    `login` says by what to sign in at what was seen, if at all. Raises OSError or SMTPException.
    """
    with _client(route) as client:
        greeting = await asyncio.to_thread(_connect, client, route.hosts[0])
        assert client.sock is not None
        client.local_hostname = await names.argument(client.sock.getsockname()[0])
        seen = await asyncio.to_thread(_look, client, route, greeting)
        entered = login(seen)
        if entered is None:
            return seen
        return msgspec.structs.replace(seen, sign_in=await asyncio.to_thread(_sign_in, client, entered, seen))


@contextmanager
def _client(route: Route) -> Iterator[smtplib.SMTP]:
    [host, *_] = route.hosts
    # The name for EHLO is known once there is a connection; without one here, the client would look for one in DNS.
    client = (
        smtplib.SMTP_SSL(local_hostname="unknown", timeout=PATIENCE_S, context=_unverified())
        if is_implicit(policy_of(route), host.port)
        else smtplib.SMTP(local_hostname="unknown", timeout=PATIENCE_S)
    )
    setattr(client, "_host", host.name.strip("[]"))  # noqa: B010 - the name for SNI, which connect() leaves out
    try:
        yield client
    finally:
        client.close()


def _connect(client: smtplib.SMTP, host: Host) -> str:
    code, greeting = client.connect(host.addresses[0] if host.addresses else host.name.strip("[]"), host.port)
    said = f"{code} {_text(greeting)}".strip() if code > 0 else ""
    if code >= 300:
        raise smtplib.SMTPConnectError(code, greeting)
    return said


def _look(client: smtplib.SMTP, route: Route, greeting: str) -> Seen:
    policy, host = policy_of(route), route.hosts[0]
    code, hello = client.ehlo()
    if code >= 300:
        raise smtplib.SMTPHeloError(code, hello)
    implicit = is_implicit(policy, host.port)
    offered, trouble = client.has_extn("starttls"), ""
    if offered and not implicit and policy.mode is not TlsMode.NONE:
        trouble = _start_tls(client)
    secured = client.sock if isinstance(client.sock, ssl.SSLSocket) else None
    return Seen(
        greeting=greeting,
        name=_text(hello).split("\n")[0].split(" ")[0],
        helo=client.local_hostname,
        starttls=offered or implicit,
        trouble=trouble,
        # A socket of TLS is to channel_of what an SSLObject is.
        channel=channel_of(secured, _unjudged(policy), host.name) if secured is not None else Channel(),  # type: ignore[arg-type]
        days_left=_days_left(secured),
        mechanisms=frozenset(client.esmtp_features.get("auth", "").upper().split()),
    )


def _sign_in(client: smtplib.SMTP, login: Login, seen: Seen) -> SignIn:
    dialogue = sign_in(login, seen.mechanisms, seen.channel, PATIENCE_S)
    try:
        step = next(dialogue)
        while True:
            client.send(step.line)
            step = dialogue.send(_reply(*client.getreply()))
    except StopIteration as end:
        done: SignIn = end.value
        with contextlib.suppress(*FAILURES):
            client.quit()
        return done


def _reply(code: int, octets: bytes) -> Reply:
    text = _text(octets)
    found = _ENHANCED.match(text)
    return Reply(code, found[1], text[found.end() :]) if found and code != 334 else Reply(code, "", text)


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")


def _start_tls(client: smtplib.SMTP) -> str:
    """Why it did not come about, or ""."""
    try:
        client.starttls(context=_unverified())
        client.ehlo()
    except FAILURES as error:
        return f"STARTTLS: {error}"
    return ""


def _unverified() -> ssl.SSLContext:
    """Whatever the certificate is worth, it is looked at first, and judged then."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    return context


def _unjudged(policy: TlsPolicy) -> TlsPolicy:
    return msgspec.structs.replace(policy, verify=False)


def _days_left(secured: ssl.SSLSocket | None) -> int | None:
    shown = secured.getpeercert(binary_form=True) if secured is not None else None
    if not shown:
        return None
    return (x509.load_der_x509_certificate(shown).not_valid_after_utc - datetime.now(UTC)).days
