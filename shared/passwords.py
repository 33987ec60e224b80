"""Passwords of people and accounts, kept as argon2id hashes (RFC 9106)."""

import asyncio

import argon2

# argon2-cffi's defaults are RFC 9106's second choice: 64 MiB and three passes. Two at a time bound the memory.
_hasher = argon2.PasswordHasher()
_AT_ONCE = 2
_slots: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}


def hash_password(password: str) -> str:
    """The hash to keep: `$argon2id$…`, with parameters and salt. Takes some 50 ms."""
    return _hasher.hash(password)


def is_hash(text: str) -> bool:
    """Whether a text is such a hash."""
    try:
        argon2.extract_parameters(text)
    except argon2.exceptions.InvalidHashError:
        return False
    return True


async def verify(hash: str, password: str) -> bool:
    """Whether the password is the one of the hash; False for what is no hash. In a thread: it takes some 50 ms."""
    loop = asyncio.get_running_loop()
    async with _slots.setdefault(loop, asyncio.Semaphore(_AT_ONCE)):
        return await asyncio.to_thread(_matches, hash, password)


def _matches(hash: str, password: str) -> bool:
    try:
        return _hasher.verify(hash, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
