"""How many connections are open, in all and from each address. Pure."""

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from services.gateway.place import Network
from shared.settings import Gateway

_SUBSCRIBER = 64  # bits of an IPv6 address that tell customers apart; the rest everybody chooses by himself


class Crowd:
    """Who is in."""

    def __init__(self, limits: Callable[[], Gateway]) -> None:
        self._limits = limits
        self._by_group: Counter[str] = Counter()
        self._all = 0

    def enter(self, address: str) -> bool:
        """Let a connection in. False: it is one too many."""
        limits, group = self._limits(), group_of(address)
        if self._all >= limits.connections or self._by_group[group] >= limits.connections_per_address:
            return False
        self._all += 1
        self._by_group[group] += 1
        return True

    def leave(self, address: str) -> None:
        """One that was let in has gone."""
        group = group_of(address)
        self._all -= 1
        self._by_group[group] -= 1
        if not self._by_group[group]:
            del self._by_group[group]


def plain_address(address: str) -> IPv4Address | IPv6Address:
    """The address itself: what comes as ::ffff:192.0.2.1 on a socket for both families is 192.0.2.1."""
    found = ip_address(address.partition("%")[0])
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def group_of(address: str) -> str:
    """What is counted as one: an IPv4 address, or an IPv6 network of 64 bits."""
    found = plain_address(address)
    if isinstance(found, IPv4Address):
        return str(found)
    return str(IPv6Address(int(found) >> _SUBSCRIBER << _SUBSCRIBER))


def is_in(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address is in one of the networks."""
    found = plain_address(address)
    return any(found in network for network in networks)
