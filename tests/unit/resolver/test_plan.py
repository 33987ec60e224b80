"""What DNS answers mean. Items are those of the outbound SMTP checklist, section A."""

from collections import Counter

import pytest

from services.resolver.answers import Failed, Found, Looped, Missing, MxRecord
from services.resolver.plan import (
    LONGEST_SITE,
    MailHosts,
    Plan,
    addresses_of,
    capped,
    holds_for,
    mail_hosts_of,
    plan_of,
    refusal_of,
    site_of,
)
from shared.contracts.work import Host
from shared.outcomes import Bounced, Deferred

NODATA = Missing("a.example", exists=True, ttl_s=60)
NXDOMAIN = Missing("a.example", exists=False, ttl_s=60)
SERVFAIL = Failed("SERVFAIL")


def mx(*records):
    return Found(tuple(MxRecord(*record) for record in records), "a.example", 300)


def at(*addresses, name="mx1.example", ttl_s=300):
    return Found(addresses, name, ttl_s)


def code_of(verdict):
    assert isinstance(verdict, Bounced | Deferred)
    assert not verdict.reply.remote
    return f"{verdict.reply.code} {verdict.reply.enhanced}"


@pytest.mark.checklist(156)
@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        pytest.param(NXDOMAIN, "550 5.1.2", marks=pytest.mark.checklist(1)),
        pytest.param(SERVFAIL, "451 4.4.3", marks=pytest.mark.checklist(2)),
        pytest.param(Looped(), "550 5.4.4", marks=pytest.mark.checklist(6)),
        pytest.param(mx((0, ".")), "556 5.1.10", marks=pytest.mark.checklist(16)),
        pytest.param(mx((10, ".")), "556 5.1.10", marks=pytest.mark.checklist(17)),  # of whatever preference
        (mx((0, "."), (10, ".")), "556 5.1.10"),
        pytest.param(mx((10, "192.0.2.1")), "550 5.4.4", marks=pytest.mark.checklist(20)),
        pytest.param(mx((10, "we.example")), "554 5.4.6", marks=pytest.mark.checklist(18)),
        (mx((10, "we.example"), (10, "b.example"), (20, "c.example")), "554 5.4.6"),
        (Missing("we.example", exists=True, ttl_s=60), "554 5.4.6"),  # the implicit MX is this system
    ],
)
def test_an_answer_may_be_the_verdict(answer, verdict):
    assert code_of(mail_hosts_of("a.example", answer, {"we.example"})) == verdict


@pytest.mark.parametrize(
    ("answer", "hosts"),
    [
        pytest.param(NODATA, ["a.example"], marks=pytest.mark.checklist(3)),  # the implicit MX
        pytest.param(
            Missing("target.example", exists=True, ttl_s=60), ["target.example"], marks=pytest.mark.checklist(5, 7)
        ),  # behind a CNAME
        pytest.param(
            mx((20, "c.example"), (10, "b.example")), ["b.example", "c.example"], marks=pytest.mark.checklist(8)
        ),
        pytest.param(mx((0, "."), (10, "b.example")), ["b.example"], marks=pytest.mark.checklist(17)),
        pytest.param(mx((10, "192.0.2.1"), (20, "b.example")), ["b.example"], marks=pytest.mark.checklist(20)),
        pytest.param(
            mx((10, "b.example"), (20, "we.example"), (20, "c.example"), (30, "d.example")),
            ["b.example"],
            marks=pytest.mark.checklist(18),
        ),
        (mx((20, "b.example"), (10, "b.example")), ["b.example"]),  # named twice
    ],
)
def test_the_hosts_to_ask_for_are_in_ascending_preference(answer, hosts):
    found = mail_hosts_of("a.example", answer, {"we.example"})
    assert isinstance(found, MailHosts)
    assert [record.host for record in found.records] == hosts
    assert found.implicit is isinstance(answer, Missing)


