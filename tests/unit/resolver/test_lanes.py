"""Lanes: stable, spread, and never more than a site's width."""

from collections import Counter

import pytest

from services.resolver.lanes import lanes_for, lanes_of

SITE = "mx:mx1.example.net,mx2.example.net"


@pytest.mark.parametrize(
    ("site", "width", "lanes", "expected"),
    [
        # Written down, not computed: another release must find the same lanes.
        ("mx:mx1.example.net,mx2.example.net", 4, 16, (4, 5, 6, 7)),
        ("mx:mx5.example.net", 4, 16, (14, 15, 0, 1)),  # past the last lane comes the first
        ("relay:mail.example:587", 2, 4, (1, 2)),
        ("relay:mail.example:587", 4, 4, (1, 2, 3, 0)),
        ("relay:mail.example:587", 9, 4, (1, 2, 3, 0)),  # no wider than there are lanes
        ("relay:mail.example:587", 1, 1, (0,)),
        ("mx:bücher.example", 1, 16, (10,)),  # any text is a site
    ],
)
def test_a_site_has_as_many_consecutive_lanes_as_it_is_wide(site, width, lanes, expected):
    assert lanes_of(site, width, lanes) == expected


@pytest.mark.parametrize(
    ("mail", "count", "expected"),
    [
        ("order-1", 1, (7,)),
        ("order-2", 1, (5,)),
        ("0190a6c8-0f4e-7cc3-98a4-0a1f5f6f1a2b", 1, (7,)),
        ("order-1", 4, (7,)),  # few travel together
        ("order-1", 5, (7, 4)),  # past the last of the site's lanes comes the first
        ("order-1", 13, (7, 4, 5, 6)),
        ("order-1", 1000, (7, 4, 5, 6)),  # no more than the site has
    ],
)
def test_few_mails_take_one_lane_and_many_take_all_of_the_sites(mail, count, expected):
    assert lanes_for(SITE, mail, count, width=4, lanes=16) == expected


@pytest.mark.parametrize(("width", "lanes"), [(1, 1), (1, 8), (3, 8), (8, 8), (64, 8)])
def test_a_mail_takes_one_of_its_sites_lanes_and_together_they_take_all(width, lanes):
    taken = {lane for n in range(400) for lane in lanes_for(SITE, f"mail-{n}", 1, width, lanes)}
    assert taken == set(lanes_of(SITE, width, lanes))


@pytest.mark.parametrize("mail", ["mail-{}", "{:032x}", "2024-11-{:05d}@shop.example"])
def test_mails_with_consecutive_ids_spread_evenly(mail):
    counts = Counter(lane for n in range(4000) for lane in lanes_for(SITE, mail.format(n), 1, width=4, lanes=4))
    assert max(counts.values()) < 1.2 * min(counts.values())


def test_sites_spread_evenly():
    counts = Counter(lanes_of(f"mx:mx.customer-{n}.example", 1, 8)[0] for n in range(8000))
    assert max(counts.values()) < 1.2 * min(counts.values())
