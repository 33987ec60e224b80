"""Mails of one site that were routed together travel together, in as many messages as are worth it."""

from itertools import chain

import pytest

from services.resolver.lanes import lanes_of
from services.resolver.parts import parts_of
from services.resolver.routing import Assigned, Leg
from shared.contracts.work import Envelope, Host, Pace, Recipient, Route, SendRequest, TlsMode

LANES = 4


def leg(site: str = "mx:one.example", width: int = LANES, pace: Pace | None = None) -> Leg:
    return Leg(Route(site, (Host("one.example", 25),), TlsMode.ENABLE, None, 1, pace=pace), width)


def sends(count: int, way: Leg, name: str = "mail") -> list[Assigned]:
    envelopes = [
        Envelope(f"{name}-{number}", "", (Recipient(number, "a@b.example"),), 1, False, False)
        for number in range(count)
    ]
    return [Assigned(way, SendRequest(envelope, 1)) for envelope in envelopes]


def mails_of(parts) -> list[list[str]]:
    return [[send.request.envelope.mail for send in part.sends] for part in parts]


@pytest.mark.parametrize(("count", "messages"), [(1, 1), (4, 1), (5, 2), (16, 4), (50, 4)])
def test_a_message_has_a_few_mails_at_least_and_no_two_of_a_site_take_one_lane(count, messages):
    parts = list(parts_of(sends(count, leg()), LANES))
    assert len(parts) == messages
    assert len({part.lane for part in parts}) == messages
    sizes = [len(part.sends) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == count


def test_every_mail_travels_once_and_in_its_order():
    mails = sends(50, leg())
    found = mails_of(parts_of(mails, LANES))
    assert sorted(chain.from_iterable(found)) == sorted(send.request.envelope.mail for send in mails)
    assert all(part == sorted(part, key=lambda mail: int(mail.partition("-")[2])) for part in found)


@pytest.mark.parametrize(
    "other",
    [leg("mx:two.example"), leg(pace=Pace("one.example", "60/h")), leg(width=2)],
    ids=["site", "limit", "connections"],
)
def test_mails_of_different_sites_or_limits_never_share_a_message(other):
    mixed = [send for pair in zip(sends(3, leg(), "a"), sends(3, other, "b"), strict=True) for send in pair]
    assert sorted(mails_of(parts_of(mixed, LANES))) == [["a-0", "a-1", "a-2"], ["b-0", "b-1", "b-2"]]


def test_a_site_keeps_to_its_lanes():
    narrow = leg(width=2)
    assert {part.lane for part in parts_of(sends(50, narrow), LANES)} == set(lanes_of("mx:one.example", 2, LANES))
