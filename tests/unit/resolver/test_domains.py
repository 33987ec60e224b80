"""The one spelling of a domain, and what is none."""

import pytest

from services.resolver.domains import domain_of, is_host_name, normal_domain
from shared.outcomes import Bounced


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("a@example.org", "example.org"),
        ("a@EXAMPLE.Org", "example.org"),
        ("a@example.org.", "example.org"),
        ('"a@b"@example.org', "example.org"),  # the last @ counts
        pytest.param("a@bücher.example", "xn--bcher-kva.example", marks=pytest.mark.checklist(24)),
        ("a@BÜCHER.example", "xn--bcher-kva.example"),
        ("a@xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a@XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("a@faß.example", "xn--fa-hia.example"),  # IDNA 2008: not fass.example, somebody else's
        ("a@例え。テスト", "xn--r8jz45g.xn--zckzah"),  # the ideographic full stop is a dot
        ("a@[192.0.2.1]", "[192.0.2.1]"),
        ("a@[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
    ],
)
def test_a_domain_has_one_spelling(address, expected):
    assert domain_of(address) == expected


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("a@b.example:2025", marks=pytest.mark.checklist(27)),
        "a@",
        "a@.",
        "postmaster",
        "",
        "a@2001:db8::1",  # an address without brackets
        "a@bü cher.example",  # no label of IDNA 2008
        "a@\u2603\u200d.example",
    ],
)
def test_what_is_no_domain_bounces(address):
    verdict = domain_of(address)
    assert isinstance(verdict, Bounced)
    assert (verdict.reply.code, verdict.reply.enhanced, verdict.reply.remote) == (550, "5.1.2", False)


def test_the_verdict_on_a_port_says_so():
    verdict = normal_domain("b.example:2025")
    assert isinstance(verdict, Bounced)
    assert "carries no port" in verdict.reply.text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mx1.example.net", True),
        ("localhost", True),
        ("mx_1.example.net", True),  # wrong, and in use
        ("xn--bcher-kva.example", True),
        ("123.example", True),
        pytest.param("192.0.2.1", False, marks=pytest.mark.checklist(20)),
        ("1", False),
        (".", False),
        ("", False),
        ("a..example", False),
        ("a b.example", False),
        ("a\\032b.example", False),  # as a resolver writes a space
        ("a" * 63 + ".example", True),
        ("a" * 64 + ".example", False),
        (".".join(["a" * 49] * 5) + ".exa", True),  # 253
        (".".join(["a" * 49] * 5) + ".exam", False),
    ],
)
def test_a_host_name_is_of_letters_and_no_address(name, expected):
    assert is_host_name(name) is expected
