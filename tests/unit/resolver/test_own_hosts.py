"""Who this system is among MX hosts."""

import asyncio

import pytest

from services.resolver.own_hosts import OwnHosts
from shared.dns_questions import Temporary
from shared.settings import parse_settings

FOUND = {("2.2.0.192.in-addr.arpa.", "PTR"): ["Out.example."], ("Out.example", "A"): ["192.0.2.2"]}


class Dns:
    """Answers from a table, or not at all."""

    def __init__(self, records):
        self.records = records
        self.asked = 0

    async def ask(self, name, kind):
        self.asked += 1
        if self.records is None:
            raise Temporary("SERVFAIL")
        return self.records.get((name, kind), [])


class Clock:
    """Stands still until told otherwise."""

    now = 0.0

    def __call__(self):
        return self.now


def own(dns, clock, **options):
    return OwnHosts(["In.example.", "2001:DB8::1"], ask=dns.ask, egress=lambda: ["192.0.2.2"], clock=clock, **options)


def test_names_and_addresses_that_are_listed_are_told_apart():
    dns = Dns(FOUND)
    hosts = own(dns, Clock())
    assert asyncio.run(hosts.names()) == {"in.example"}
    assert (hosts.addresses, dns.asked) == ({"2001:db8::1"}, 0)


def test_the_helo_name_that_is_found_is_ours_and_trouble_does_not_forget_it():
    dns, clock = Dns(FOUND), Clock()
    hosts = own(dns, clock, finds_helo_name=True)
    clock.now = 1.0
    assert asyncio.run(hosts.names()) == {"in.example", "out.example"}
    assert asyncio.run(hosts.names()) == {"in.example", "out.example"}
    assert dns.asked == 2  # it is kept
    clock.now, dns.records = 4000.0, None
    assert asyncio.run(hosts.names()) == {"in.example", "out.example"}
    clock.now, dns.records = 4060.0, {}
    assert asyncio.run(hosts.names()) == {"in.example"}


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ({"helo_name": "Mail.example"}, {"mail.example"}),
        ({"helo_name": "[192.0.2.1]"}, set()),
        ({"helo_name": "mail.example", "own_hosts": ["mx.example", "192.0.2.7"]}, {"mail.example", "mx.example"}),
    ],
)
def test_the_settings_say_who_we_are(identity, expected):
    assert asyncio.run(OwnHosts.of(parse_settings({"identity": identity})).names()) == expected
