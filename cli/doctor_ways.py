"""The ways out: the relays with their TLS and sign-in, and port 25 of other people's servers. No mail is sent."""

import asyncio
from collections.abc import Sequence

import msgspec

from cli.doctor_rows import Result, Row, failed, ok, skipped, warning
from cli.doctor_smtp import FAILURES, PATIENCE_S, Seen, look
from services.resolver.mx import MxResolver
from services.resolver.plan import MxHosts
from services.resolver.relay import relay_route
from services.sender.auth import SignIn, choose_mechanism
from services.sender.helo import HeloNames
from services.sender.login import Login, Logins
from services.sender.tls import TlsPolicy, policy_of
from shared.contracts.work import Credentials, Host, Route, TlsMode
from shared.settings import Settings
from shared.smtp_reply import Reply

_SOON_DAYS = 14  # a certificate that ends sooner should have been renewed
_MOST_HOSTS = 3  # MX hosts that are spoken to
_AT_ONCE = 10  # relays that are spoken to at once


async def relay_rows(settings: Settings, names: HeloNames, sign_in: bool) -> list[Row]:
    """The relay of relay mode, and each that `[routes]` names. `sign_in`: really, and not just whether it could be."""
    usual = [] if relay_route("", settings, 0) else [skipped("relay", "direct mode: there is none")]
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(of: str, route: Route) -> list[Row]:
        async with turns:
            return await _relay_rows(of, route, names, sign_in)

    found = await asyncio.gather(*(one(of, route) for of, route in relays(settings)))
    return [*usual, *(row for rows in found for row in rows)]


def relays(settings: Settings) -> list[tuple[str, Route]]:
    """Each relay once, and what its rows are called after: "" for that of relay mode."""
    usual = relay_route("", settings, 0)
    by_site: dict[str, tuple[Route, list[str]]] = {usual.site: (usual, [])} if usual else {}
    for domain in settings.routes:
        if route := relay_route(domain, settings, 0):
            by_site.setdefault(route.site, (route, []))[1].append(domain)
    return [(_after(site, usual, domains), route) for site, (route, domains) in by_site.items()]


def _after(site: str, usual: Route | None, domains: Sequence[str]) -> str:
    if usual is not None and site == usual.site:
        return ""
    return f" for {domains[0]}" + (f" and {len(domains) - 1} more" if len(domains) > 1 else "")


async def _relay_rows(of: str, route: Route, names: HeloNames, sign_in: bool) -> list[Row]:
    [host] = route.hosts
    where = f"{host.name}:{host.port}"
    login = await Logins().find(route.credentials) if route.credentials is not None else None
    policy = policy_of(route)

    def entered(seen: Seen) -> Login | None:
        # A sender would not come so far either, and the password is not for just anybody.
        well = all(row.result is not Result.FAILED for row in tls_rows(policy, seen))
        return login if sign_in and well and isinstance(login, Login) else None

    try:
        seen = await look(route, names, entered)
    except FAILURES as error:
        setting = f"routes.{of.split()[1]}" if of else "relay"
        advice = f"see that it runs, that host and port in {setting} are right, and that no firewall stands between"
        return [failed(f"relay{of}", f"{where}: {error}", advice)]
    rows = [
        ok("relay", f"{where}: answers as {seen.name} to EHLO {seen.helo}"),
        *tls_rows(policy, seen),
        *password_rows(route.credentials, policy),
        signed_in_row(route.credentials, seen.sign_in)
        if route.credentials is not None and seen.sign_in is not None
        else auth_row(route.credentials, login, seen),
    ]
    return [msgspec.structs.replace(row, check=f"{row.check}{of}") for row in rows]


def tls_rows(policy: TlsPolicy, seen: Seen) -> list[Row]:
    """The judgement on version and certificate of a relay."""
    if policy.mode is TlsMode.NONE:
        return [warning("TLS", "tls = none: mail and password go in plaintext", "set tls=enable, or tls=require")]
    if not seen.channel.secured:
        return [_plaintext_row(policy, seen, "mend the server's TLS")]
    return [_version_row(seen), certificate_row(policy, seen)]


def mx_tls_rows(policy: TlsPolicy, seen: Seen) -> list[Row]:
    """The same of an MX host: its certificate stops no mail, as its name comes from DNS that anybody may forge."""
    if policy.mode is TlsMode.NONE:
        return [warning("TLS", "tls = none: mail goes in plaintext", "set tls=enable")]
    if not seen.channel.secured:
        return [_plaintext_row(policy, seen, "it is its operator's to mend")]
    return [_version_row(seen), ok("certificate", f"{seen.channel.certificate}{_days(seen)}; of MX hosts any is taken")]


def _plaintext_row(policy: TlsPolicy, seen: Seen, advice: str) -> Row:
    found = seen.trouble or "the server does not offer STARTTLS"
    if policy.mode is TlsMode.REQUIRE:
        return failed("TLS", f"{found}, and tls = require: no mail goes", advice)
    return warning("TLS", f"{found}: mail goes in plaintext", advice)


