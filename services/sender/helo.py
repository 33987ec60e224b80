"""The name we say in EHLO: the setting's, or found by forward-confirmed reverse DNS (RFC 8601 section 2.7.3)."""

import asyncio
import ipaddress
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdatatype
import dns.resolver
import dns.reversename
import msgspec
import structlog

_KEEP = timedelta(hours=1)
_KEEP_AFTER_TROUBLE = timedelta(minutes=1)  # a name server that was down is asked again soon
_LOOKUP_LIMIT = timedelta(seconds=3)  # per question; the server is waiting for our EHLO meanwhile
_MOST_NAMES = 10  # PTR names that are checked, as in RFC 7208 section 4.6.4

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_QUALIFIED_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")


class Temporary(Exception):
    """A name server did not answer, or could not."""


class Confirmed(msgspec.Struct, frozen=True):
    """The address has this name, and the name this address."""

    name: str


class Unconfirmed(msgspec.Struct, frozen=True):
    """The address has no name that leads back to it."""

    why: str


class Unknown(msgspec.Struct, frozen=True):
    """It could not be found out now."""

    why: str


Finding = Confirmed | Unconfirmed | Unknown

# (name, record type) → the records as texts, [] when there are none; raises Temporary
Ask = Callable[[str, str], Awaitable[list[str]]]


class HeloNames:
    """Gives the EHLO argument for each local address; found ones are kept for an hour."""

    def __init__(
        self,
        setting: str,
        name_servers: Sequence[str] = (),
        *,
        ask: Ask | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`setting` is `identity.helo_name`, `name_servers` is `dns.servers`."""
        self._setting = setting
        self._ask = ask if ask is not None else dns_ask(name_servers)
        self._clock = clock
        self._kept: dict[str, tuple[str, float]] = {}  # by address: the argument, and until when it is kept
        self._locks: dict[str, asyncio.Lock] = {}

    async def argument(self, address: str) -> str:
        """The EHLO argument for a connection from this local address."""
        address = address.partition("%")[0]
        if self._setting != "auto":
            return _configured(self._setting, address)
        async with self._locks.setdefault(address, asyncio.Lock()):
            kept = self._kept.get(address)
            if kept is None or kept[1] <= self._clock():
                kept = await self._find(address, kept[0] if kept is not None else address_literal(address))
                self._kept[address] = kept
            return kept[0]

    async def _find(self, address: str, last: str) -> tuple[str, float]:
        match await confirm(address, self._ask):
            case Confirmed(name):
                return name, self._clock() + _KEEP.total_seconds()
            case Unconfirmed(why):
                literal = address_literal(address)
                structlog.get_logger().warning(
                    "helo_name_not_found", address=address, reason=why, next=f"say_{literal}"
                )
                return literal, self._clock() + _KEEP.total_seconds()
            case Unknown(why):
                structlog.get_logger().warning("helo_name_unknown", address=address, reason=why, next=f"say_{last}")
                return last, self._clock() + _KEEP_AFTER_TROUBLE.total_seconds()


async def confirm(address: str, ask: Ask) -> Finding:
    """The first name of the address, in reverse DNS, that has the address among its own."""
    try:
        names = await ask(str(dns.reversename.from_address(address)), "PTR")
    except Temporary as error:
        return Unknown(f"reverse DNS: {error}")
    usable = [name for name in (name.rstrip(".") for name in names) if is_fit(name)]
    trouble = None
    for name in usable[:_MOST_NAMES]:
        try:
            if await _leads_to(name, address, ask):
                return Confirmed(name)
        except Temporary as error:  # hides no match of another name
            trouble = Unknown(f"{name}: {error}")
    if trouble is not None:
        return trouble
    if not names:
        return Unconfirmed("no name in reverse DNS")
    return Unconfirmed(f"none of its names leads back to it and can be said: {', '.join(names[:_MOST_NAMES])}")


async def _leads_to(name: str, address: str, ask: Ask) -> bool:
    found = await ask(name, "AAAA" if ":" in address else "A")
    return ipaddress.ip_address(address) in {ipaddress.ip_address(text) for text in found}


def is_fit(name: str) -> bool:
    """Whether a name may be said: qualified, a host's, not that of every machine (RFC 5321 section 2.3.5)."""
    labels = name.lower().split(".")
    local = labels[-1] in ("localhost", "localdomain") or labels[0] == "localhost"
    return _QUALIFIED_NAME.fullmatch(name) is not None and len(name) <= 253 and not local and not labels[-1].isdigit()


def address_literal(address: str) -> str:
    """`[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 section 4.1.3)."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return f"[{ip.ipv4_mapped}]" if ip.ipv4_mapped else f"[IPv6:{ip}]"
    return f"[{ip}]"


def _configured(setting: str, address: str) -> str:
    if setting.startswith("["):
        return setting
    return setting if is_fit(setting) else address_literal(address)


# ---------------------------------------------------------------------------------------------------------


def dns_ask(name_servers: Sequence[str], limit: timedelta = _LOOKUP_LIMIT) -> Ask:
    """Ask these name servers ("address" or "address#port"), or the system's."""

    async def ask(name: str, record_type: str) -> list[str]:
        try:
            answer = await _resolver(name_servers).resolve(
                name, record_type, search=False, lifetime=limit.total_seconds()
            )
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise Temporary(str(error)) from error
        return [record.to_text() for record in answer]

    return ask


def _resolver(name_servers: Sequence[str]) -> dns.asyncresolver.Resolver:
    if not name_servers:
        return dns.asyncresolver.Resolver()
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [_name_server(text) for text in name_servers]
    return resolver


def _name_server(text: str) -> dns.nameserver.Nameserver:
    address, _, port = text.partition("#")
    return dns.nameserver.Do53Nameserver(address.strip("[]"), int(port or 53))
