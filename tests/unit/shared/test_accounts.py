"""The file of accounts."""

from functools import cache

import pytest

from shared.accounts import Account, accounts_toml, may_send_as, parse_accounts
from shared.durations import Duration
from shared.passwords import hash_password
from shared.refusals import Invalid


@cache
def hashed() -> str:
    return hash_password("correct horse")


def file(**fields: str) -> str:
    lines = {"password": f'"{hashed()}"', **fields}
    return '[accounts."shop"]\n' + "".join(f"{name} = {value}\n" for name, value in lines.items() if value)


def test_a_file_is_read_as_it_was_written():
    accounts = {
        "shop": Account(
            password=hashed(), hold=Duration(minutes=10), batch="m", rate=60, senders=("a@x.example", "y.example")
        ),
        "b@y.example": Account(password=hashed()),
    }
    assert parse_accounts(accounts_toml(accounts)) == accounts
    assert parse_accounts("") == {}


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ("[accounts", "", "not a TOML document"),
        ("[account.shop]", "account", "did you mean accounts?"),
        (file(password=""), 'accounts."shop".password', "is missing"),
        (file(password="'correct horse'"), 'accounts."shop".password', "takes a hash that begins with $argon2id$"),
        (file(password="12345678"), 'accounts."shop".password', "takes a text"),
        (file(hold="'soon'"), 'accounts."shop".hold', 'got "soon"; takes a duration'),
        (file(rate="0"), 'accounts."shop".rate', "got 0; takes"),
        (file(colour="'red'"), 'accounts."shop".colour', "there is no such field"),
        (file(senders="['a@']"), 'accounts."shop".senders[0]', "got 'a@'; takes an address or a domain"),
        (file(senders="['x.example', '*.example']"), 'accounts."shop".senders[1]', "takes an address or a domain"),
        (file(batch='"a\\u0000"'), 'accounts."shop".batch', "control character"),
        (file().replace("shop", "two words"), 'accounts."two words".name', "no spaces"),
    ],
)
def test_what_is_wrong_is_named_and_no_password_repeated(text: str, field: str, says: str):
    with pytest.raises(Invalid) as refused:
        parse_accounts(text)
    assert refused.value.field == field
    assert says in refused.value.reason
    assert "horse" not in str(refused.value)
    assert "12345678" not in str(refused.value)


@pytest.mark.parametrize(
    ("senders", "address", "expected"),
    [
        ((), "anybody@anywhere.example", True),
        (("a@x.example",), "a@x.example", True),
        (("a@x.example",), "A@x.example", True),
        (("a@x.example",), "b@x.example", False),
        (("x.example",), "b@x.example", True),
        (("x.example",), "b@sub.x.example", False),
        (("x.example",), "b@notx.example", False),
    ],
)
def test_an_account_sends_as_whom_it_may(senders: tuple[str, ...], address: str, expected: bool):
    assert may_send_as(Account(password="x", senders=senders), address) is expected