def test_a_huge_mx_set_is_cut_at_its_worst_end_and_keeps_its_site():
    answer = mx(*((n, f"mx{n:03}.example") for n in range(100, 0, -1)))
    found = mail_hosts_of("a.example", answer, ())
    assert isinstance(found, MailHosts)
    assert [record.preference for record in found.records] == list(range(1, 33))
    assert len(found.names) == 100


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "expected"),
    [
        pytest.param(
            at("192.0.2.1", "192.0.2.2"), NODATA, at("192.0.2.1", "192.0.2.2"), marks=pytest.mark.checklist(10)
        ),
        (NODATA, at("2001:db8::1"), at("2001:db8::1")),
        (
            at("192.0.2.2", "192.0.2.1", "192.0.2.3", ttl_s=60),
            at("2001:db8::2", ttl_s=30),
            at("192.0.2.2", "2001:db8::2", "192.0.2.1", "192.0.2.3", ttl_s=30),
        ),
        (at("192.0.2.1", ttl_s=300), SERVFAIL, at("192.0.2.1", ttl_s=60)),  # one family serves; ask again soon
        (at("192.0.2.1", ttl_s=30), SERVFAIL, at("192.0.2.1", ttl_s=30)),
        (at("192.0.2.1"), Looped(), at("192.0.2.1")),
        pytest.param(NODATA, SERVFAIL, SERVFAIL, marks=pytest.mark.checklist(15)),  # unknown is temporary
        (SERVFAIL, NXDOMAIN, SERVFAIL),
        (NODATA, NODATA, NODATA),
        (NXDOMAIN, NODATA, NODATA),  # it exists, whatever the other answer says
        (NXDOMAIN, NXDOMAIN, NXDOMAIN),
        (Looped(), Looped(), Looped()),
    ],
)
def test_a_host_has_the_addresses_of_both_families_in_turns(ipv4, ipv6, expected):
    assert addresses_of(ipv4, ipv6) == expected


def plan(records, answers):
    mail_hosts = mail_hosts_of("a.example", records, ())
    assert isinstance(mail_hosts, MailHosts)
    return plan_of("a.example", mail_hosts, answers, 25, refusal_of(()))


TWO = mx((10, "mx1.example"), (20, "mx2.example"))


@pytest.mark.parametrize(
    ("records", "answers", "verdict"),
    [
        pytest.param(
            TWO, {"mx1.example": NODATA, "mx2.example": NXDOMAIN}, "550 5.4.4", marks=pytest.mark.checklist(15)
        ),
        (TWO, {"mx1.example": NODATA, "mx2.example": SERVFAIL}, "451 4.4.3"),
        pytest.param(
            TWO, {"mx1.example": Looped(), "mx2.example": NODATA}, "550 5.4.4", marks=pytest.mark.checklist(6)
        ),
        pytest.param(
            TWO, {"mx1.example": at("127.0.0.1"), "mx2.example": NODATA}, "550 5.4.4", marks=pytest.mark.checklist(19)
        ),
        (TWO, {"mx1.example": at("127.0.0.1"), "mx2.example": SERVFAIL}, "451 4.4.3"),
        (NODATA, {"a.example": NODATA}, "550 5.4.4"),
        pytest.param(NODATA, {"a.example": NXDOMAIN}, "550 5.1.2", marks=pytest.mark.checklist(7)),
        pytest.param(NODATA, {"a.example": SERVFAIL}, "451 4.4.3", marks=pytest.mark.checklist(7)),
    ],
)
def test_without_an_address_there_is_a_verdict(records, answers, verdict):
    assert code_of(plan(records, answers)) == verdict


def hosts_of(made):
    assert isinstance(made, Plan)
    return [[host.name for host in group] for group in made.groups]


@pytest.mark.checklist(9, 21)
def test_equals_stand_together_and_aliases_behind_their_clean_equals():
    records = mx(
        (10, "alias.example"), (10, "mx1.example"), (10, "mx2.example"), (5, "best.example"), (20, "x.example")
    )
    answers = {
        "alias.example": at("192.0.2.1", name="elsewhere.example"),
        "mx1.example": at("192.0.2.2", name="mx1.example"),
        "mx2.example": at("192.0.2.3", name="mx2.example"),
        "best.example": at("192.0.2.4", name="best.example"),
        "x.example": at("192.0.2.5", name="x.example"),
    }
    assert hosts_of(plan(records, answers)) == [
        ["best.example"],
        ["mx1.example", "mx2.example"],
        ["alias.example"],
        ["x.example"],
    ]


@pytest.mark.parametrize("other", [NODATA, NXDOMAIN, SERVFAIL, at("127.0.0.1", name="mx1.example")])
def test_hosts_with_an_address_serve_for_those_without_and_the_site_stays(other):
    made = plan(TWO, {"mx1.example": other, "mx2.example": at("192.0.2.2", name="mx2.example")})
    assert hosts_of(made) == [["mx2.example"]]
    assert made.site == "mx:mx1.example,mx2.example"


