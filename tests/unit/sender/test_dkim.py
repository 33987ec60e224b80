"""DKIM signatures: the vectors of the RFCs, the canonical forms, and what dkimpy makes of what we sign."""

import base64
import hashlib
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sender.dkim import Signer, author_domain, canonical_body, canonical_field, sign
from shared.dkim_key import SigningKey, new_key

# RFC 8463 appendix A
VECTOR = b"""\
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")
VECTOR_BODY_HASH = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
ED25519_PRIVATE = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
ED25519_PUBLIC = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
RSA_PUBLIC = (
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/by"
    "YzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
)
ED25519_SIGNATURE = (
    b" v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n"
    b" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
    b" subject : date : message-id : from : subject : date;\r\n"
    b" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b="
)
ED25519_B = "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
RSA_SIGNATURE = (
    b" v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n"
    b" q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"
    b" date : message-id : from : subject : date;\r\n"
    b" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b="
)
RSA_B = (
    "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGs"
    "geefOsk2JzdA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8="
)

RSA, ED25519 = new_key("rsa"), new_key("ed25519")
BOTH = [Signer("x.example", "r", RSA), Signer("x.example", "e", ED25519)]
NOW = 1_772_000_000
HEAD = b"From: Ann <ann@x.example>\r\nTo: b@y.example\r\nSubject: hello\r\nDate: Fri, 27 Feb 2026 10:00:00 +0100\r\n"
HELLO = HEAD + b"Message-ID: <1@x.example>\r\n\r\nHello\r\n"


def verdicts(content: bytes, signers: list[Signer] = BOTH) -> list[bool]:
    """What dkimpy says of each signature."""
    records = {f"{signer.selector}._domainkey.{signer.domain}.": signer.key.record() for signer in signers}
    message = dkim.DKIM(content)
    answers: Any = lambda name, timeout=5: records[name.decode()].encode()  # noqa: E731 - dkimpy's own form
    return [message.verify(idx=index, dnsfunc=answers) for index in range(len(signers))]


def tags(content: bytes) -> dict[str, str]:
    """The tags of the first signature."""
    value = content.partition(b":")[2].partition(b"\r\nFrom")[0].partition(b"\r\nDKIM")[0].decode()
    return {name.strip(): "".join(text.split()) for name, _, text in (part.partition("=") for part in value.split(";"))}


# ---------------------------------------------------------------------------------------------------------
# The vectors


def _vector_fields(names: str) -> bytes:
    """The headers of the vector in relaxed form, in the order of `h=`; all stand once."""
    lines = {line.partition(b":")[0].lower(): line for line in VECTOR.partition(b"\r\n\r\n")[0].split(b"\r\n")}
    pairs = [lines[name.encode()].partition(b":") for name in names.split()]
    return b"".join(canonical_field(name, value) + b"\r\n" for name, _, value in pairs)


@pytest.mark.checklist(180)
def test_the_ed25519_signature_of_rfc_8463_comes_out_octet_for_octet():
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(base64.b64decode(ED25519_PRIVATE)))
    signed = _vector_fields("from to subject date message-id") + canonical_field(b"DKIM-Signature", ED25519_SIGNATURE)
    assert base64.b64encode(key.sign(signed)).decode() == ED25519_B
    assert key.record() == f"v=DKIM1; k=ed25519; p={ED25519_PUBLIC}"
    Ed25519PublicKey.from_public_bytes(base64.b64decode(ED25519_PUBLIC)).verify(
        base64.b64decode(ED25519_B), hashlib.sha256(signed).digest()
    )


@pytest.mark.checklist(180)
def test_the_rsa_signature_of_rfc_8463_verifies_over_our_canonical_form():
    signed = _vector_fields("from to subject date message-id") + canonical_field(b"DKIM-Signature", RSA_SIGNATURE)
    public = serialization.load_der_public_key(base64.b64decode(RSA_PUBLIC))
    assert isinstance(public, RSAPublicKey)
    public.verify(base64.b64decode(RSA_B), signed, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.checklist(180)
def test_the_body_hash_of_rfc_6376_and_rfc_8463_comes_out():
    body = canonical_body(VECTOR.partition(b"\r\n\r\n")[2])
    assert base64.b64encode(hashlib.sha256(body).digest()).decode() == VECTOR_BODY_HASH


# ---------------------------------------------------------------------------------------------------------
# Canonical forms


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),  # RFC 6376 section 3.4.5
        (b"a\t\t \r\n", b"a\r\n"),
        (b"a", b"a\r\n"),
        (b"a ", b"a\r\n"),
        (b"a\r\n \r\n\t\r\n", b"a\r\n"),
        (b"\r\na\r\n", b"\r\na\r\n"),
        (b"", b""),
        (b"\r\n", b""),
        (b" \r\n\t \r\n", b""),
    ],
)
@pytest.mark.checklist(182)
def test_a_body_in_relaxed_form(body, expected):
    assert canonical_body(body) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"A", b" X", b"a:X"),  # RFC 6376 section 3.4.5
        (b"B ", b" Y\t\r\n\tZ  ", b"b:Y Z"),
        (b"SubJect", b"", b"subject:"),
        (b"Subject", b" \xfc ", b"subject:\xfc"),
    ],
)
@pytest.mark.checklist(182)
def test_a_header_in_relaxed_form(name, value, expected):
    assert canonical_field(name, value) == expected


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n"])
@pytest.mark.checklist(182)
def test_an_empty_body_has_the_hash_of_nothing(body):
    signed = sign(HEAD + b"\r\n" + body, BOTH, NOW)
    assert tags(signed)["bh"] == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    assert verdicts(signed) == [True, True]


# ---------------------------------------------------------------------------------------------------------
# What is signed


@pytest.mark.checklist(184)
def test_the_tags_are_as_they_should_be():
    found = tags(sign(HELLO, BOTH, NOW))
    assert (found["v"], found["a"], found["c"]) == ("1", "rsa-sha256", "relaxed/relaxed")
    assert (found["d"], found["s"], found["t"]) == ("x.example", "r", str(NOW))
    assert "l" not in found


@pytest.mark.parametrize(
    "name",
    [
        "From",
        "To",
        "Cc",
        "Subject",
        "Date",
        "Reply-To",
        "Message-ID",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
    ],
)
@pytest.mark.checklist(181)
def test_one_more_of_these_headers_breaks_the_signature(name):
    signed = sign(HELLO, BOTH, NOW)
    assert tags(signed)["h"].split(":").count(name) == HELLO.count(f"{name}:".encode()) + 1
    added = signed.replace(b"\r\nFrom:", f"\r\n{name}: x@evil.example\r\nFrom:".encode(), 1)
    assert verdicts(added) == [False, False]


@pytest.mark.parametrize("name", ["Sender", "References", "In-Reply-To", "List-ID"])
@pytest.mark.checklist(181)
def test_headers_that_others_may_add_are_signed_where_they_are(name):
    assert verdicts(sign(HELLO, BOTH, NOW).replace(b"\r\nFrom: ", f"\r\n{name}: <2@x>\r\nFrom: ".encode())) == [
        True,
        True,
    ]
    signed = sign(f"{name}: <1@x>\r\n".encode() + HELLO, BOTH, NOW)
    assert verdicts(signed) == [True, True]
    assert verdicts(signed.replace(b"<1@x>", b"<2@x>")) == [False, False]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(HELLO, id="plain"),
        pytest.param(HELLO.replace(b"hello", b"a\r\n folded\r\n\tline \t here "), id="folded headers"),
        pytest.param(HELLO.replace(b"Subject: hello", b"sUBJECT:   hello  "), id="odd headers"),
        pytest.param(HEAD + b"\r\nspaces  \t\r\n \r\n\t\r\nend \r\n\r\n\r\n", id="trailing spaces"),
        pytest.param(HEAD + b"\r\n", id="empty body"),
        pytest.param(HEAD + b"\r\n" + bytes(range(128, 256)) + b"\r\n", id="8-bit body"),
        pytest.param(HEAD + b"\r\n.\r\n..\r\n.hidden\r\n", id="dots"),
        pytest.param(b"Received: by a\r\nReceived: by b\r\n" + HELLO, id="trace headers"),
        pytest.param(b"List-Help: <a>\r\nList-Help: <b>\r\n" + HELLO, id="a signed header twice"),
        pytest.param(HELLO.replace(b"Ann", "Jörg".encode()), id="UTF-8 headers"),
    ],
)
@pytest.mark.checklist(182)
def test_dkimpy_verifies_what_we_sign(content):
    signed = sign(content, BOTH, NOW)
    assert signed.endswith(content)
    assert max(map(len, signed.removesuffix(content).split(b"\r\n"))) <= 78
    assert verdicts(signed) == [True, True]


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"Hello\r\n", b"Hello \t\r\n\r\n"), (b"Subject: hello", b"subject:\r\n\t hello "), (b"Hello\r\n", b"Hello")],
)
@pytest.mark.checklist(182)
def test_changes_of_spaces_and_folds_on_the_way_do_no_harm(before, after):
    assert verdicts(sign(HELLO, BOTH, NOW).replace(before, after)) == [True, True]


@settings(max_examples=60)
@given(st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b".", b"\xff", b"=20"]), max_size=30).map(b"".join))
def test_dkimpy_verifies_any_body(body):
    assert verdicts(sign(HEAD + b"\r\n" + body + b"\r\n", BOTH[1:], NOW), BOTH[1:]) == [True]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"From: a@x.example", "x.example"),
        (b"FROM : A <a@X.Example>", "x.example"),
        (b"Subject: x\r\nFrom: A\r\n <a@x.example>", "x.example"),
        (b'From: "b@evil.example" <a@x.example>', "x.example"),
        (b"From: a@x.example, b@y.example", "x.example"),
        ("From: ü@bücher.example".encode(), "xn--bcher-kva.example"),
        (b"X-From: a@y.example\r\nFrom: a@x.example", "x.example"),
        (b"Subject: x", ""),
        (b"From: nobody", ""),
    ],
)
def test_the_domain_is_that_of_the_author(head, expected):
    assert author_domain(head + b"\r\n\r\nFrom: a@body.example\r\n") == expected
