"""One DNS question, and what its answer means for mail; the only place that asks name servers."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.ttl
from dns.rdata import Rdata
from dns.rdatatype import RdataType

from services.resolver.answers import Answer, Failed, Found, Looped, Missing, MxRecord
from shared.dns_questions import name_server

T = TypeVar("T")

_LONGEST_CHAIN = 16  # CNAMEs one after another; real chains have one or two
_AT_ONCE = 100  # questions on the way: each holds a socket, and 1,024 open files is a common limit
_EDNS_PAYLOAD = 1232  # octets that pass every path unfragmented (DNS flag day 2020)
_REREAD = timedelta(seconds=30)  # resolv.conf changes when a network does


class NameServers:
    """Who is asked: the servers of the settings, else those of the system, read anew now and then."""

    def __init__(
        self,
        servers: Sequence[str],
        system: str = "/etc/resolv.conf",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servers = tuple(servers)
        self._system = system
        self._clock = clock
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._stale = 0.0

    def resolver(self) -> dns.asyncresolver.Resolver:
        """The resolver to ask by. Raises dns.resolver.NoResolverConfiguration where the system names no server."""
        if self._resolver is None or (not self._servers and self._clock() >= self._stale):
            self._resolver = self._configured()
            self._stale = self._clock() + _REREAD.total_seconds()
        return self._resolver

    def _configured(self) -> dns.asyncresolver.Resolver:
        if self._servers:
            resolver = dns.asyncresolver.Resolver(configure=False)
            resolver.nameservers = [name_server(server) for server in self._servers]
        else:
            resolver = dns.asyncresolver.Resolver(self._system)
        resolver.use_edns(0, 0, _EDNS_PAYLOAD)
        return resolver


class Lookup:
    """Asks for the records that routing needs, each question within `lifetime`, waiting for a free place included."""

    def __init__(self, name_servers: NameServers, lifetime: timedelta) -> None:
        self._name_servers = name_servers
        self._lifetime = lifetime
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def mx(self, domain: str) -> Answer[MxRecord]:
        """The domain's MX records."""
        return await self._ask(domain, dns.rdatatype.MX, lambda mx: MxRecord(mx.preference, _text(mx.exchange)))

    async def ipv4(self, host: str) -> Answer[str]:
        """The host's A records."""
        return await self._ask(host, dns.rdatatype.A, lambda a: a.address)

    async def ipv6(self, host: str) -> Answer[str]:
        """The host's AAAA records."""
        return await self._ask(host, dns.rdatatype.AAAA, lambda aaaa: aaaa.address)

    async def _ask(self, name: str, kind: RdataType, value: Callable[[Any], T]) -> Answer[T]:
        try:
            async with asyncio.timeout(self._lifetime.total_seconds()), self._places:
                answer = await self._follow(dns.name.from_text(name), kind)
        except (TimeoutError, dns.exception.Timeout):
            return Failed(f"no answer within {self._lifetime.total_seconds():g} s")
        except dns.resolver.NoNameservers as error:
            return _why(error)
        except dns.resolver.NoResolverConfiguration:
            return Failed("no name server is known")
        except dns.exception.DNSException as error:
            return Failed(str(error) or type(error).__name__)
        if isinstance(answer, Found):
            return Found(tuple(value(record) for record in answer.values), answer.name, answer.ttl_s)
        return answer

    async def _follow(self, name: dns.name.Name, kind: RdataType) -> Answer[Rdata]:
        """Ask, and ask on where a name server hands out a CNAME without what lies behind it."""
        links, ttl_s = 0, dns.ttl.MAX_TTL
        while True:
            response = await self._respond(name, kind)
            chain = response.resolve_chaining()
            links, ttl_s = links + len(chain.cnames), min(ttl_s, chain.minimum_ttl)
            canonical = _text(chain.canonical_name)
            if chain.answer is not None:
                return Found(tuple(chain.answer), canonical, ttl_s)
            if response.rcode() == dns.rcode.NXDOMAIN:  # of the last name of the chain (RFC 6604 section 3)
                return Missing(canonical, exists=False, ttl_s=ttl_s)
            if not chain.cnames or _is_complete(response):
                return Missing(canonical, exists=True, ttl_s=ttl_s)
            if links >= _LONGEST_CHAIN:
                return Looped()
            name = chain.canonical_name

    async def _respond(self, name: dns.name.Name, kind: RdataType) -> dns.message.QueryMessage:
        """The response, NOERROR or NXDOMAIN. Raises DNSException where no server gives one."""
        try:
            answer = await self._name_servers.resolver().resolve(
                name,
                kind,
                raise_on_no_answer=False,
                search=False,  # the name is absolute (RFC 5321 section 5.1)
                lifetime=self._lifetime.total_seconds(),
                backend=dns.asyncbackend.get_backend("asyncio"),
            )
        except dns.resolver.NXDOMAIN as error:
            response: dns.message.QueryMessage = error.kwargs["responses"][name]
            return response
        return answer.response


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _is_complete(response: dns.message.QueryMessage) -> bool:
    """Whether the server vouches that nothing lies behind the CNAMEs (RFC 2308 section 2.2)."""
    return any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)


def _why(error: dns.resolver.NoNameservers) -> Looped | Failed:
    """The last server's reason; a loop only where every server shows one, since a bounce is for good."""
    reasons = [reason for _, _, _, reason, _ in error.kwargs["errors"]]
    if reasons and all(isinstance(reason, dns.message.ChainTooLong) for reason in reasons):
        return Looped()
    return Failed(str(reasons[-1]) or type(reasons[-1]).__name__ if reasons else "no name server is known")
