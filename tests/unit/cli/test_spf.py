"""SPF as a receiver finds it (RFC 7208)."""

import asyncio

import pytest

from cli.spf import check_spf
from shared.dns_questions import Temporary

RECORDS = {
    ("a.example", "A"): ["192.0.2.1"],
    ("a.example", "AAAA"): ["2001:db8::1"],
    ("m.example", "MX"): ["10 a.example.", "20 b.example."],
    ("b.example", "A"): ["192.0.2.2"],
    ("inner.example", "TXT"): ["v=spf1 ip4:192.0.2.1 -all"],
    ("soft.example", "TXT"): ["v=spf1 ~all"],
    ("loop.example", "TXT"): ["v=spf1 include:loop.example -all"],
    ("1.2.0.192.x.example", "A"): ["127.0.0.2"],
    ("192.0.2.1.d.example.s.example", "A"): ["127.0.0.2"],
}


def judged(record, address="192.0.2.1"):
    records = {**RECORDS, ("d.example", "TXT"): record if isinstance(record, list) else [record]}

    async def ask(name, kind):
        if name == "broken.example":
            raise Temporary("SERVFAIL")
        return records.get((name, kind), [])

    return asyncio.run(check_spf(address, "u@d.example", "helo.example", ask)).result


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ([], "none"),
        (["unrelated", "v=spf10 +all"], "none"),
        (["v=spf1 -all", "v=spf1 +all"], "permerror"),
        ("v=spf1", "neutral"),
        ("v=spf1 -all", "fail"),
        ("V=SPF1 +ALL", "pass"),
        ("v=spf1 ~all", "softfail"),
        ("v=spf1 ?all", "neutral"),
        ("v=spf1 ip4:192.0.2.1 -all", "pass"),
        ("v=spf1 ip4:192.0.2.0/24 -all", "pass"),
        ("v=spf1 ip4:192.0.3.0/24 -all", "fail"),
        ("v=spf1 ip4:nonsense -all", "permerror"),
        ("v=spf1 -ip4:192.0.2.1 +all", "fail"),
        ("v=spf1 ip6:2001:db8::/32 -all", "fail"),
        ("v=spf1 a:a.example -all", "pass"),
        ("v=spf1 a:b.example/24 -all", "pass"),
        ("v=spf1 a:b.example/32//64 -all", "fail"),
        ("v=spf1 mx:m.example -all", "pass"),
        ("v=spf1 include:inner.example -all", "pass"),
        ("v=spf1 include:soft.example -all", "fail"),  # only a pass of the inner one matches
        ("v=spf1 include:nothing.example -all", "permerror"),
        ("v=spf1 redirect=inner.example", "pass"),
        ("v=spf1 redirect=nothing.example", "permerror"),
        ("v=spf1 exists:%{ir}.x.example -all", "pass"),
        ("v=spf1 exists:%{i}.%{d2}.s.example -all", "pass"),
        ("v=spf1 ptr -all", "fail"),
        ("v=spf1 unknown=x -all", "fail"),
        ("v=spf1 nonsense -all", "permerror"),
        ("v=spf1 include:loop.example -all", "permerror"),  # more than ten look-ups
        ("v=spf1 a:x1.example a:x2.example a:x3.example -all", "permerror"),  # more than two empty ones
        ("v=spf1 a:broken.example -all", "temperror"),
    ],
)
def test_a_record_is_followed(record, expected):
    assert judged(record) == expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=spf1 ip6:2001:db8::/32 -all", "pass"),
        ("v=spf1 ip6:2001:db8::1 -all", "pass"),
        ("v=spf1 a:a.example -all", "pass"),
        ("v=spf1 a:a.example/8//127 -all", "pass"),
        ("v=spf1 ip4:192.0.2.1 -all", "fail"),
    ],
)
def test_ipv6_is_judged_by_its_own_records(record, expected):
    assert judged(record, "2001:db8::1") == expected
