"""Recipients sorted by where they go."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from services.resolver.domains import no_such_domain
from services.resolver.plan import MxHosts
from services.resolver.relay import relay_route
from services.resolver.routing import mx_leg, relay_leg, route
from shared.contracts.work import Envelope, Host, Pace, Recipient, RouteRequest, TlsMode
from shared.outcomes import Deferred
from shared.settings import parse_settings
from shared.smtp_reply import own_verdict

BIG = MxHosts(
    (Host("mx1.big.example", 25, ("192.0.2.1",)), Host("mx2.big.example", 25, ("192.0.2.2",))),
    "mx:mx1.big.example,mx2.big.example",
    ("mx1.big.example", "mx2.big.example"),
)
SMALL = MxHosts((Host("mx.small.example", 25, ("192.0.2.9",)),), "mx:mx.small.example", ("mx.small.example",))
GONE = no_such_domain("gone.example does not exist")
DNS_DOWN = Deferred(own_verdict(451, "4.4.3", "DNS gives no answer for slow.example for now: SERVFAIL"))

DIRECT = {"delivery": {"mode": "direct"}}


class KnownDomains:
    """Stands for MxResolver: knows some domains, finds others when asked, and remembers that it was."""

    def __init__(self, known, findable=None):
        self._known = known
        self._findable = findable or {}
        self.asked = []
        self.under_way = self.most_under_way = 0

    def cached(self, domain):
        return self._known.get(domain)

    async def hosts(self, domain):
        self.asked.append(domain)
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return self._findable[domain]


DOMAINS = {
    "big.example": BIG,
    "also-big.example": BIG,
    "small.example": SMALL,
    "gone.example": GONE,
    "slow.example": DNS_DOWN,
    "xn--bcher-kva.example": SMALL,
}


def request_to(*addresses, attempt=1):
    recipients = tuple(Recipient(no, address) for no, address in enumerate(addresses, start=1))
    envelope = Envelope("mail-1", "robot@sender.example", recipients, 4096, True, False, "never", "full")
    return RouteRequest(envelope, attempt)


def routed(request, document=DIRECT, mx=None, revision=7, lanes=16):
    return asyncio.run(route(request, parse_settings(document), revision, mx or KnownDomains(DOMAINS), lanes))


def sites_of(result):
    """Site → the numbers of its recipients, in the order of the work."""
    return {send.leg.route.site: [to.no for to in send.request.envelope.recipients] for send in result.sends}


def test_a_direct_route_carries_hosts_tls_and_revision():
    document = {**DIRECT, "tls": "require", "relay": {"auth": {"user": "u", "password": {"env": "P"}}}}
    [send] = routed(request_to("a@small.example", attempt=3), document).sends
    assert send.request.envelope == request_to("a@small.example").envelope
    assert send.request.attempt == 3
    found = send.leg.route
    assert (found.site, found.hosts) == (SMALL.site, SMALL.hosts)
    assert (found.tls, found.credentials, found.revision) == (TlsMode.REQUIRE, None, 7)
    assert send.leg.width == 4


@pytest.mark.parametrize(
    ("addresses", "sites"),
    [
        (["a@big.example", "b@big.example"], {BIG.site: [1, 2]}),
        (["a@big.example", "b@also-big.example"], {BIG.site: [1, 2]}),  # one MX set: one transaction
        (["a@BIG.example", "b@big.example"], {BIG.site: [1, 2]}),
        (
            ["a@big.example", "b@small.example", "c@also-big.example", "d@big.example"],
            {BIG.site: [1, 3, 4], SMALL.site: [2]},
        ),
        pytest.param(
            ["a@bücher.example", "b@xn--bcher-kva.example"], {SMALL.site: [1, 2]}, marks=pytest.mark.checklist(24)
        ),
        (["a@gone.example", "b@small.example"], {SMALL.site: [2]}),
        (["a@gone.example"], {}),
    ],
)
def test_recipients_of_one_site_travel_together(addresses, sites):
    assert sites_of(routed(request_to(*addresses))) == sites


def test_each_part_keeps_the_envelope_but_for_its_recipients():
    request = request_to("a@big.example", "b@small.example")
    for send in routed(request).sends:
        envelope = msgspec.structs.replace(send.request.envelope, recipients=request.envelope.recipients)
        assert envelope == request.envelope


def test_each_recipient_without_a_route_gets_its_outcome():
    request = request_to("a@gone.example", "b@slow.example", "c@small.example", "d@gone.example", attempt=2)
    result = routed(request)
    outcomes = {failure.recipient: failure.outcome for failure in result.failures}
    assert outcomes == {1: GONE, 2: DNS_DOWN, 4: GONE}
    assert {failure.attempt for failure in result.failures} == {2}
    assert sites_of(result) == {SMALL.site: [3]}


@pytest.mark.parametrize("document", [DIRECT, {}])
@pytest.mark.parametrize("address", ["a@b.example:2025", "a@", "nobody"])
@pytest.mark.checklist(27)
def test_an_address_without_a_usable_domain_bounces_before_dns(document, address):
    mx = KnownDomains({})
    result = routed(request_to(address), document, mx)
    [failure] = result.failures
    assert failure.outcome.reply.enhanced == "5.1.2"
    assert (result.sends, mx.asked) == ([], [])


@pytest.mark.checklist(26)
def test_in_relay_mode_dns_is_not_asked_and_there_is_one_transaction():
    mx = KnownDomains({})
    request = request_to("a@big.example", "b@nowhere.example", "c@[192.0.2.1]")
    result = routed(request, {"relay": {"host": "mail.example.org"}}, mx)
    [send] = result.sends
    assert send.request.envelope is request.envelope
    assert (send.leg.route.site, mx.asked, result.failures) == ("relay:mail.example.org:25", [], [])


def test_a_domain_with_its_own_relay_parts_from_the_others():
    document = {**DIRECT, "routes": {"partner.example": {"host": "in.partner.example"}}}
    result = routed(request_to("a@partner.example", "b@small.example", "c@Partner.Example"), document)
    assert sites_of(result) == {"relay:in.partner.example:25": [1, 3], SMALL.site: [2]}


def test_what_is_known_is_not_asked_for_and_the_rest_all_at_once():
    mx = KnownDomains({"big.example": BIG}, {"small.example": SMALL, "gone.example": GONE, "slow.example": DNS_DOWN})
    request = request_to("a@big.example", "b@small.example", "c@gone.example", "d@slow.example", "e@small.example")
    result = routed(request, mx=mx)
    assert sites_of(result) == {BIG.site: [1], SMALL.site: [2, 5]}
    assert {failure.recipient for failure in result.failures} == {3, 4}
    assert sorted(mx.asked) == ["gone.example", "slow.example", "small.example"]
    assert mx.most_under_way == 3


def test_what_is_known_is_routed_without_waiting():
    decision = route(request_to("a@big.example", "b@gone.example"), parse_settings(DIRECT), 1, KnownDomains(DOMAINS), 4)
    with pytest.raises(StopIteration) as done:
        decision.send(None)  # it ends at its first step: no task, no turn of the loop
    assert len(done.value.value.sends) == 1


@pytest.mark.parametrize("document", [{}, {"limits": {"connections": 1}}])
def test_a_relays_mail_takes_every_lane(document):
    [send] = routed(request_to("a@b.example"), document).sends
    assert send.leg.width == 16


def test_an_mx_sites_mail_takes_as_many_lanes_as_the_site_may_have_connections():
    document = {**DIRECT, "limits": {"sites": {"mx2.big.example": {"connections": 3}}}}
    [send] = routed(request_to("a@big.example"), document).sends
    assert send.leg.width == 3


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("limits", "lanes", "expected"),
    [
        ({}, 16, 4),
        ({}, 2, 2),  # no more than there are
        ({"connections": 3}, 16, 3),
        ({"sites": {"mx2.big.example": {"connections": 1}}}, 16, 1),
        ({"sites": {"big.example": {"connections": 2}}}, 16, 2),
        ({"sites": {"big.example": {"connections": 2}, "mx1.big.example": {"connections": 3}}}, 16, 3),  # host first
        ({"sites": {"big.example": {"connections": 2, "until": (NOW + timedelta(seconds=1)).isoformat()}}}, 16, 2),
        ({"sites": {"big.example": {"connections": 2, "until": NOW.isoformat()}}}, 16, 4),  # it has ended
    ],
)
def test_the_width_of_an_mx_site_is_its_limit_of_connections(limits, lanes, expected):
    settings = parse_settings({"limits": limits})
    assert mx_leg("big.example", BIG, settings, 1, lanes, NOW).width == expected


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, None),
        ({"rate": "10/s"}, Pace(BIG.site, "10/s")),
        ({"rate": "10/s", "sites": {"mx2.big.example": {"rate": "600/h"}}}, Pace("mx2.big.example", "600/h")),
        ({"sites": {"big.example": {"rate": "1/d"}}}, Pace("big.example", "1/d")),
        ({"sites": {"big.example": {"rate": "1/d", "until": NOW.isoformat()}}}, None),  # it has ended
        ({"sites": {"big.example": {"connections": 1}}}, None),
    ],
)
def test_an_mx_sites_mail_has_the_pace_that_is_set(limits, expected):
    assert mx_leg("big.example", BIG, parse_settings({"limits": limits}), 1, 4, NOW).route.pace == expected


@pytest.mark.parametrize(
    ("limits", "width", "pace"),
    [
        ({"connections": 1, "rate": "1/s"}, 4, None),  # of MX sites
        ({"sites": {"mail.example.org": {"connections": 2}}}, 2, None),
        ({"sites": {"mail.example.org": {"rate": "3/m"}}}, 4, Pace("mail.example.org", "3/m")),
        ({"sites": {"mail.example.org": {"connections": 1, "until": NOW.isoformat()}}}, 4, None),
    ],
)
def test_a_relay_has_the_limits_that_are_set_for_it_by_name(limits, width, pace):
    settings = parse_settings({"relay": {"host": "Mail.example.org"}, "limits": limits})
    relay = relay_route("any.example", settings, 1)
    assert relay is not None
    leg = relay_leg(relay, settings, 4, NOW)
    assert (leg.width, leg.route.pace) == (width, pace)
