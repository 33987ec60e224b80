"""Addresses: what is read from people's texts, and what is refused because it would break out or get lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.addresses import Address, ascii_domain_of, check_spec, domain_of, parse_addresses, refuse_control_characters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@b.example", [("", "a@b.example")]),
        ("  a@b.example ", [("", "a@b.example")]),
        ("A.B+c=d@B.Example", [("", "A.B+c=d@b.example")]),  # the local part's case is the receiver's business
        ("a@localhost", [("", "a@localhost")]),
        ("a@b.test", [("", "a@b.test")]),
        ("Ann <a@b.example>", [("Ann", "a@b.example")]),
        ("Ann B 3 <A.B+c=d@B.Example>", [("Ann B 3", "A.B+c=d@b.example")]),
        ("Ann  B <a@b.example>", [("Ann B", "a@b.example")]),
        ('"Doe, Ann" <a@b.example>', [("Doe, Ann", "a@b.example")]),
        ('"An \\"n" <a@b.example>', [('An "n', "a@b.example")]),
        ("Jörg <j@b.example>", [("Jörg", "j@b.example")]),
        ("a@b.example (Ann)", [("Ann", "a@b.example")]),
        ("<a@b.example>", [("", "a@b.example")]),
        ("a@b.example, Ann <c@d.example>", [("", "a@b.example"), ("Ann", "c@d.example")]),
        ("us: a@b.example, c@d.example;", [("", "a@b.example"), ("", "c@d.example")]),
        ("a@b.example,", [("", "a@b.example")]),
        ('"a b"@b.example', [("", '"a b"@b.example')]),
        ('"a@c"@b.example', [("", '"a@c"@b.example')]),
        ('"a>b"@b.example', [("", '"a>b"@b.example')]),  # within quotes it does not end the path
        ("a@bücher.example", [("", "a@xn--bcher-kva.example")]),
        ("a@straße.example", [("", "a@xn--strae-oqa.example")]),  # not strasse: IDNA 2008
        ("jörg@bücher.example", [("", "jörg@bücher.example")]),
        ("v" * 65 + "@b.example", [("", "v" * 65 + "@b.example")]),  # VERP outgrows the 64 of RFC 5321
        ("a@[192.0.2.1]", [("", "a@[192.0.2.1]")]),
        ("a@[IPv6:2001:DB8::1]", [("", "a@[IPv6:2001:db8::1]")]),
        ("", []),
        ("   ", []),
    ],
)
def test_texts_of_people_are_read(text, expected):
    assert parse_addresses(text) == [Address(name, spec) for name, spec in expected]


def test_several_texts_are_read_in_their_order():
    texts = ["a@b.example", "Ann <c@d.example>, e@f.example", ""]
    assert [address.spec for address in parse_addresses(texts)] == ["a@b.example", "c@d.example", "e@f.example"]


@pytest.mark.parametrize(
    "text",
    [
        "root",
        "@b.example",
        "a@",
        "@",
        "<>",
        "a@b@c.example",
        "a@b..example",
        "a..b@c.example",
        ".a@b.example",
        "a@-b.example",
        "a@b.example.",
        "a@b_c.example",
        "a@[192.0.2.300]",
        "a@" + "b" * 64 + ".example",
        "a@" + ".".join(["b" * 63] * 4),
        "Doe, Ann <a@b.example>",  # the comma ends an address
        "a b@c.example",
        "a@b.example c@d.example",
        "a@b.example; c@d.example",
        "a@b.example,,c@d.example",
        "a@b.example>",
        "<<a@b.example>>",
        "a@b.example)c@d.example",
        "alice@b.example(x)bob@d.example",
        "a@b.example> SIZE=1",
        "Ann <a@b.example> <c@d.example>",
        "<a@b.example> RCPT TO:<c@d.example>",
        "\u202ea@b.example",  # writes from right to left
        "a\u200b@b.example",
        "a@b.example\r\nRCPT TO:<c@d.example>",
        "a@b.example\nBcc: c@d.example",
        "a@b.example\r",
        "a@b.example\0",
        "Ann\x85 <a@b.example>",
        "Ann\u2028 <a@b.example>",
        '"a\r\nb"@c.example',
        "(" * 100_000,
        "a@b.example " + "(" * 5000,
        "<" * 100_000,
        "@" * 100_000,
        '"' * 400_001,
    ],
)
def test_what_is_no_address_is_refused_in_few_words(text):
    with pytest.raises(ValueError, match=r"e-mail address|character") as refused:
        parse_addresses(text)
    assert len(str(refused.value)) < 400


TOKENS = st.sampled_from(["a@b.example", "c@d.example", ",", ";", " ", "<", ">", ":", "\\", "x", ".", "[", "]", "ü"])


@settings(max_examples=500)
@given(st.lists(TOKENS, max_size=9).map("".join))
def test_no_address_in_a_text_is_dropped(text):
    """A parser that skips what it can not read loses a recipient's mail without a word."""
    try:
        found = parse_addresses(text)
    except ValueError:
        return
    assert len(found) == text.count("@")


@settings(max_examples=500)
@given(st.text(max_size=60) | st.text('<>"@.,;:()\\ \tab[]', max_size=40))
def test_whatever_is_taken_stays_within_angle_brackets(text):
    try:
        found = parse_addresses(text)
    except ValueError:
        return
    for address in found:
        assert check_spec(address.spec) == address.spec, "the normal form is not normal"
        assert address.spec.isprintable()
        local, at, domain = address.spec.rpartition("@")
        assert local
        assert at
        assert domain
        if not local.startswith('"'):
            assert not set(address.spec) & set('<> "(),:;[]\\')
        refuse_control_characters(address.name)


@pytest.mark.parametrize("text", ["plain", "", "tab\tinside", "Grüße 😀", "\u00a0"])
def test_one_line_of_text_is_let_through(text):
    assert refuse_control_characters(text) == text


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\x0b", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"])
def test_a_control_character_is_named(character):
    with pytest.raises(ValueError, match=f"U\\+{ord(character):04X}"):
        refuse_control_characters(f"a{character}b")


@pytest.mark.parametrize(
    ("spec", "domain", "ascii_domain"),
    [
        ("a@b.example", "b.example", "b.example"),
        ('"a@c"@b.example', "b.example", "b.example"),
        ("ü@bücher.example", "bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_domain_is_what_follows_the_last_at(spec, domain, ascii_domain):
    assert (domain_of(spec), ascii_domain_of(spec)) == (domain, ascii_domain)
