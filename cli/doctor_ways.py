"""The ways out: the relay with its TLS and sign-in, and port 25 of other people's servers.

It speaks to them with the standard library's client, judges certificates as the senders do, and sends no mail.
"""

import asyncio
import contextlib
import smtplib
import ssl
from datetime import UTC, datetime

import msgspec
from cryptography import x509

from cli.doctor_rows import Row, failed, ok, skipped, warning
from services.resolver.mx import MxResolver
from services.resolver.plan import MxHosts
from services.resolver.relay import relay_route
from services.sender.auth import choose_mechanism
from services.sender.channel import Channel, channel_of
from services.sender.login import Login, Logins
from services.sender.tls import TlsPolicy, is_implicit, policy_of
from shared.contracts import Credentials, Route, TlsMode
from shared.settings import Settings
from shared.smtp_reply import Reply

_PATIENCE_S = 10.0
_SOON_DAYS = 14  # a certificate that ends sooner should have been renewed
_MOST_HOSTS = 3  # MX hosts that are spoken to


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a server showed of itself."""

    name: str  # as it greets
    starttls: bool = False
    trouble: str = ""  # why TLS did not come about
    channel: Channel = Channel()
    days_left: int | None = None  # of its certificate
    mechanisms: frozenset[str] = frozenset()


async def relay_rows(settings: Settings, helo: str) -> list[Row]:
    """The relay of relay mode."""
    route = relay_route("", settings, 0)
    if route is None:
        return [skipped("relay", "direct mode: there is none")]
    [host] = route.hosts
    where = f"{host.name}:{host.port}"
    try:
        seen = await asyncio.to_thread(look, route, helo)
    except (OSError, smtplib.SMTPException) as error:
        advice = "see that it runs, that relay.host and relay.port are right, and that no firewall stands between"
        return [failed("relay", f"{where}: {error}", advice)]
    login = await Logins().find(route.credentials) if route.credentials is not None else None
    reached = ok("relay", f"{where}: answers as {seen.name}")
    return [reached, *tls_rows(policy_of(route), seen), auth_row(route.credentials, login, seen)]


def look(route: Route, helo: str) -> Seen:
    """Connect, say EHLO, go over to TLS where the settings want it, and look. Raises OSError or SMTPException."""
    [host] = route.hosts
    policy, context = policy_of(route), _unverified()
    implicit = is_implicit(policy, host.port)
    name = host.name.strip("[]")
    client = (
        smtplib.SMTP_SSL(local_hostname=helo, timeout=_PATIENCE_S, context=context)
        if implicit
        else smtplib.SMTP(local_hostname=helo, timeout=_PATIENCE_S)
    )
    setattr(client, "_host", name)  # noqa: B010 - the name for SNI, which connect() leaves out
    try:
        client.connect(name, host.port)
        code, greeting = client.ehlo()
        if code >= 300:
            raise smtplib.SMTPHeloError(code, greeting)
        offered, trouble = client.has_extn("starttls"), ""
        if offered and not implicit and policy.mode is not TlsMode.NONE:
            trouble = _start_tls(client, context)
        assert client.sock is not None
        secured = client.sock if isinstance(client.sock, ssl.SSLSocket) else None
        return Seen(
            name=greeting.decode("ascii", "replace").split("\n")[0].split(" ")[0],
            starttls=offered or implicit,
            trouble=trouble,
            # A socket of TLS is to channel_of what an SSLObject is.
            channel=channel_of(secured, _unjudged(policy), host.name) if secured is not None else Channel(),  # type: ignore[arg-type]
            days_left=_days_left(secured),
            mechanisms=frozenset(client.esmtp_features.get("auth", "").upper().split()),
        )
    finally:
        with contextlib.suppress(OSError, smtplib.SMTPException):
            client.quit()
        client.close()


def tls_rows(policy: TlsPolicy, seen: Seen) -> list[Row]:
    """The judgement on version and certificate."""
    if policy.mode is TlsMode.NONE:
        return [warning("TLS", "tls = none: mail and password go in plaintext", "set tls=enable, or tls=require")]
    if not seen.channel.secured:
        found = seen.trouble or "the server does not offer STARTTLS"
        if policy.mode is TlsMode.REQUIRE:
            return [failed("TLS", f"{found}, and tls = require: no mail goes", "mend the server's TLS")]
        return [warning("TLS", f"{found}: mail goes in plaintext", "mend the server's TLS")]
    return [ok("TLS", f"{seen.channel.tls}, {seen.channel.cipher}"), certificate_row(policy, seen)]


def certificate_row(policy: TlsPolicy, seen: Seen) -> Row:
    """The judgement on the certificate: it stops mail only where it has to be valid."""
    if seen.channel.certificate != "valid":
        what = seen.channel.certificate
        if policy.verify:
            advice = "mend the server's certificate, or name its authority in relay.ca_file"
            return failed("certificate", f"{what}: no mail goes", advice)
        return warning("certificate", f"{what}; it is not asked to be", "mend it, then set tls=require")
    found = f"valid, for {seen.days_left} days more"
    if seen.days_left is not None and seen.days_left < _SOON_DAYS:
        return warning("certificate", found, "have the server's certificate renewed")
    return ok("certificate", found)


def auth_row(credentials: Credentials | None, login: Login | Reply | None, seen: Seen) -> Row:
    """The judgement on signing in, which is not tried: secrets that can be read, and a way that both sides have."""
    offered = ", ".join(sorted(seen.mechanisms)) or "nothing"
    if credentials is None:
        return skipped("sign-in", f"relay.auth is not set; the server offers {offered}")
    if not isinstance(login, Login):
        assert login is not None
        return failed("sign-in", login.text, "put the secret where the settings say, readable for the senders")
    mechanism = choose_mechanism(login, seen.mechanisms, seen.channel)
    if mechanism is None:
        advice = "see relay.auth.mechanisms and tls: passwords go over TLS only, unless allow_plaintext is set"
        return failed("sign-in", f"no way that fits: the server offers {offered}", advice)
    return ok("sign-in", f"by {mechanism}; the secret of {credentials.user} can be read here")


async def port_25_rows(settings: Settings, domain: str, to: str) -> list[Row]:
    """Whether servers of the world can be reached: a host that is named, else the MX hosts of the domain."""
    if to:
        host, _, port = to.rpartition(":") if to.count(":") == 1 else (to, "", "")
        return [await _greeting_row(host.strip("[]"), host.strip("[]"), int(port or 25))]
    if not domain:
        return [skipped("port 25", "no host is named", "name one: --to HOST, or a DOMAIN, whose MX hosts are tried")]
    found = await MxResolver.of(settings).hosts(domain)
    if not isinstance(found, MxHosts):
        return [failed(f"MX of {domain}", str(found.reply), "name a host that takes mail: --to HOST")]
    named = ok(f"MX of {domain}", ", ".join(host.name for host in found.hosts))
    tried = [_greeting_row(host.name, host.addresses[0], host.port) for host in found.hosts[:_MOST_HOSTS]]
    return [named, *await asyncio.gather(*tried)]


async def _greeting_row(name: str, address: str, port: int) -> Row:
    check = f"port {port} of {name}"
    try:
        async with asyncio.timeout(_PATIENCE_S):
            reader, writer = await asyncio.open_connection(address, port)
            greeting = (await reader.readline()).decode("ascii", "replace").strip()
            writer.write(b"QUIT\r\n")
            writer.close()
    except TimeoutError:
        advice = "many networks block port 25: ask yours to open it, or use a relay"
        return failed(check, f"no answer within {_PATIENCE_S:g} s", advice)
    except OSError as error:
        return failed(check, str(error.strerror or error), "ask your network for a way out to port 25, or use a relay")
    return greeting_judged(check, greeting)


def greeting_judged(check: str, greeting: str) -> Row:
    """The judgement on what the server says first."""
    if greeting.startswith("2"):
        return ok(check, greeting)
    return failed(check, greeting or "it hangs up", "it does not want mail from this address: see its words")


def _start_tls(client: smtplib.SMTP, context: ssl.SSLContext) -> str:
    """Why it did not come about, or ""."""
    try:
        client.starttls(context=context)
        client.ehlo()
    except (OSError, smtplib.SMTPException) as error:
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
