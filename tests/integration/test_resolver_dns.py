"""MX look-ups against a real name server. Items are those of the outbound SMTP checklist, section A."""

import asyncio
from collections import Counter
from datetime import timedelta

import dns.rcode
import pytest
import structlog.testing
import uvloop

from services.resolver.answers import Failed, Found, Missing, MxRecord
from services.resolver.lookup import Lookup, NameServers
from services.resolver.mx import MxResolver
from services.resolver.own_hosts import OwnHosts
from services.resolver.plan import MxHosts
from services.resolver.routing import route
from shared.contracts.work import Envelope, Host, Recipient, RouteRequest
from shared.outcomes import Bounced, Deferred
from shared.settings import parse_settings
from tests.support.dns import Listener, nsd, silent_server

ZONE = """
@            MX 20 mx2
@            MX 10 mx1
@            A 192.0.2.99
mx1          A 192.0.2.1
mx1          A 192.0.2.2
mx1          AAAA 2001:db8::1
mx2          A 192.0.2.3
shared       MX 10 mx2
shared       MX 20 mx1
equals       MX 10 eq1
equals       MX 10 eq2
equals       MX 10 eq3
eq1          A 192.0.2.11
eq2          A 192.0.2.12
eq3          A 192.0.2.13
bare         A 192.0.2.20
bare         AAAA 2001:db8::20
text         TXT "neither MX nor address"
v6           MX 10 v6only
v6only       AAAA 2001:db8::6
null         MX 0 .
null10       MX 10 .
almostnull   MX 0 .
almostnull   MX 10 mx1
alias        CNAME @
aliasbare    CNAME bare
aliastext    CNAME text
dangling     CNAME nothing-here
loop1        CNAME loop2
loop2        CNAME loop1
outward      CNAME there.other.test.
outwardbare  CNAME bare.other.test.
tobroken     CNAME x.broken.test.
torefused    CNAME x.unknown.test.
badtargets   MX 10 nothing-here
badtargets   MX 20 text
badtargets   A 192.0.2.99
halfdead     MX 10 x.broken.test.
halfdead     MX 20 mx2
undecided    MX 10 nothing-here
undecided    MX 20 x.broken.test.
undecided    A 192.0.2.99
looptarget   MX 10 loop1
literal      MX 10 192.0.2.1.
literal2     MX 10 192.0.2.1.
literal2     MX 20 mx2
mxalias      MX 10 mxcname
mxalias      MX 10 mx1
mxalias      MX 10 mx2
mxalias      MX 20 eq1
mxcname      CNAME eq2
loopback     MX 10 lo
lo           A 127.0.0.1
lo           AAAA ::1
zeros        MX 10 zero
zero         A 0.0.0.0
partly       MX 10 partlyhost
partlyhost   A 127.0.0.1
partlyhost   A 192.0.2.77
xn--bcher-kva MX 10 mx1
many         MX 10 many4
many         MX 20 many6
localname    MX 10 local.test.
brief   7    MX 10 briefhost
briefhost 300 A 192.0.2.30
zero-ttl 0   MX 10 mx1
week 604800  MX 10 weekhost
weekhost 604800 A 192.0.2.31
weekhost 604800 AAAA 2001:db8::31
"""
ZONE += "".join(f"many4 A 192.0.2.{n}\n" for n in range(100, 120)) + "many6 AAAA 2001:db8::66\n"
ZONE += "".join(f"chain{n} CNAME chain{n + 1}\n" for n in range(20)) + "chain20 A 192.0.2.40\n"
ZONE += "".join(f"short{n} CNAME short{n + 1}\n" for n in range(8)) + "short8 MX 10 mx1\n"
# Too much for a UDP answer of 1,232 octets: asked again by TCP.
ZONE += "".join(f"huge MX {n} a-mail-host-with-quite-a-long-name-number-{n}\n" for n in range(40))
ZONE += "".join(f"a-mail-host-with-quite-a-long-name-number-{n} A 192.0.2.{n}\n" for n in range(40))

ZONES = {
    "example.test": ZONE,
    "other.test": "there MX 10 mx\nmx A 192.0.2.55\nbare A 192.0.2.56",
    "broken.test": None,
    "local.test": "@ A 192.0.2.60",
}


@pytest.fixture(scope="module")
def server():
    with nsd(ZONES) as running:
        yield running


