"""Accounts of programs that submit over SMTP: a file in TOML, which the gateway reads and `pillarbox accounts` writes.

[accounts.shop]
password = "$argon2id$…"              # the hash, never the password
hold = "10m"                          # all else may be left out
batch = "shop"
rate = 60
senders = ["orders@shop.example", "news.shop.example"]
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import tomli_w
from msgspec import Meta, Struct

from shared.addresses import check_spec, domain_of
from shared.contracts.words import BatchLabel
from shared.durations import Duration, decode_duration
from shared.passwords import check_hash
from shared.refusals import Invalid, explain
from shared.wishes import check_batch

_NAME = re.compile(r"[^\x00-\x20\x7f]{1,200}")
NAME_TAKES = "takes up to 200 characters, no spaces or control characters"


class Account(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Somebody who may submit."""

    password: str  # its argon2 hash
    hold: Duration | None = None  # of mails that name none themselves; absent, the setting `sending.hold`
    batch: BatchLabel = ""  # of mails that name none themselves
    rate: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None  # mails per minute, at each gateway
    senders: tuple[str, ...] = ()  # addresses, and domains, that its mail may come from; none: all


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    accounts: dict[str, Account] = {}


def parse_accounts(text: str) -> dict[str, Account]:
    """Read the file. Raises Invalid, which names the account and the field, and repeats no password."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid("", f"not a TOML document: {error}") from error
    _refuse_odd_passwords(document)
    try:
        accounts = msgspec.convert(document, _File, dec_hook=decode_duration).accounts
    except msgspec.ValidationError as error:
        raise explain(error, document, _File, decode_duration) from error
    return {name: _checked(name, account) for name, account in accounts.items()}


def accounts_toml(accounts: Mapping[str, Account]) -> str:
    """The file for these accounts."""
    plain = {name: msgspec.to_builtins(account, enc_hook=str) for name, account in accounts.items()}
    return tomli_w.dumps({"accounts": {name: _without_none(fields) for name, fields in plain.items()}})


def check_account(name: str, account: Account) -> Account:
    """The account with its senders in their normal form. Raises Invalid, which names the field alone."""
    if not _NAME.fullmatch(name):
        raise Invalid("name", NAME_TAKES)
    try:
        check_hash(account.password)
    except ValueError as error:
        raise Invalid("password", str(error)) from error
    check_batch(account.batch)
    senders = tuple(_sender(number, text) for number, text in enumerate(account.senders))
    return msgspec.structs.replace(account, senders=senders)


def may_send_as(account: Account, address: str) -> bool:
    """Whether mail of the account may come from a checked address."""
    if not account.senders:
        return True
    folded = address.lower()  # two mailboxes that differ in case alone are one person's anywhere
    return folded in account.senders or domain_of(folded) in account.senders


def _checked(name: str, account: Account) -> Account:
    try:
        return check_account(name, account)
    except Invalid as refused:
        raise Invalid(f'accounts."{name}".{refused.field}', refused.reason) from refused


def _sender(number: int, text: str) -> str:
    try:
        return check_spec(text).lower() if "@" in text else domain_of(check_spec(f"x@{text}")).lower()
    except ValueError as error:
        raise Invalid(f"senders[{number}]", f"got {text[:80]!r}; takes an address or a domain") from error


def _refuse_odd_passwords(document: dict[str, Any]) -> None:
    accounts = document.get("accounts")
    for name, fields in accounts.items() if isinstance(accounts, dict) else ():
        if isinstance(fields, dict) and not isinstance(fields.get("password", ""), str):
            raise Invalid(f'accounts."{name}".password', "takes a text, the hash of the password")


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in fields.items() if value is not None}
