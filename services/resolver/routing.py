"""One request, its recipients sorted by where they go: the whole decision of the resolver."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from services.resolver.domains import domain_of
from services.resolver.plan import MxHosts
from services.resolver.relay import relay_route
from shared.contracts.work import Pace, Recipient, RecipientOutcome, Route, RouteRequest, SendRequest
from shared.outcomes import Bounced, Deferred
from shared.settings import Settings, limit_of, pace_of


class FindsHosts(Protocol):
    """What routing needs of MxResolver."""

    def cached(self, domain: str) -> MxHosts | Deferred | Bounced | None:
        """What is known without waiting."""

    async def hosts(self, domain: str) -> MxHosts | Deferred | Bounced:
        """Where the domain's mail goes, or why it can not."""


class Leg(Struct, frozen=True):
    """A route, and over how many lanes its site's mail is spread."""

    route: Route
    width: int


class Assigned(Struct, frozen=True):
    """Recipients of one site, and how they go."""

    leg: Leg
    request: SendRequest


class Routed(Struct, frozen=True):
    """What to publish for one request: work for lanes, and outcomes of the recipients that have no route."""

    sends: list[Assigned]  # one per site
    failures: list[RecipientOutcome]


async def route(request: RouteRequest, settings: Settings, revision: int, mx: FindsHosts, lanes: int) -> Routed:
    """Find where each recipient goes; recipients of one site travel together."""
    recipients = request.envelope.recipients
    domains = [domain_of(recipient.address) for recipient in recipients]
    legs = await _legs({domain for domain in domains if isinstance(domain, str)}, settings, revision, mx, lanes)
    failures: list[RecipientOutcome] = []
    by_site: dict[str, tuple[Leg, list[Recipient]]] = {}
    for recipient, domain in zip(recipients, domains, strict=True):
        leg = legs[domain] if isinstance(domain, str) else domain
        if isinstance(leg, Leg):
            by_site.setdefault(leg.route.site, (leg, []))[1].append(recipient)
        else:
            failures.append(RecipientOutcome(recipient.no, request.attempt, leg))
    return Routed([_send(request, leg, some) for leg, some in by_site.values()], failures)


async def _legs(
    domains: Collection[str], settings: Settings, revision: int, mx: FindsHosts, lanes: int
) -> dict[str, Leg | Deferred | Bounced]:
    legs: dict[str, Leg | Deferred | Bounced] = {}
    direct: list[str] = []
    now = datetime.now(UTC)
    for domain in domains:
        relay = relay_route(domain, settings, revision)
        if relay is None:
            direct.append(domain)
        else:
            legs[domain] = relay_leg(relay, settings, lanes, now)
    for domain, found in (await _all_hosts(direct, mx)).items():
        if isinstance(found, MxHosts):
            legs[domain] = mx_leg(domain, found, settings, revision, lanes, now)
        else:
            legs[domain] = found
    return legs


async def _all_hosts(domains: Iterable[str], mx: FindsHosts) -> Mapping[str, MxHosts | Deferred | Bounced]:
    """The hosts of several domains: what is not known is asked for all at once."""
    known = {domain: mx.cached(domain) for domain in domains}
    asked = [domain for domain, found in known.items() if found is None]
    if len(asked) == 1:
        known[asked[0]] = await mx.hosts(asked[0])
    elif asked:
        known.update(zip(asked, await asyncio.gather(*map(mx.hosts, asked)), strict=True))
    return {domain: found for domain, found in known.items() if found is not None}


def relay_leg(relay: Route, settings: Settings, lanes: int, now: datetime) -> Leg:
    """A relay's mail takes every lane, where no limit is set: a sender opens one connection per site and lane."""
    names = [relay.hosts[0].name]
    pace = pace_of(settings, names, now)
    return Leg(replace(relay, pace=pace) if pace else relay, min(limit_of(settings, names, now) or lanes, lanes))


def mx_leg(domain: str, found: MxHosts, settings: Settings, revision: int, lanes: int, now: datetime) -> Leg:
    """The way to MX hosts, within the limits that are set for one of them, for the domain, or for all."""
    names = [*found.names, domain]
    limits = settings.limits
    usual = Pace(found.site, limits.rate) if limits.rate else None
    pace = pace_of(settings, names, now) or usual
    width = min(limit_of(settings, names, now) or limits.connections, lanes)
    return Leg(Route(found.site, found.hosts, settings.tls, None, revision, pace=pace), width)


def _send(request: RouteRequest, leg: Leg, recipients: list[Recipient]) -> Assigned:
    envelope = request.envelope
    if len(recipients) < len(envelope.recipients):
        envelope = replace(envelope, recipients=tuple(recipients))
    return Assigned(leg, SendRequest(envelope, request.attempt))
