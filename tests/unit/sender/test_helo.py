"""The name in EHLO."""

import asyncio

import pytest
from structlog.testing import capture_logs

from services.sender.helo import HeloNames
from shared.dns_questions import Temporary
from shared.metrics import REGISTRY

REVERSE = {"192.0.2.1": "1.2.0.192.in-addr.arpa.", "192.0.2.2": "2.2.0.192.in-addr.arpa."}
REVERSE_6 = "1" + ".0" * 23 + ".8.b.d.0.1.0.0.2.ip6.arpa."
TROUBLE = None  # the name server does not answer


class Dns:
    """Records by name and type; what is asked is remembered."""

    def __init__(self, records: dict[tuple[str, str], list[str] | None]) -> None:
        self.records = records
        self.asked: list[tuple[str, str]] = []

    async def ask(self, name: str, record_type: str) -> list[str]:
        self.asked.append((name, record_type))
        answer = self.records.get((name, record_type), [])
        if answer is TROUBLE:
            raise Temporary("SERVFAIL")
        return answer


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def ptr(*names: str) -> dict[tuple[str, str], list[str] | None]:
    return {(REVERSE["192.0.2.1"], "PTR"): [f"{name}." for name in names]}


def name_for(records: dict[tuple[str, str], list[str] | None], address: str = "192.0.2.1") -> str:
    return asyncio.run(HeloNames("auto", ask=Dns(records).ask).argument(address))


@pytest.mark.checklist(28, 29, 30, 33)
@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ({**ptr("mx.example"), ("mx.example", "A"): ["192.0.2.1"]}, "mx.example"),  # item 29
        ({**ptr("a.example", "b.example"), ("b.example", "A"): ["192.0.2.9", "192.0.2.1"]}, "b.example"),
        (
            {**ptr("a.example", "b.example"), ("a.example", "A"): TROUBLE, ("b.example", "A"): ["192.0.2.1"]},
            "b.example",
        ),
        ({}, "[192.0.2.1]"),  # item 30: no name
        ({(REVERSE["192.0.2.1"], "PTR"): TROUBLE}, "[192.0.2.1]"),
        ({**ptr("mx.example"), ("mx.example", "A"): ["192.0.2.9"]}, "[192.0.2.1]"),
        ({**ptr("mx.example"), ("mx.example", "A"): TROUBLE}, "[192.0.2.1]"),
        ({**ptr("mx_1.example"), ("mx_1.example", "A"): ["192.0.2.1"]}, "[192.0.2.1]"),  # item 33
        ({**ptr("localhost"), ("localhost", "A"): ["192.0.2.1"]}, "[192.0.2.1]"),
    ],
)
def test_the_name_is_found_by_forward_confirmed_reverse_dns(records, expected):
    assert name_for(records) == expected


@pytest.mark.checklist(31)
def test_each_address_has_its_own_name():  # item 31
    records = {
        **ptr("four.example"),
        ("four.example", "A"): ["192.0.2.1"],
        (REVERSE_6, "PTR"): ["six.example."],
        ("six.example", "AAAA"): ["2001:db8:0::1"],
    }
    assert name_for(records) == "four.example"
    assert name_for(records, "2001:db8::1") == "six.example"
    assert name_for(records, "2001:db8::1%eth0") == "six.example"
    assert name_for(records, "192.0.2.2") == "[192.0.2.2]"


def test_a_name_is_kept_for_an_hour():
    dns, clock = Dns({**ptr("mx.example"), ("mx.example", "A"): ["192.0.2.1"]}), Clock()
    names = HeloNames("auto", ask=dns.ask, clock=clock)

    async def ask_twice() -> None:
        await asyncio.gather(names.argument("192.0.2.1"), names.argument("192.0.2.1"))

    asyncio.run(ask_twice())
    assert len(dns.asked) == 2
    clock.now = 3599.0
    asyncio.run(names.argument("192.0.2.1"))
    assert len(dns.asked) == 2
    clock.now = 3600.0
    asyncio.run(names.argument("192.0.2.1"))
    assert len(dns.asked) == 4


@pytest.mark.checklist(32)
def test_trouble_keeps_the_last_good_name_and_is_looked_at_again_soon():  # item 32
    dns, clock = Dns({**ptr("mx.example"), ("mx.example", "A"): ["192.0.2.1"]}), Clock()
    names = HeloNames("auto", ask=dns.ask, clock=clock)
    assert asyncio.run(names.argument("192.0.2.1")) == names.said["192.0.2.1"] == "mx.example"
    good, dns.records = dns.records, {(REVERSE["192.0.2.1"], "PTR"): TROUBLE}
    clock.now = 4000.0
    with capture_logs() as log:
        assert asyncio.run(names.argument("192.0.2.1")) == "mx.example"
    assert [(line["event"], line["next"]) for line in log] == [("helo_name_unknown", "say_mx.example")]
    dns.records = {(REVERSE["192.0.2.1"], "PTR"): []}
    clock.now = 4060.0
    with capture_logs() as log:
        assert asyncio.run(names.argument("192.0.2.1")) == names.said["192.0.2.1"] == "[192.0.2.1]"
    assert [(line["event"], line["next"]) for line in log] == [("helo_name_not_found", "say_[192.0.2.1]")]
    dns.records = good
    clock.now = 9000.0
    assert asyncio.run(names.argument("192.0.2.1")) == "mx.example"


@pytest.mark.checklist(28)
@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("mail.example", "mail.example"),  # item 28
        ("[203.0.113.9]", "[203.0.113.9]"),
        ("[IPv6:2001:db8::9]", "[IPv6:2001:db8::9]"),
    ],
)
def test_a_configured_name_is_said_from_every_address(setting, expected):
    dns = Dns({})
    names = HeloNames(setting, ask=dns.ask)
    assert asyncio.run(names.argument("192.0.2.1")) == expected
    assert (dns.asked, names.said) == ([], {"192.0.2.1": expected})


@pytest.mark.checklist(32)
@pytest.mark.parametrize(
    ("records", "event", "result"),
    [
        ({}, "helo_name_not_found", "permerror"),
        ({**ptr("mx.example"), ("mx.example", "A"): ["192.0.2.9"]}, "helo_name_not_found", "fail"),
        ({(REVERSE["192.0.2.1"], "PTR"): TROUBLE}, "helo_name_unknown", "temperror"),
    ],
)
def test_without_a_name_the_one_set_for_that_is_said_and_a_warning_tells_why(records, event, result):
    names = HeloNames("auto", fallback="robot.example", ask=Dns(records).ask)
    with capture_logs() as log:
        assert asyncio.run(names.argument("192.0.2.1")) == "robot.example"
    [line] = log
    assert (line["event"], line["result"], line["log_level"]) == (event, result, "warning")
    assert line["next"] == "say_robot.example"
    assert REGISTRY.get_sample_value("pillarbox_helo_unconfirmed", {"address": "192.0.2.1"}) == 1


@pytest.mark.checklist(32)
def test_the_warning_is_taken_back_once_the_name_is_found():
    dns, clock = Dns({}), Clock()
    names = HeloNames("auto", ask=dns.ask, clock=clock)
    asyncio.run(names.argument("192.0.2.1"))
    dns.records, clock.now = {**ptr("mx.example"), ("mx.example", "A"): ["192.0.2.1"]}, 3600.0
    assert asyncio.run(names.argument("192.0.2.1")) == "mx.example"
    assert REGISTRY.get_sample_value("pillarbox_helo_unconfirmed", {"address": "192.0.2.1"}) == 0
