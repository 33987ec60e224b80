"""What clients show."""

import pytest

from services.gateway.sign_in import WRONG, Shown, from_base64, read_login, read_plain


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (b"\0shop\0secret", Shown("shop", "secret")),
        (b"shop\0shop\0secret", Shown("shop", "secret")),
        (b"other\0shop\0secret", WRONG),  # nobody acts for somebody else
        ("\0shöp\0sécret".encode(), Shown("shöp", "sécret")),
        (b"\0shop\0", WRONG),
        (b"\0shop\0\xff\xff", WRONG),
        (b"\0shop\0" + b"x" * 1001, WRONG),
        (b"shop\0secret", "501 5.5.2 PLAIN takes"),
        (b"", "501 5.5.2 PLAIN takes"),
        (b"\0a\0b\0c", "501 5.5.2 PLAIN takes"),
    ],
)
def test_plain_shows_who_and_a_password(response: bytes, expected: object):
    found = read_plain(response)
    assert found.startswith(expected) if isinstance(found, str) and isinstance(expected, str) else found == expected


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [(b"shop", b"secret", Shown("shop", "secret")), (b"\xff", b"secret", WRONG), (b"shop", b"", WRONG)],
)
def test_login_shows_one_after_the_other(user: bytes, password: bytes, expected: object):
    assert read_login(user, password) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("AHg=", b"\0x"), ("=", b""), ("", b""), ("A", "501 5.5.2 takes base64"), ("ä", "501 5.5.2 takes base64")],
)
def test_an_initial_response_is_base64(text: str, expected: object):
    assert from_base64(text) == expected