@pytest.fixture
def listener(server):
    with Listener(server) as listening:
        yield listening


class Clock:
    """Stands still until told otherwise."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def resolver(name_server, **options):
    options = {"allow_loopback": False, "lifetime": timedelta(seconds=5), **options}
    return MxResolver([name_server.server], **options)


def find(name_server, domain, **options):
    return asyncio.run(resolver(name_server, **options).hosts(domain))


def names(found):
    assert isinstance(found, MxHosts), found
    return [host.name.removesuffix(".example.test") for host in found.hosts]


def verdict(found):
    assert isinstance(found, Bounced | Deferred), found
    assert not found.reply.remote
    return f"{found.reply.code} {found.reply.enhanced}"


@pytest.mark.checklist(4, 8, 10)
def test_mx_hosts_come_in_ascending_preference_with_the_addresses_of_both_families(server):
    assert find(server, "example.test") == MxHosts(
        hosts=(
            Host("mx1.example.test", 25, ("192.0.2.1", "2001:db8::1", "192.0.2.2")),
            Host("mx2.example.test", 25, ("192.0.2.3",)),
        ),
        site="mx:mx1.example.test,mx2.example.test",
        names=("mx1.example.test", "mx2.example.test"),
    )


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        pytest.param("bare.example.test", ["bare"], marks=pytest.mark.checklist(3)),  # the implicit MX
        ("v6.example.test", ["v6only"]),
        pytest.param("almostnull.example.test", ["mx1"], marks=pytest.mark.checklist(17)),
        pytest.param("alias.example.test", ["mx1", "mx2"], marks=pytest.mark.checklist(5)),
        pytest.param("aliasbare.example.test", ["bare"], marks=pytest.mark.checklist(5, 7)),
        pytest.param("outward.example.test", ["mx.other.test"], marks=pytest.mark.checklist(5)),  # into another zone
        ("outwardbare.example.test", ["bare.other.test"]),
        ("short0.example.test", ["mx1"]),  # eight CNAMEs
        pytest.param("halfdead.example.test", ["mx2"], marks=pytest.mark.checklist(15)),  # what is known serves
        pytest.param("literal2.example.test", ["mx2"], marks=pytest.mark.checklist(20)),
        ("EXAMPLE.Test", ["mx1", "mx2"]),
        ("example.test.", ["mx1", "mx2"]),
        pytest.param("bücher.example.test", ["mx1"], marks=pytest.mark.checklist(24)),
        pytest.param("xn--bcher-kva.example.test", ["mx1"], marks=pytest.mark.checklist(24)),
    ],
)
def test_a_domain_leads_to_its_hosts(server, domain, expected):
    assert names(find(server, domain)) == expected


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        pytest.param("nothing-here.example.test", "550 5.1.2", marks=pytest.mark.checklist(1)),
        pytest.param("sub.broken.test", "451 4.4.3", marks=pytest.mark.checklist(2)),  # SERVFAIL
        pytest.param("unknown.test", "451 4.4.3", marks=pytest.mark.checklist(2)),  # REFUSED
        pytest.param(
            "text.example.test", "550 5.4.4", marks=pytest.mark.checklist(3)
        ),  # an implicit MX without address
        pytest.param("null.example.test", "556 5.1.10", marks=pytest.mark.checklist(16)),
        pytest.param("null10.example.test", "556 5.1.10", marks=pytest.mark.checklist(17)),
        pytest.param("loop1.example.test", "550 5.4.4", marks=pytest.mark.checklist(6)),
        pytest.param("chain0.example.test", "550 5.4.4", marks=pytest.mark.checklist(6)),  # over the limit
        pytest.param("tobroken.example.test", "451 4.4.3", marks=pytest.mark.checklist(6)),  # an error inside the chain
        pytest.param("torefused.example.test", "451 4.4.3", marks=pytest.mark.checklist(6)),
        pytest.param("dangling.example.test", "550 5.1.2", marks=pytest.mark.checklist(7)),
        pytest.param("aliastext.example.test", "550 5.4.4", marks=pytest.mark.checklist(7)),
        pytest.param(
            "badtargets.example.test", "550 5.4.4", marks=pytest.mark.checklist(4, 15)
        ),  # the domain's own address is no way out
        pytest.param("undecided.example.test", "451 4.4.3", marks=pytest.mark.checklist(4, 15)),
        pytest.param("looptarget.example.test", "550 5.4.4", marks=pytest.mark.checklist(6, 15)),
        pytest.param("literal.example.test", "550 5.4.4", marks=pytest.mark.checklist(20)),
        pytest.param("loopback.example.test", "550 5.4.4", marks=pytest.mark.checklist(19)),
        pytest.param("zeros.example.test", "550 5.4.4", marks=pytest.mark.checklist(19)),
        pytest.param("[192.0.2.1]", "550 5.1.2", marks=pytest.mark.checklist(22)),
        pytest.param("[IPv6:2001:db8::1]", "550 5.1.2", marks=pytest.mark.checklist(22)),
        ("192.0.2.1", "550 5.1.2"),
        pytest.param("b.example.test:2025", "550 5.1.2", marks=pytest.mark.checklist(27)),
        ("", "550 5.1.2"),
        ("a..example.test", "550 5.1.2"),
        ("a b.example.test", "550 5.1.2"),
        ("x" * 64 + ".example.test", "550 5.1.2"),
    ],
)
def test_a_domain_may_have_no_route(server, domain, expected):
    assert verdict(find(server, domain)) == expected


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        pytest.param("alias.example.test", ["mx1", "mx2"], marks=pytest.mark.checklist(5)),
        ("short0.example.test", ["mx1"]),
        ("outwardbare.example.test", ["bare.other.test"]),
        pytest.param("dangling.example.test", "550 5.1.2", marks=pytest.mark.checklist(7)),
        pytest.param("chain0.example.test", "550 5.4.4", marks=pytest.mark.checklist(6)),
        ("loop1.example.test", "550 5.4.4"),
        ("torefused.example.test", "451 4.4.3"),
    ],
)
def test_a_name_server_that_follows_no_alias_is_asked_step_by_step(listener, domain, expected):
    listener.stop_at_aliases()
    found = find(listener, domain)
    assert (verdict(found) if isinstance(expected, str) else names(found)) == expected


def test_the_verdict_says_why(server):
    assert "is an address literal; those are off" in find(server, "[192.0.2.1]").reply.text
    assert "SERVFAIL" in find(server, "sub.broken.test").reply.text
    assert "REFUSED" in find(server, "unknown.test").reply.text
    assert "127.0.0.1, ::1" in find(server, "loopback.example.test").reply.text


@pytest.mark.parametrize(
    ("domain", "asked"),
    [
        pytest.param(
            "nothing-here.example.test", [("nothing-here.example.test", "MX")], marks=pytest.mark.checklist(1)
        ),
        ("dangling.example.test", [("dangling.example.test", "MX")]),
        pytest.param(
            "sub.broken.test", [("sub.broken.test", "MX")], marks=pytest.mark.checklist(2)
        ),  # no implicit MX is looked for
        pytest.param("null.example.test", [("null.example.test", "MX")], marks=pytest.mark.checklist(16)),
        pytest.param("literal.example.test", [("literal.example.test", "MX")], marks=pytest.mark.checklist(20)),
        (
            "badtargets.example.test",  # the domain's own address is never asked for
            [
                ("badtargets.example.test", "MX"),
                ("nothing-here.example.test", "A"),
                ("nothing-here.example.test", "AAAA"),
                ("text.example.test", "A"),
                ("text.example.test", "AAAA"),
            ],
        ),
        pytest.param(
            "localhost", [("localhost", "MX")], marks=pytest.mark.checklist(23)
        ),  # one label, and no search domain
        pytest.param("[192.0.2.1]", [], marks=pytest.mark.checklist(22)),
        pytest.param("b.example.test:2025", [], marks=pytest.mark.checklist(27)),
        ("192.0.2.1", []),
        ("", []),
    ],
)
def test_no_more_is_asked_than_needed(listener, domain, asked):
    find(listener, domain)
    assert sorted(listener.asked) == sorted(asked)


@pytest.mark.checklist(23)
def test_search_domains_of_the_system_are_never_applied(listener, tmp_path):
    conf = tmp_path / "resolv.conf"
    conf.write_text("search example.test\noptions ndots:5\nnameserver 127.0.0.1\n")
    name_servers = NameServers([], str(conf))
    name_servers.resolver().port = int(listener.server.partition("#")[2])
    answer = asyncio.run(Lookup(name_servers, timedelta(seconds=5)).mx("mx1"))
    assert listener.asked == [("mx1", "MX")]
    assert isinstance(answer, Failed)  # as absolute name it lies in no zone: REFUSED


@pytest.mark.checklist(2)
@pytest.mark.parametrize("content", [None, "", "search example.test\n"])
def test_without_any_name_server_mail_is_deferred(tmp_path, content):
    conf = tmp_path / "resolv.conf"
    if content is not None:
        conf.write_text(content)
    lookup = Lookup(NameServers([], str(conf)), timedelta(seconds=5))
    assert asyncio.run(lookup.mx("example.test")) == Failed("no name server is known")


def test_the_systems_name_servers_are_read_anew_after_a_while(tmp_path):
    conf, clock = tmp_path / "resolv.conf", Clock()
    name_servers = NameServers([], str(conf), clock)
    conf.write_text("nameserver 192.0.2.1\n")
    first = name_servers.resolver()
    conf.write_text("nameserver 192.0.2.2\n")
    assert name_servers.resolver() is first
    clock.now += 30
    assert name_servers.resolver().nameservers == ["192.0.2.2"]


@pytest.mark.checklist(2)
def test_a_name_server_that_does_not_answer_defers_within_the_time_limit():
    with silent_server() as server:
        mx = MxResolver([server], allow_loopback=False, lifetime=timedelta(seconds=0.2))
        found = asyncio.run(asyncio.wait_for(mx.hosts("example.test"), timeout=5))
    assert verdict(found) == "451 4.4.3"
    assert "no answer within 0.2 s" in found.reply.text


def test_the_next_name_server_is_asked_when_the_first_fails(server, listener):
    listener.fail("example.test", "MX", dns.rcode.REFUSED)
    mx = MxResolver([listener.server, server.server], allow_loopback=False)
    assert names(asyncio.run(mx.hosts("example.test"))) == ["mx1", "mx2"]


def test_a_large_answer_comes_by_tcp(server):
    found = find(server, "huge.example.test")
    assert isinstance(found, MxHosts)
    assert len(found.names) == 40
    assert [host.addresses for host in found.hosts] == [(f"192.0.2.{n}",) for n in range(16)]  # no more than the limit


@pytest.mark.checklist(11, 12)
def test_the_limit_on_addresses_leaves_one_of_each_family(server):
    found = find(server, "many.example.test", max_addresses=1)  # two at least
    assert isinstance(found, MxHosts)
    assert [len(host.addresses) for host in found.hosts] == [1, 1]
    assert found.hosts[1].addresses == ("2001:db8::66",)


@pytest.mark.checklist(15)
@pytest.mark.parametrize("failing", ["A", "AAAA"])
def test_one_family_serves_while_the_other_can_not_be_looked_up(listener, failing):
    listener.fail("bare.example.test", failing)
    found = find(listener, "bare.example.test")
    assert isinstance(found, MxHosts)
    assert found.hosts[0].addresses == (("2001:db8::20",) if failing == "A" else ("192.0.2.20",))


@pytest.mark.checklist(15)
def test_no_address_of_one_family_and_an_error_for_the_other_defers(listener):
    listener.fail("mx2.example.test", "A")
    listener.fail("mx1.example.test", "A")
    listener.fail("mx1.example.test", "AAAA")
    assert verdict(find(listener, "example.test")) == "451 4.4.3"


@pytest.mark.checklist(9)
def test_equals_are_shuffled_anew_for_each_route_though_the_set_is_remembered(listener):
    async def many():
        mx = resolver(listener)
        return [names(await mx.hosts("equals.example.test")) for _ in range(1200)]

    drawn = Counter(map(tuple, asyncio.run(many())))
    assert len(drawn) == 6
    assert min(drawn.values()) > 120  # 200 expected
    assert listener.asked.count(("equals.example.test", "MX")) == 1


@pytest.mark.checklist(18)
@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("mx2.example.test", ["mx1"]),  # it and all worse ones leave
        ("MX2.Example.Test.", ["mx1"]),
        ("mx1.example.test", "554 5.4.6"),  # nothing is left
        ("elsewhere.example.test", ["mx1", "mx2"]),
    ],
)
def test_this_system_among_the_mx_hosts_is_not_dialled_nor_what_is_worse(server, own, expected):
    found = find(server, "example.test", own=OwnHosts([own]))
    assert (verdict(found) if isinstance(expected, str) else names(found)) == expected


@pytest.mark.checklist(19)
@pytest.mark.parametrize(
    ("options", "addresses"),
    [
        ({}, ("192.0.2.77",)),
        ({"allow_loopback": True}, ("127.0.0.1", "192.0.2.77")),
        ({"own": OwnHosts(["192.0.2.77"])}, None),
        ({"own": OwnHosts(["192.0.2.77"]), "allow_loopback": True}, ("127.0.0.1",)),
    ],
)
def test_loopback_and_own_addresses_are_refused_unless_allowed(server, options, addresses):
    found = find(server, "partly.example.test", **options)
    if addresses is None:
        assert verdict(found) == "550 5.4.4"
    else:
        assert set(found.hosts[0].addresses) == set(addresses)


@pytest.mark.checklist(21)
def test_an_alias_as_mx_is_followed_logged_and_comes_after_its_equals(server):
    with structlog.testing.capture_logs() as logs:
        found = find(server, "mxalias.example.test")
    assert set(names(found)[:2]) == {"mx1", "mx2"}
    assert names(found)[2:] == ["mxcname", "eq1"]
    assert found.hosts[2].addresses == ("192.0.2.12",)
    assert [(line["event"], line["host"], line["target"]) for line in logs] == [
        ("mx_is_alias", "mxcname.example.test", "eq2.example.test")
    ]


@pytest.mark.checklist(18)
def test_a_host_that_is_this_system_by_its_address_takes_those_behind_it_along(server):
    found = find(server, "example.test", own=OwnHosts(["192.0.2.3", "192.0.2.9"]))
    assert names(found) == ["mx1"]
    assert verdict(find(server, "shared.example.test", own=OwnHosts(["192.0.2.3"]))) == "550 5.4.4"


@pytest.mark.checklist(22)
@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ("[192.0.2.1]", Host("192.0.2.1", 25, ("192.0.2.1",))),
        ("[IPv6:2001:DB8::1]", Host("2001:db8::1", 25, ("2001:db8::1",))),
        ("[127.0.0.1]", "550 5.4.4"),
        ("[2001:db8::1]", "550 5.1.2"),
        ("[nonsense]", "550 5.1.2"),
    ],
)
def test_address_literals_that_are_allowed_skip_dns(listener, literal, expected):
    found = find(listener, literal, address_literals=True)
    assert (verdict(found) if isinstance(expected, str) else found.hosts) == (
        expected if isinstance(expected, str) else (expected,)
    )
    assert listener.asked == []


@pytest.mark.checklist(24)
def test_u_labels_and_a_labels_are_one_question(listener):
    async def both():
        mx = resolver(listener)
        return await mx.hosts("bücher.example.test"), await mx.hosts("XN--BCHER-KVA.example.test")

    one, other = asyncio.run(both())
    assert one == other
    assert listener.asked.count(("xn--bcher-kva.example.test", "MX")) == 1


@pytest.mark.parametrize(
    ("domain", "asked", "holds_s"),
    [
        pytest.param("brief.example.test", "MX", 7, marks=pytest.mark.checklist(25)),  # within TTL
        ("zero-ttl.example.test", "MX", 1),
        ("week.example.test", "MX", 3600),  # an hour at most
        ("nothing-here.example.test", "MX", 120),  # the SOA's minimum
        ("null.example.test", "MX", 300),
        ("sub.broken.test", "MX", 5),
    ],
)
def test_an_answer_is_asked_for_again_when_its_time_is_over(listener, domain, asked, holds_s):
    clock = Clock()

    async def three_times():
        mx = resolver(listener, clock=clock)
        first = await mx.hosts(domain)
        clock.now += holds_s - 0.5
        assert mx.cached(domain) == first
        await mx.hosts(domain)
        before = listener.asked.count((domain, asked))
        clock.now += 0.5
        assert mx.cached(domain) is None
        assert await mx.hosts(domain) == first
        return before, listener.asked.count((domain, asked))

    assert asyncio.run(three_times()) == (1, 2)


def test_a_host_of_several_domains_is_looked_up_once(listener):
    async def both():
        mx = resolver(listener)
        return await mx.hosts("example.test"), await mx.hosts("shared.example.test")

    first, second = asyncio.run(both())
    assert first.site == second.site
    assert names(second) == ["mx2", "mx1"]
    assert listener.asked.count(("mx1.example.test", "A")) == 1


def test_a_host_that_could_not_be_looked_up_is_asked_for_again_within_a_minute(listener):
    clock = Clock()
    listener.fail("mx1.example.test", "A")
    listener.fail("mx1.example.test", "AAAA")

    async def before_and_after():
        mx = resolver(listener, clock=clock)
        before = await mx.hosts("example.test")
        listener.recover()
        clock.now += 59
        assert mx.cached("example.test") == before
        clock.now += 1
        return before, await mx.hosts("example.test")

    before, after = asyncio.run(before_and_after())
    assert (names(before), names(after)) == (["mx2"], ["mx1", "mx2"])
    assert before.site == after.site


def test_those_who_ask_at_once_share_the_questions_and_one_who_leaves_does_not_end_them(listener):
    async def ask():
        mx = resolver(listener)
        asking = [asyncio.create_task(mx.hosts("example.test")) for _ in range(50)]
        await asyncio.sleep(0)
        asking[0].cancel()
        return await asyncio.gather(*asking[1:])

    answers = asyncio.run(ask())
    assert {answer.site for answer in answers} == {"mx:mx1.example.test,mx2.example.test"}
    assert sorted(listener.asked) == sorted(
        [("example.test", "MX")] + [(f"mx{n}.example.test", kind) for n in (1, 2) for kind in ("A", "AAAA")]
    )


def test_a_failure_is_forgotten_soon(listener):
    clock = Clock()
    listener.fail("example.test", "MX")

    async def before_and_after():
        mx = resolver(listener, clock=clock)
        before = await mx.hosts("example.test")
        listener.recover()
        clock.now += 5
        return before, await mx.hosts("example.test")

    before, after = asyncio.run(before_and_after())
    assert verdict(before) == "451 4.4.3"
    assert names(after) == ["mx1", "mx2"]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_many_domains_at_once_on_either_event_loop(server, run):
    async def ask():
        mx = resolver(server)
        return await asyncio.gather(*(mx.hosts(f"d{n}.example.test") for n in range(300)), mx.hosts("example.test"))

    *missing, found = run(ask())
    assert {verdict(one) for one in missing} == {"550 5.1.2"}
    assert names(found) == ["mx1", "mx2"]


def test_the_settings_say_who_is_asked_and_where_to_dial(server):
    settings = parse_settings(
        {
            "delivery": {"mode": "direct"},
            "dns": {"servers": [server.server], "allow_loopback": True, "mx_port": 2525},
        }
    )
    recipients = tuple(
        Recipient(no, address)
        for no, address in enumerate(["a@loopback.example.test", "b@null.example.test", "c@loopback.example.test"])
    )
    request = RouteRequest(Envelope("mail-1", "", recipients, 1, False, False), 1)
    result = asyncio.run(route(request, settings, 1, MxResolver.of(settings), lanes=4))
    [send] = result.sends
    [failure] = result.failures
    assert send.leg.route.hosts == (Host("lo.example.test", 2525, ("127.0.0.1", "::1")),)
    assert [recipient.no for recipient in send.request.envelope.recipients] == [0, 2]
    assert (failure.recipient, verdict(failure.outcome)) == (1, "556 5.1.10")


def test_a_single_question_is_answered_with_its_time_to_live(server):
    lookup = Lookup(NameServers([server.server]), timedelta(seconds=5))

    async def ask():
        return [
            await lookup.mx("brief.example.test"),
            await lookup.ipv4("mx1.example.test"),
            await lookup.ipv6("mxcname.example.test"),
            await lookup.ipv6("nothing-here.example.test"),
        ]

    assert asyncio.run(ask()) == [
        Found((MxRecord(10, "briefhost.example.test"),), "brief.example.test", 7),
        Found(("192.0.2.1", "192.0.2.2"), "mx1.example.test", 300),
        Missing("eq2.example.test", exists=True, ttl_s=120),
        Missing("nothing-here.example.test", exists=False, ttl_s=120),
    ]
