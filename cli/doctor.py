"""`pillarbox doctor`: what stands between the mail and its receivers, checked and explained."""

import asyncio
import contextlib
import ipaddress
import re
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
import typer

from cli import doctor_names, doctor_ways
from cli.client import connected
from cli.doctor_dmarc import dmarc_rows
from cli.doctor_rows import Result, Row, failed, ok, skipped, warning
from cli.failures import CommandFailed, explained, usage
from cli.home import Home
from cli.options import DEFAULT_HOME, HomeOption, JsonOption
from cli.output import counted, plain, print_json, remark, screen, table
from cli.settings_publish import current_settings, in_force
from services.sender.helo import HeloNames
from shared.addresses import check_spec, domain_of
from shared.contracts.answers import StatsAnswer
from shared.contracts.commands import Stats
from shared.dns_questions import Ask, dns_ask
from shared.reverse_dns import egress_addresses
from shared.settings import Settings, parse_settings

_ANSWER_TIME = timedelta(seconds=5)
_MOST_OFF_S = 2.0  # the clocks of senders and schedulers have to agree to about that
_NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970 (RFC 5905)
_NTP_PATIENCE_S = 3.0
_UNKNOWN_KEYS = skipped("DKIM", "the settings are not known")
_COLOURS = {Result.OK: "green", Result.WARNING: "yellow", Result.FAILED: "red", Result.SKIPPED: "dim"}


class Wanted(msgspec.Struct, frozen=True):
    """What is to be looked at, as the command line says."""

    domain: str
    to: str
    egress: list[str]
    sign_in: bool
    time_server: str


