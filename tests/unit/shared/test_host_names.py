"""Names that may be said in EHLO, and addresses in their place."""

import pytest

from shared.host_names import address_in, address_literal, is_fit


@pytest.mark.checklist(33)
@pytest.mark.parametrize(
    ("name", "fit"),
    [
        ("mx.example", True), ("mx-1.example.net", True), ("xn--bcher-kva.example", True),
        ("localhost", False), ("localhost.localdomain", False), ("mx.localhost", False), ("robot", False),
        ("mx_1.example", False), ("-mx.example", False), ("mx..example", False), ("mx.example.", False),
        ("mx example", False), ("mx\n.example", False), ("mx.example\n", False), ("192.0.2.1", False), ("", False),
        ("a." * 130 + "example", False),
    ],
)  # fmt: skip
def test_which_names_may_be_said(name, fit):
    assert is_fit(name) is fit


@pytest.mark.checklist(28)
@pytest.mark.parametrize(
    ("address", "literal"),
    [
        ("192.0.2.1", "[192.0.2.1]"),
        ("2001:db8::1", "[IPv6:2001:db8::1]"),
        ("2001:DB8:0:0::1", "[IPv6:2001:db8::1]"),
        ("::ffff:192.0.2.1", "[192.0.2.1]"),
    ],
)
def test_an_address_as_a_literal(address, literal):
    assert address_literal(address) == literal


@pytest.mark.parametrize(
    ("literal", "address"),
    [
        ("[192.0.2.1]", "192.0.2.1"),
        ("[IPv6:2001:DB8::1]", "2001:db8::1"),
        ("[ipv6:2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]", None),  # the tag is not to be left out (RFC 5321 section 4.1.3)
        ("[192.0.2.300]", None),
        ("[IPv6:192.0.2.1]", None),
        ("192.0.2.1", None),
        ("[]", None),
        ("mx.example", None),
    ],
)
def test_a_literal_as_an_address(literal, address):
    assert address_in(literal) == address
