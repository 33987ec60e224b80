"""Who gets the direct mail."""

from collections import Counter

from bench import sites


def _sites_of(recipients: list[str]) -> Counter[int]:
    of_domain = sites.site_of()
    return Counter(of_domain[int(each.split("@d")[1].split(".")[0])] for each in recipients)


def test_each_site_has_domains_and_a_few_sites_have_most_of_the_mail() -> None:
    by_site = _sites_of(sites.recipients(10_000))
    most = [count for _, count in by_site.most_common()]

    assert len(sites.site_of()) == sites.DOMAINS
    assert set(sites.site_of()) == set(range(sites.SITES))
    assert sum(most[:5]) > 4_000
    assert len(by_site) == sites.SITES


def test_everybody_is_somebody_else_and_the_same_in_each_run() -> None:
    recipients = sites.recipients(1_000)

    assert len(set(recipients)) == 1_000
    assert recipients == sites.recipients(1_000)


def test_a_twentieth_of_the_sites_are_slow_or_dead_and_get_some_of_the_mail() -> None:
    recipients = sites.recipients(10_000)
    unhealthy = len(recipients) - len(sites.healthy(recipients))

    assert len({*sites.SLOW, *sites.DEAD}) == round(sites.SITES * 0.05 + 0.5)
    assert unhealthy == sum(_sites_of(recipients)[site] for site in (*sites.SLOW, *sites.DEAD))
    assert unhealthy > 100


def test_the_zone_has_an_mx_for_each_domain_and_an_address_for_each_host() -> None:
    records = [line.split() for line in sites.records().splitlines()]
    hosts = {name for name, kind, *_ in records if kind == "A"}

    assert len(hosts) == sites.SITES
    assert [(name, host) for name, kind, *rest in records if kind == "MX" for host in rest[1:]] == [
        (f"d{domain}", f"mx{site}") for domain, site in enumerate(sites.site_of())
    ]
    assert {f"mx{site}" for site in sites.site_of()} <= hosts
