"""Who may use the console: tokens of programs and users with passwords, each kept as hashes in a file (TOML).

[shop]                                  # tokens: a name for logs and histories
hash = "sha256:…"
scopes = ["submit", "read"]

[ada]                                   # users: what to sign in as
password = "$argon2id$…"
scopes = ["read", "operate"]            # absent: all
"""

import enum
import hashlib
import re
import secrets
import tomllib
from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from shared.refusals import Invalid, explain
from shared.settings import NO_TOML


class Scope(enum.StrEnum):
    """What somebody may do."""

    SUBMIT = "submit"  # mails
    READ = "read"  # mails and their content, events, settings, statistics
    OPERATE = "operate"  # retract, release, replace, the suppression list, dead letters
    SETTINGS = "settings"  # change them


EVERYTHING = tuple(Scope)

_PREFIX = "pillarbox_"  # so that scanners for secrets know what they have found
_HASH = "sha256:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program's."""

    hash: Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)]


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person."""

    password: str  # argon2
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)] = EVERYTHING


Account = TypeVar("Account", Token, User)


def new_token() -> str:
    """A token that nobody can guess."""
    return _PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is kept of a token: with 256 random bits a slow hash would protect nothing, and cost each request 50 ms."""
    return _HASH + hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def parse_tokens(text: str) -> Mapping[str, Token]:
    """The tokens of a file, by name. Raises Invalid."""
    return _parse(text, Token)


def parse_users(text: str) -> Mapping[str, User]:
    """The users of a file, by name. Raises Invalid."""
    # Imported here: every command would load argon2, and only few need it.
    from shared.passwords import check_hash

    users = _parse(text, User)
    for name, user in users.items():
        try:
            check_hash(user.password)
        except ValueError as error:
            raise Invalid(f"{name}.password", str(error)) from error
    return users


def check_name(name: str) -> str:
    """The name itself. Raises Invalid for one that could not be a user's or a token's."""
    if not _NAME.fullmatch(name):
        raise Invalid("name", f"got {name[:80]!r}; takes up to 100 letters, digits, dots, hyphens, underscores and @")
    return name


def _parse(text: str, kind: type[Account]) -> Mapping[str, Account]:
    try:
        document = tomllib.loads(text)
    except NO_TOML as error:
        raise Invalid("", f"not a TOML document: {error}") from error
    for name in document:
        check_name(name)
    try:
        return msgspec.convert(document, dict[str, kind])  # type: ignore[valid-type]  # a type that is an argument
    except msgspec.ValidationError as error:
        raise _named(document, kind) or Invalid("", str(error)) from error


def _named(document: Mapping[str, object], kind: type[Account]) -> Invalid | None:
    """What is wrong, by the name of the account."""
    for name, account in document.items():
        try:
            msgspec.convert(account, kind)
        except msgspec.ValidationError as error:
            refused = explain(error, account, kind)
            return Invalid(f"{name}.{refused.field}".rstrip("."), refused.reason)
    return None
