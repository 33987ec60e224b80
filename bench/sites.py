"""The receivers of direct mail: many domains on fewer MX sites, most mail for a few of them, some slow or dead."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from bench.noting_sink import NotingSink

DOMAINS, SITES = 500, 50
SLOW, DEAD = (7, 19), (31,)  # sites: 5 % of them, neither the largest nor the smallest
SLOWNESS_S = 0.2  # before each answer
ZONE = "direct.example"


class Receivers(NamedTuple):
    """Who takes the mail, on one port."""

    healthy: NotingSink
    unhealthy: NotingSink


@contextmanager
def receivers() -> Iterator[Receivers]:
    """All sites, for a `with` block."""
    moods = {**dict.fromkeys(SLOW, f"={SLOWNESS_S}"), **dict.fromkeys(DEAD, "=silent")}
    healthy = [_address(site) for site in range(SITES) if site not in moods]
    with (
        NotingSink(*healthy) as quick,
        NotingSink(*(_address(site) + mood for site, mood in moods.items()), port=quick.port) as others,
    ):
        yield Receivers(quick, others)


def records() -> str:
    """The zone: an MX host for each domain, an address for each host."""
    hosts = [f"mx{site} A {_address(site)}" for site in range(SITES)]
    return "\n".join([*hosts, *(f"d{domain} MX 10 mx{site}" for domain, site in enumerate(site_of()))])


def site_of() -> Sequence[int]:
    """The site of each domain: one domain each, and then the more the larger a site is."""
    return [*range(SITES), *random.Random(1).choices(range(SITES), _long_tail(SITES), k=DOMAINS - SITES)]


def recipients(count: int) -> list[str]:
    """Of so many mails; always the same."""
    domains = random.Random(2).choices(range(DOMAINS), _long_tail(DOMAINS), k=count)
    return [f"reader{number}@d{domain}.{ZONE}" for number, domain in enumerate(domains)]


def healthy(recipients: Sequence[str]) -> list[str]:
    """Those of them whose site is neither slow nor dead."""
    sites = site_of()
    return [each for each in recipients if sites[_domain_of(each)] not in (*SLOW, *DEAD)]


def _long_tail(count: int) -> list[float]:
    """The second gets half as much as the first, the third a third (Zipf's law)."""
    return [1 / rank for rank in range(1, count + 1)]


def _domain_of(recipient: str) -> int:
    return int(recipient.partition("@d")[2].partition(".")[0])


def _address(site: int) -> str:
    return f"127.1.0.{site + 1}"