def doctor(
    domain: Annotated[
        str, typer.Argument(metavar="[DOMAIN]", help="A domain that mail is From: its SPF, DKIM, DMARC, and its MX.")
    ] = "",
    to: Annotated[str, typer.Option("--to", metavar="HOST[:PORT]", help="Whose port 25 to try, in place of MX.")] = "",
    egress: Annotated[
        list[str] | None,
        typer.Option("--egress", metavar="ADDRESS", help="The address that the world sees (NAT, relay); repeatable."),
    ] = None,
    sign_in: Annotated[
        bool, typer.Option("--sign-in", help="Really sign in at the relays; a wrong password counts there, too.")
    ] = False,
    time_server: Annotated[
        str, typer.Option("--time-server", metavar="HOST[:PORT]", help="An NTP server to compare the clock with.")
    ] = "",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Check what mail needs to arrive, and say what to do about what is missing.

    No mail is sent and no secret is shown. Run it where the senders run: it sees what this machine sees. Exit 1 when a
    check fails.
    """
    wanted = Wanted(_domain(domain), to, [_address(text) for text in egress or []], sign_in, time_server)
    rows = asyncio.run(_examine(Home(home), wanted))
    if as_json:
        print_json({"ok": all(row.result is not Result.FAILED for row in rows), "checks": rows})
    else:
        _print(rows)
    raise typer.Exit(code=int(any(row.result is Result.FAILED for row in rows)))


async def _examine(home: Home, wanted: Wanted) -> list[Row]:
    # Imported here: every command would wait for SQLAlchemy.
    from cli.doctor_store import store_row

    rows, settings = await _broker_rows(home)
    rows.append(await asyncio.to_thread(store_row, home))
    if wanted.time_server:
        rows.append(await asyncio.to_thread(_time_row, wanted.time_server))
    known = settings or Settings()
    ask = dns_ask(known.dns.servers)
    rows.append(await doctor_names.dns_row(known, ask))
    own = wanted.egress or egress_addresses()
    rows += await doctor_names.egress_rows(known, own, bool(wanted.egress), ask)
    names = HeloNames(known.identity.helo_name, fallback=known.identity.helo_fallback, ask=ask)
    if settings is None:
        rows.append(skipped("relay", "the settings are not known"))
    else:
        rows += await doctor_ways.relay_rows(settings, names, wanted.sign_in)
    rows += await doctor_ways.port_25_rows(known, names, wanted.domain, wanted.to)
    return [*rows, *await _domain_rows(wanted, settings, own, names, ask)]


async def _domain_rows(
    wanted: Wanted, settings: Settings | None, own: Sequence[str], names: HeloNames, ask: Ask
) -> list[Row]:
    """SPF, DKIM and DMARC of the domain; `own`: the addresses that go out."""
    domain, known = wanted.domain, settings or Settings()
    if not domain:
        return [skipped("SPF, DKIM, DMARC", "no domain is named", "name the domain of From: pillarbox doctor DOMAIN")]
    direct = known.delivery.mode == "direct"
    public = wanted.egress or [address for address in own if direct and not ipaddress.ip_address(address).is_private]
    spf = await doctor_names.spf_rows(domain, public, names, ask)
    dkim = await doctor_names.dkim_rows(domain, known, ask) if settings is not None else [_UNKNOWN_KEYS]
    signer, _ = doctor_names.keys_of(domain, known)
    return [*spf, *dkim, *await dmarc_rows(domain, spf, signer, dkim, ask)]


async def _broker_rows(home: Home) -> tuple[list[Row], Settings | None]:
    """Broker, scheduler and its clock, and the settings where they can be had."""
    try:
        async with connected(home, _ANSWER_TIME) as client:
            rows = [ok("broker", client.where)]
            try:
                settings = parse_settings(in_force(await current_settings(client)).settings)
                stats = await client.ask(Stats(), StatsAnswer)
            except CommandFailed as error:
                advice = "start a scheduler; until then the rest is judged by the default settings"
                return [*rows, failed("scheduler", str(error), advice)], None
            rows += [
                ok("scheduler", f"settings of revision {stats.revision}"),
                clock_row("the scheduler", _ahead(stats.time)),
            ]
            return rows, settings
    except Exception as error:
        failure = explained(error)
        if failure is None:
            raise
        advice = "see that it runs and that PILLARBOX_AMQP_URL is right; the rest is judged by the default settings"
        return [failed("broker", str(failure), advice)], None


def clock_row(whose: str, ahead_s: float) -> Row:
    """The judgement on the difference between this clock and another."""
    check = f"clock against {whose}"
    found = f"this machine's is {abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'}"
    if abs(ahead_s) <= _MOST_OFF_S:
        return ok(check, "they agree")
    return failed(check, found, "set the clocks by NTP: leases, retries and signatures rest on them")


def _time_row(server: str) -> Row:
    host, _, port = server.partition(":")
    try:
        return clock_row(server, -_ntp_offset(host, int(port or 123)))
    except (OSError, ValueError, struct.error) as error:
        return warning(
            f"clock against {server}", f"it does not tell the time: {error}", "name another: --time-server HOST"
        )


def _ntp_offset(host: str, port: int) -> float:
    """Seconds by which the server's clock is ahead (RFC 5905 section 8, with whole round trips halved)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        query.settimeout(_NTP_PATIENCE_S)
        sent = time.time()
        query.sendto(b"\x23" + bytes(47), (host, port))
        answer, _ = query.recvfrom(512)
        received = time.time()
    seconds, fraction = struct.unpack("!II", answer[40:48])
    return float(seconds - _NTP_EPOCH + fraction / 2**32 - (sent + received) / 2)


def _ahead(theirs: datetime) -> float:
    return (datetime.now(UTC) - theirs).total_seconds()


def _domain(text: str) -> str:
    """The domain in A-labels."""
    if not text:
        return ""
    with contextlib.suppress(ValueError):
        domain = domain_of(check_spec(f"postmaster@{text.removesuffix('.')}"))
        if re.fullmatch(r"[a-z0-9.-]+", domain):
            return domain
    raise usage(f"got {text!r}; takes a domain, such as example.org")


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise usage(f"--egress: got {text!r}; takes an IP address") from error


def _print(rows: Iterable[Row]) -> None:
    shown = list(rows)
    cells = [
        [plain(row.check), f"[{_COLOURS[row.result]}]{row.result}[/]", plain(row.found), plain(row.advice)]
        for row in shown
    ]
    screen().print(table(["check", "result", "found", "what to do"], cells, wide=["found", "what to do"]))
    bad = sum(row.result is Result.FAILED for row in shown)
    remark(f"{counted(bad, 'check')} failed" if bad else "nothing failed")
