"""Which DMARC record counts, and what is aligned by it (RFC 9989)."""

import asyncio

import pytest

from cli.dmarc import Walk, walk
from cli.doctor_dmarc import Signer, alignment_row, dmarc_row, dmarc_rows
from cli.doctor_rows import Result, failed, ok, skipped
from shared.dns_questions import Temporary

NONE, REJECT = "v=DMARC1; p=none", "v=DMARC1;p=reject; rua=mailto:x@a.example"


def walked(domain, zone):
    """The walk, and the names that were asked for."""
    asked = []

    async def ask(name, kind):
        asked.append(name.removeprefix("_dmarc."))
        return zone.get(asked[-1], [])

    return asyncio.run(walk(domain, ask)), asked


@pytest.mark.parametrize(
    ("zone", "counting", "organisational"),
    [
        ({}, "c.b.a.example", "c.b.a.example"),
        ({"c.b.a.example": [NONE]}, "c.b.a.example", "c.b.a.example"),
        ({"a.example": [NONE]}, "a.example", "a.example"),
        ({"c.b.a.example": [NONE], "a.example": [REJECT]}, "c.b.a.example", "a.example"),
        ({"b.a.example": [NONE], "a.example": [REJECT]}, "a.example", "a.example"),  # not the nearest one above
        ({"b.a.example": [NONE + "; psd=n"], "a.example": [REJECT]}, "b.a.example", "b.a.example"),
        ({"example": [REJECT + "; psd=y"]}, "example", "a.example"),  # a registry's
        ({"a.example": [NONE], "example": [REJECT + "; psd=y"]}, "a.example", "a.example"),
        ({"a.example": ["v=spf1 -all", NONE]}, "a.example", "a.example"),
        ({"a.example": [NONE, NONE]}, "c.b.a.example", "c.b.a.example"),  # of two, none
        ({"c.b.a.example": [NONE, NONE], "a.example": [NONE]}, "c.b.a.example", "a.example"),
    ],
)
def test_the_record_that_counts(zone, counting, organisational):
    found, _ = walked("c.b.a.example", zone)
    assert (found.counting, found.organisational) == (counting, organisational)


def test_a_long_name_takes_eight_questions():
    _, asked = walked("j.i.h.g.f.e.d.c.b.example", {})
    assert asked[:2] == ["j.i.h.g.f.e.d.c.b.example", "g.f.e.d.c.b.example"]
    assert (asked[-1], len(asked)) == ("example", 8)


def found(*records, name="sub.a.example"):
    return Walk("sub.a.example", {name: records} if records else {})


@pytest.mark.parametrize(
    ("shown", "expected", "says"),
    [
        (found(), Result.FAILED, "no record"),
        (found(NONE), Result.OK, "p=none"),
        (found(REJECT), Result.OK, "p=reject"),
        (found("v=DMARC1; p=sometimes"), Result.FAILED, "sometimes"),
        (found(NONE, NONE), Result.FAILED, "; v=DMARC1"),
        (found("v=DMARC1; p=none; sp=reject", name="a.example"), Result.OK, "p=reject, at _dmarc.a.example"),
        (found("v=DMARC1; p=none; sp=reject"), Result.OK, "p=none"),
        (found("v=DMARC1; p=none; adkim=strict"), Result.FAILED, "adkim=strict"),
    ],
)
def test_the_record(shown, expected, says):
    row = dmarc_row(shown)
    assert (row.result, says in row.found) == (expected, True)


GOOD, BAD, OPEN = ok("x", ""), failed("x", "", ""), skipped("x", "")
ITSELF, ABOVE = Signer("sub.a.example", "a.example"), Signer("a.example", "a.example")


@pytest.mark.parametrize(
    ("tags", "spf", "signer", "dkim", "expected", "says"),
    [
        ("", [GOOD], None, [BAD], Result.OK, "SPF"),
        ("", [BAD], ITSELF, [GOOD], Result.OK, "DKIM, with d=sub.a.example"),
        ("", [BAD], ITSELF, [GOOD, BAD], Result.FAILED, "neither"),
        ("", [OPEN], None, [], Result.SKIPPED, ""),
        ("", [GOOD, BAD], None, [], Result.FAILED, "neither"),  # from one of the addresses it does not pass
        ("", [BAD], ABOVE, [GOOD], Result.OK, "d=a.example"),
        ("; adkim=r", [BAD], ABOVE, [GOOD], Result.OK, "d=a.example"),
        ("; adkim=s", [BAD], ABOVE, [GOOD], Result.FAILED, "adkim=s"),
        ("; adkim=s", [OPEN], ABOVE, [GOOD], Result.FAILED, "adkim=s"),
        ("; adkim=s", [BAD], ITSELF, [GOOD], Result.OK, "d=sub.a.example"),
        ("; adkim=s", [GOOD], ABOVE, [GOOD], Result.OK, "not DKIM, with d=a.example"),
        ("; aspf=s", [GOOD], None, [], Result.OK, "at sub.a.example itself (aspf=s)"),
    ],
)
def test_alignment(tags, spf, signer, dkim, expected, says):
    row = alignment_row(found(f"v=DMARC1; p=none{tags}", name="a.example"), spf, signer, dkim)
    assert (row.result, says in row.found) == (expected, True)


def test_keys_of_another_organisational_domain_are_not_aligned():
    shown = Walk("sub.a.example", {"sub.a.example": ("v=DMARC1; p=none; psd=n",)})
    row = alignment_row(shown, [BAD], ABOVE, [GOOD])
    assert (row.result, "another organisational domain than sub.a.example" in row.found) == (Result.FAILED, True)


def test_a_name_server_that_does_not_answer_is_told():
    async def ask(name, kind):
        raise Temporary("timed out")

    [row, alignment] = asyncio.run(dmarc_rows("a.example", [GOOD], None, [], ask))
    assert (row.result, row.found, alignment.result) == (Result.FAILED, "timed out", Result.SKIPPED)
