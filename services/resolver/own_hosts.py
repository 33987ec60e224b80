"""Who this system is among the MX hosts of a domain: mail to itself would come back (RFC 5321 section 5.1)."""

import asyncio
import ipaddress
import time
from collections.abc import Callable, Iterable, Sequence

from shared.dns_questions import Ask, dns_ask
from shared.reverse_dns import Confirmed, Unknown, confirm, egress_addresses
from shared.settings import Settings

_KEEP_S = 3600.0
_KEEP_AFTER_TROUBLE_S = 60.0


class OwnHosts:
    """The HELO name, set or found as the senders find it, and what `identity.own_hosts` lists."""

    def __init__(
        self,
        hosts: Iterable[str] = (),
        *,
        finds_helo_name: bool = False,
        name_servers: Sequence[str] = (),
        ask: Ask | None = None,
        egress: Callable[[], Sequence[str]] = egress_addresses,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`hosts` are names and addresses; `finds_helo_name` adds what the senders say with `auto`."""
        plain = [host.lower().removesuffix(".") for host in hosts]
        addresses = {host: _address(host) for host in plain}
        self.addresses = frozenset(address for address in addresses.values() if address is not None)
        self._listed = frozenset(host for host, address in addresses.items() if address is None)
        self._finds = finds_helo_name
        self._ask = ask if ask is not None else dns_ask(name_servers)
        self._egress = egress
        self._clock = clock
        self._found: frozenset[str] = frozenset()
        self._until = 0.0
        self._lock = asyncio.Lock()

    @classmethod
    def of(cls, settings: Settings) -> "OwnHosts":
        """As the settings say."""
        identity = settings.identity
        hosts = list(identity.own_hosts)
        if identity.helo_name != "auto" and not identity.helo_name.startswith("["):
            hosts.append(identity.helo_name)
        return cls(hosts, finds_helo_name=identity.helo_name == "auto", name_servers=settings.dns.servers)

    async def names(self) -> frozenset[str]:
        """In lower case."""
        if self._finds:
            async with self._lock:
                if self._until <= self._clock():
                    await self._find()
        return self._listed | self._found

    async def _find(self) -> None:
        findings = await asyncio.gather(*(confirm(address.partition("%")[0], self._ask) for address in self._egress()))
        trouble = any(isinstance(finding, Unknown) for finding in findings)
        names = frozenset(finding.name.lower() for finding in findings if isinstance(finding, Confirmed))
        self._found = self._found | names if trouble else names
        self._until = self._clock() + (_KEEP_AFTER_TROUBLE_S if trouble else _KEEP_S)


def _address(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