@pytest.mark.checklist(9)
def test_the_order_of_equals_is_drawn_anew_each_time():
    group = tuple(Host(f"mx{n}.example", 25, (f"192.0.2.{n}",)) for n in range(3))
    made = Plan((group, (Host("last.example", 25, ("192.0.2.9",)),)), "mx:…", ())
    drawn = Counter(tuple(host.name for host in made.arranged(16).hosts) for _ in range(6000))
    assert len(drawn) == 6  # every order of three
    assert all(order[-1] == "last.example" for order in drawn)
    assert min(drawn.values()) > 800  # 1000 expected; 800 is seven standard deviations below


@pytest.mark.checklist(19)
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.10",
        "0.0.0.0",
        "0.1.2.3",  # "this network" reaches this machine on some systems
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "192.0.2.10",
        "::ffff:192.0.2.10",
        "2001:db8::10",
        "2001:db8:0::10",
    ],
)
def test_this_machines_addresses_are_refused(address):
    assert refusal_of(["192.0.2.10", "2001:DB8::10"])(address)


@pytest.mark.parametrize("address", ["192.0.2.11", "10.0.0.1", "2001:db8::11", "fd00::1", "1.127.0.0"])
def test_other_addresses_are_not_refused(address):
    assert not refusal_of(["192.0.2.10", "2001:DB8::10"])(address)


@pytest.mark.checklist(19)
def test_an_address_refused_leaves_the_hosts_others():
    made = plan(mx((10, "mx1.example")), {"mx1.example": at("127.0.0.1", "192.0.2.1", "::1")})
    assert isinstance(made, Plan)
    assert made.groups == ((Host("mx1.example", 25, ("192.0.2.1",)),),)


def host(name, *addresses):
    return Host(name, 25, addresses)


@pytest.mark.checklist(11, 12)
@pytest.mark.parametrize(
    ("hosts", "limit", "expected"),
    [
        ([host("a", "1", "2"), host("b", "3")], 3, [host("a", "1", "2"), host("b", "3")]),
        pytest.param([host("a", "1", "2"), host("b", "3")], 2, [host("a", "1", "2")], marks=pytest.mark.checklist(11)),
        ([host("a", "1", "2"), host("b", "3", "4")], 3, [host("a", "1", "2"), host("b", "3")]),
        pytest.param(
            [host("a", "1", "2", "3"), host("b", "::1")],
            2,
            [host("a", "1"), host("b", "::1")],
            marks=pytest.mark.checklist(12),
        ),
        ([host("a", "::1", "::2", "::3"), host("b", "4"), host("c", "5")], 2, [host("a", "::1"), host("b", "4")]),
        ([host("a", "1", "2", "3", "::1")], 2, [host("a", "1", "::1")]),
        ([host("a", "1", "::1", "2", "::2")], 2, [host("a", "1", "::1")]),
        ([host("a", "1"), host("b", "2"), host("c", "::1", "3")], 2, [host("a", "1"), host("c", "::1")]),
    ],
)
def test_the_limit_on_addresses_leaves_one_of_each_family(hosts, limit, expected):
    assert capped(tuple(hosts), limit) == tuple(expected)


LONGEST = f"{'a' * 63}.{'b' * 63}.{'c' * 63}.abcde"  # with "mx:" just as long as a site may be


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["mx1.example"], "mx:mx1.example"),
        (["mx1.example", "mx2.example"], "mx:mx1.example,mx2.example"),
        ([LONGEST], f"mx:{LONGEST}"),
    ],
)
def test_a_site_is_named_by_its_mx_set(names, expected):
    assert site_of(names) == expected


def test_a_long_site_is_cut_and_told_apart_by_a_hash():
    names = [f"mx{n:02}.a-long-host-name.example" for n in range(20)]
    others = [*names[:-1], "mx99.a-long-host-name.example"]
    assert len(site_of(names)) == len(site_of(others)) == LONGEST_SITE
    assert site_of(names)[:180] == site_of(others)[:180]
    assert site_of(names) != site_of(others)
    assert site_of(names).endswith("#045897af21fa0e2b")  # written down: another release must find the same


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (at("192.0.2.1", ttl_s=300), 300),
        (at("192.0.2.1", ttl_s=0), 1),
        (at("192.0.2.1", ttl_s=86400), 3600),
        (Missing("a", exists=False, ttl_s=120), 120),
        (Missing("a", exists=True, ttl_s=86400), 300),
        (Missing("a", exists=True, ttl_s=0), 1),
        (Looped(), 300),
        (SERVFAIL, 5),
    ],
)
def test_an_answer_holds_as_long_as_its_ttl_within_bounds(answer, seconds):
    assert holds_for(answer) == seconds
