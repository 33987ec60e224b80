"""How many may be in at once."""

from ipaddress import ip_network

import pytest

from services.gateway.crowd import Crowd, group_of, is_in
from shared.settings import Gateway


def test_so_many_come_in_from_an_address_and_so_many_in_all():
    crowd = Crowd(lambda: Gateway(connections=3, connections_per_address=2))
    assert [crowd.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert [crowd.enter(f"192.0.2.{number}") for number in (2, 3)] == [True, False]
    crowd.leave("192.0.2.1")
    assert [crowd.enter("192.0.2.3"), crowd.enter("192.0.2.1")] == [True, False]


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),  # the same subscriber
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_an_ipv6_subscriber_counts_as_one(address: str, group: str):
    assert group_of(address) == group


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),  # as a socket for both families has it
        ("10.2.0.1", False),
        ("2001:db8::7", True),
        ("2001:db9::7", False),
        ("127.0.0.1", False),
    ],
)
def test_an_address_is_in_a_network_or_not(address: str, expected: bool):
    assert is_in(address, (ip_network("10.1.0.0/16"), ip_network("2001:db8::/32"))) is expected