def _version_row(seen: Seen) -> Row:
    return ok("TLS", f"{seen.channel.tls}, {seen.channel.cipher}")


def _days(seen: Seen) -> str:
    return f", for {seen.days_left} days more" if seen.days_left is not None and seen.days_left >= 0 else ""


def certificate_row(policy: TlsPolicy, seen: Seen) -> Row:
    """The judgement on a relay's certificate: it stops mail only where it has to be valid."""
    if seen.channel.certificate != "valid":
        what = seen.channel.certificate
        if policy.verify:
            advice = "mend the server's certificate, or name its authority in ca_file"
            return failed("certificate", f"{what}: no mail goes", advice)
        return warning("certificate", f"{what}; it is not asked to be", "mend it, then set tls=require")
    found = f"valid{_days(seen)}"
    if seen.days_left is not None and seen.days_left < _SOON_DAYS:
        return warning("certificate", found, "have the server's certificate renewed")
    return ok("certificate", found)


def password_rows(credentials: Credentials | None, policy: TlsPolicy) -> list[Row]:
    """A warning where we sign in at whoever answers in the relay's name."""
    if credentials is None or policy.verify or policy.mode is TlsMode.NONE:
        return []
    if policy.mode is TlsMode.REQUIRE:
        why, advice = "verify = false", "set verify=true, and ca_file where the authority is one of yours"
    else:
        why, advice = "tls = enable", "set tls=require, and ca_file where the authority is one of yours"
    found = f"{why}: the certificate is not verified, so whoever answers in its name is shown the password"
    return [warning("who gets the password", found, advice)]


def auth_row(credentials: Credentials | None, login: Login | Reply | None, seen: Seen) -> Row:
    """The judgement on a sign-in that was not tried: secrets that can be read, and a way that both sides have."""
    offered = ", ".join(sorted(seen.mechanisms)) or "nothing"
    if credentials is None:
        return skipped("sign-in", f"no auth is set; the server offers {offered}")
    if not isinstance(login, Login):
        assert login is not None
        return failed("sign-in", login.text, "put the secret where the settings say, readable for the senders")
    mechanism = choose_mechanism(login, seen.mechanisms, seen.channel)
    if mechanism is None:
        advice = "see auth.mechanisms and tls: passwords go over TLS only, unless allow_plaintext is set"
        return failed("sign-in", f"no way that fits: the server offers {offered}", advice)
    found = f"by {mechanism}, not tried (--sign-in); the secret of {credentials.user} can be read here"
    return ok("sign-in", f"{found}; the server offers {offered}")


def signed_in_row(credentials: Credentials, tried: SignIn) -> Row:
    """The judgement on a sign-in that was tried."""
    if tried.reply.code // 100 == 2:
        return ok("sign-in", f"signed in as {credentials.user} by {tried.mechanism}")
    found = f"{tried.mechanism}: {tried.reply}" if tried.mechanism else str(tried.reply)
    return failed("sign-in", found, f"see user, secret and mechanisms in auth, and whether {credentials.user} may send")


async def port_25_rows(settings: Settings, names: HeloNames, domain: str, to: str) -> list[Row]:
    """Whether servers of the world can be reached: a host that is named, else the MX hosts of the domain."""
    if to:
        host, _, port = to.rpartition(":") if to.count(":") == 1 else (to, "", "")
        return await _port_25_rows(Host(host.strip("[]"), int(port or 25)), settings, names)
    if not domain:
        return [skipped("port 25", "no host is named", "name one: --to HOST, or a DOMAIN, whose MX hosts are tried")]
    found = await MxResolver.of(settings).hosts(domain)
    if not isinstance(found, MxHosts):
        return [failed(f"MX of {domain}", str(found.reply), "name a host that takes mail: --to HOST")]
    named = ok(f"MX of {domain}", ", ".join(host.name for host in found.hosts))
    tried = await asyncio.gather(*(_port_25_rows(host, settings, names) for host in found.hosts[:_MOST_HOSTS]))
    return [named, *(row for rows in tried for row in rows)]


async def _port_25_rows(host: Host, settings: Settings, names: HeloNames) -> list[Row]:
    """Its greeting; and its TLS where mail would go there."""
    check = f"port {host.port} of {host.name}"
    route = Route(f"mx:{host.name}", (host,), settings.tls, None, 0)
    try:
        seen = await look(route, names)
    except TimeoutError:
        advice = "many networks block port 25: ask yours to open it, or use a relay"
        return [failed(check, f"no answer within {PATIENCE_S:g} s", advice)]
    except FAILURES as error:
        return [failed(check, *refused(error))]
    rows = [ok(check, seen.greeting)]
    if settings.delivery.mode == "direct":
        of = f" of {host.name}"
        rows += [msgspec.structs.replace(row, check=f"{row.check}{of}") for row in mx_tls_rows(policy_of(route), seen)]
    return rows


def refused(error: Exception) -> tuple[str, str]:
    """What an MX host that can not be used says or does, and what to do about it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.strerror or str(error), "ask your network for a way out to port 25, or use a relay"
    return str(error) or "it hangs up", "it does not want mail from this address: see its words"
