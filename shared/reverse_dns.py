"""Forward-confirmed reverse DNS (RFC 8601 section 2.7.3), and the addresses from which this machine goes out."""

import contextlib
import ipaddress
import socket
from typing import Literal

import dns.reversename
import msgspec

from shared.dns_questions import Ask, Temporary
from shared.host_names import is_fit

_MOST_NAMES = 10  # PTR names that are checked, as in RFC 7208 section 4.6.4
# Nothing is sent there: they stand for the world, to which the system's routes lead (RFC 5737, RFC 3849).
_FAR_AWAY = {socket.AF_INET: "203.0.113.1", socket.AF_INET6: "2001:db8::1"}


class Confirmed(msgspec.Struct, frozen=True):
    """The address has this name, and the name this address."""

    name: str


class Unconfirmed(msgspec.Struct, frozen=True):
    """The address has no name that leads back to it."""

    result: Literal["fail", "permerror"]  # as RFC 8601 has it: names, but none that leads back; no name at all
    why: str


class Unknown(msgspec.Struct, frozen=True):
    """It could not be found out now: "temperror"."""

    why: str


Finding = Confirmed | Unconfirmed | Unknown


async def confirm(address: str, ask: Ask) -> Finding:
    """The first name of the address, in reverse DNS, that has the address among its own."""
    try:
        names = await ask(reverse_name(address), "PTR")
    except Temporary as error:
        return Unknown(f"reverse DNS: {error}")
    usable = [name for name in (name.rstrip(".") for name in names) if is_fit(name)]
    trouble = None
    for name in usable[:_MOST_NAMES]:
        try:
            if await leads_to(name, address, ask):
                return Confirmed(name)
        except Temporary as error:  # hides no match of another name
            trouble = Unknown(f"{name}: {error}")
    if trouble is not None:
        return trouble
    if not names:
        return Unconfirmed("permerror", "no name in reverse DNS")
    shown = ", ".join(names[:_MOST_NAMES])
    return Unconfirmed("fail", f"none of its names leads back to it and can be said: {shown}")


async def leads_to(name: str, address: str, ask: Ask) -> bool:
    """Whether the address is among those of the name. Raises Temporary."""
    found = await ask(name, "AAAA" if ":" in address else "A")
    return ipaddress.ip_address(address) in {ipaddress.ip_address(text) for text in found}


def reverse_name(address: str) -> str:
    """`1.2.0.192.in-addr.arpa.`"""
    return dns.reversename.from_address(address).to_text()


def egress_addresses() -> list[str]:
    """The local addresses, one a family, from which connections to the world would go out."""
    found = []
    for family, far_away in _FAR_AWAY.items():
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far_away, 25))  # of a datagram socket: looks the route up, and no more
            found.append(str(probe.getsockname()[0]))
    return found
