"""The MX hosts of domains, asked for and remembered (RFC 5321 section 5.1, RFC 7505)."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import structlog

from services.resolver.answers import Answer, Failed, Found, MxRecord
from services.resolver.cache import Kept, SharedCache
from services.resolver.domains import is_host_name, no_such_domain, normal_domain
from services.resolver.lookup import Lookup, NameServers
from services.resolver.own_hosts import OwnHosts
from services.resolver.plan import (
    PARTLY_FAILED_S,
    MailHosts,
    MxHosts,
    Plan,
    addresses_of,
    holds_for,
    mail_hosts_of,
    no_route,
    plan_of,
    refusal_of,
    site_of,
    without_own,
)
from shared.contracts.work import Host
from shared.host_names import address_in
from shared.outcomes import Bounced, Deferred
from shared.settings import Settings

_MAX_ADDRESSES = 16  # of one route, unless told otherwise
_DOMAINS_KEPT = 50_000  # about 1 KB each
_HOSTS_KEPT = 50_000

_log = structlog.get_logger()


class MxResolver:
    """Finds the MX hosts of domains, and remembers them for as long as DNS allows."""

    def __init__(
        self,
        servers: Sequence[str],
        allow_loopback: bool,
        *,
        port: int = 25,
        own: OwnHosts | None = None,
        address_literals: bool = False,
        max_addresses: int = _MAX_ADDRESSES,
        lifetime: timedelta = timedelta(seconds=10),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`servers` are name servers, "address" or "address#port"; none: the system's.

        `own` is this system as an MX host: mail to it would come back. `lifetime` limits each question.
        """
        self._lookup = Lookup(NameServers(servers), lifetime)
        self._port = port
        self._own = own if own is not None else OwnHosts()
        self._refused = refusal_of(self._own.addresses, allow_loopback=allow_loopback)
        self._address_literals = address_literals
        self._max_addresses = max(max_addresses, 2)  # RFC 5321 section 5.1: at least two are tried
        self._clock = clock
        self._records = SharedCache(self._find_records, _DOMAINS_KEPT, clock)
        self._addresses = SharedCache(self._find_addresses, _HOSTS_KEPT, clock)
        self._plans = SharedCache(self._find_plan, _DOMAINS_KEPT, clock)

    @classmethod
    def of(cls, settings: Settings) -> "MxResolver":
        """The resolver that the settings ask for."""
        dns = settings.dns
        return cls(
            dns.servers,
            dns.allow_loopback,
            port=dns.mx_port,
            own=OwnHosts.of(settings),
            address_literals=settings.delivery.address_literals,
        )

    def cached(self, domain: str) -> MxHosts | Deferred | Bounced | None:
        """What is known of a domain (as `normal_domain` spells it), without waiting."""
        kept = self._plans.held(domain)
        return None if kept is None else self._arranged(kept.value)

    async def hosts(self, domain: str) -> MxHosts | Deferred | Bounced:
        """Where the domain's mail goes now, or why it can not."""
        name = normal_domain(domain)
        if isinstance(name, Bounced):
            return name
        if name[0] == "[":
            return self._at_address(name)
        if not is_host_name(name):
            return no_such_domain(f"{name} is not a domain")
        return self._arranged((await self._plans.get(name)).value)

    def _at_address(self, literal: str) -> MxHosts | Bounced:
        """The route to `user@[192.0.2.1]`: no question to DNS (RFC 5321 section 4.1.3)."""
        address = address_in(literal)
        if not self._address_literals:
            return no_such_domain(f"{literal} is an address literal; those are off, mail goes to domains only")
        if address is None:
            return no_such_domain(f"{literal} is no address literal")
        if self._refused(address):
            return no_route(f"{literal} is an address of this machine")
        return MxHosts((Host(address, self._port, (address,)),), site_of([literal]), (literal,))

    def _arranged(self, plan: Plan | Deferred | Bounced) -> MxHosts | Deferred | Bounced:
        return plan.arranged(self._max_addresses) if isinstance(plan, Plan) else plan

    async def _find_records(self, domain: str) -> Kept[Answer[MxRecord]]:
        answer = await self._lookup.mx(domain)
        return Kept(answer, self._clock() + holds_for(answer))

    async def _find_addresses(self, host: str) -> Kept[Answer[str]]:
        answer = addresses_of(*await asyncio.gather(self._lookup.ipv4(host), self._lookup.ipv6(host)))
        return Kept(answer, self._clock() + holds_for(answer))

    async def _find_plan(self, domain: str) -> Kept[Plan | Deferred | Bounced]:
        records, own_names = await asyncio.gather(self._records.get(domain), self._own.names())
        mail_hosts = mail_hosts_of(domain, records.value, own_names)
        if not isinstance(mail_hosts, MailHosts):
            return Kept(mail_hosts, records.until)
        names = [record.host for record in mail_hosts.records]
        found = dict(zip(names, await asyncio.gather(*map(self._addresses.get, names)), strict=True))
        _log_aliases(domain, found)
        answers = {name: kept.value for name, kept in found.items()}
        left = without_own(mail_hosts, answers, self._own.addresses)
        plan = plan_of(domain, left, answers, self._port, self._refused)
        ends = [self._until(kept, isinstance(plan, Plan)) for kept in found.values()]
        return Kept(plan, min(records.until, *ends))

    def _until(self, kept: Kept[Answer[str]], others_serve: bool) -> float:
        if others_serve and isinstance(kept.value, Failed):
            return self._clock() + PARTLY_FAILED_S
        return kept.until


def _log_aliases(domain: str, found: Mapping[str, Kept[Answer[str]]]) -> None:
    for host, kept in found.items():
        if isinstance(kept.value, Found) and kept.value.name != host:
            _log.warning("mx_is_alias", domain=domain, host=host, target=kept.value.name, next="used_after_equals")
