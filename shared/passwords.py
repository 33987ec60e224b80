"""Passwords of those who sign in with us: kept as argon2 hashes, and remembered for a while once they were right."""

import asyncio
import hashlib
import secrets
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

# Each costs a processor some 30 ms and 19 MiB: what OWASP's password storage cheat sheet names first for argon2id.
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_THREADS = 2  # more guesses at once would take memory, and the processor from the mail
_MOST_REMEMBERED = 10_000

LONGEST = 1000  # characters


def hash_password(password: str) -> str:
    """The hash to keep of a password. It takes some 30 ms."""
    return _HASHER.hash(_octets(password))


def check_hash(hashed: str) -> None:
    """Raises ValueError, without repeating it, for what is no hash: it may be the password itself."""
    try:
        if argon2.extract_parameters(hashed).type is argon2.Type.ID:
            return
    except ValueError:  # InvalidHashError, or a number in it is none
        pass
    raise ValueError(
        "takes a hash that begins with $argon2id$, as `pillarbox accounts passwd` or `pillarbox console user` writes it"
    )


class Verifier:
    """Says whether a password is the one of a hash; never on the event loop's own thread."""

    def __init__(
        self, remember: timedelta = timedelta(minutes=10), clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`remember`: how long the answer yes holds without hashing again."""
        self._remember_s = remember.total_seconds()
        self._clock = clock
        # What is remembered is worthless without the key, and the key is nowhere but in this process.
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._judging: dict[bytes, asyncio.Task[bool]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, "passwords")
        self._nobodys = hash_password(secrets.token_hex(16))

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Whether the password is right. None is nobody's hash: no is then said as late as for a wrong password."""
        stored = self._nobodys if hashed is None else hashed
        digest = hashlib.blake2b(f"{stored}\0".encode() + _octets(password), key=self._key).digest()
        if self._known.get(digest, 0.0) > self._clock():
            return True
        task = self._judging.get(digest)
        if task is None:  # twenty connections of one program ask at once, and are answered by one hashing
            task = self._judging[digest] = asyncio.create_task(self._judge(stored, password, digest))
        return await asyncio.shield(task)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _judge(self, stored: str, password: str, digest: bytes) -> bool:
        try:
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._threads, _is_right, stored, password)
        finally:
            del self._judging[digest]
        if right:
            self._known[digest] = self._clock() + self._remember_s
            while len(self._known) > _MOST_REMEMBERED:
                self._known.popitem(last=False)
        return right


def _is_right(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, _octets(password))
    except (VerificationError, InvalidHashError):
        return False


def _octets(password: str) -> bytes:
    """Keyboards differ in how they compose a letter (RFC 8265 section 4.2)."""
    return unicodedata.normalize("NFC", password).encode()
