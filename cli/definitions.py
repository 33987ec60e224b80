"""What RabbitMQ imports to know our users: virtual hosts, users with the hashes of their passwords, rights."""

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cli.rights import RIGHTS, Rights, Role


class Account(msgspec.Struct, frozen=True):
    """A user of the broker."""

    user: str
    password: str
    rights: Rights


def accounts(passwords: Mapping[Role, str]) -> list[Account]:
    """The users of these roles."""
    return [Account(role.user, password, RIGHTS[role]) for role, password in passwords.items()]


def definitions(vhosts: Sequence[str], users: Sequence[Account]) -> dict[str, Any]:
    """RabbitMQ's document of definitions: these users, with their rights in each of these virtual hosts."""
    return {
        "vhosts": [{"name": vhost} for vhost in vhosts],
        "users": [
            {
                "name": account.user,
                "password_hash": _hashed(account.password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "",
            }
            for account in users
        ],
        "permissions": [
            {"user": account.user, "vhost": vhost, **msgspec.structs.asdict(account.rights)}
            for vhost in vhosts
            for account in users
        ],
    }


def new_password() -> str:
    """A password that nobody can guess, of characters that need no quoting anywhere."""
    return secrets.token_hex(24)


def _hashed(password: str) -> str:
    """Salt and digest, as RabbitMQ's rabbit_password_hashing_sha256 wants them."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
