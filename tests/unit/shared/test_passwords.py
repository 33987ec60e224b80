"""Passwords, hashed and remembered."""

import asyncio
from datetime import timedelta
from functools import cache
from unittest import mock

import pytest

from shared import passwords
from shared.passwords import Verifier, check_hash, hash_password


@cache
def hashed() -> str:
    return hash_password("correct horse")


class Counted:
    """Counts how often the real judgement is asked for."""

    def __init__(self) -> None:
        self.times = 0
        self._real = passwords._is_right

    def __call__(self, stored: str, password: str) -> bool:
        self.times += 1
        return self._real(stored, password)


@pytest.fixture
def counted() -> object:
    counter = Counted()
    with mock.patch.object(passwords, "_is_right", counter):
        yield counter


async def answers(verifier: Verifier, *guesses: str, of: str | None) -> list[bool]:
    try:
        return [await verifier.verify(of, guess) for guess in guesses]
    finally:
        verifier.close()


def test_a_hash_is_argon2id_and_never_the_same():
    assert hashed().startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert hash_password("correct horse") != hashed()
    check_hash(hashed())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "correct horse",
        "$argon2id$",
        "$2b$12$abcdefghijklmnopqrstuv",
        "plain:$argon2id$x",
        "$argon2id$v=x$m=a,t=b,p=c$aaaa$bbbb",
    ],
)
def test_what_is_no_hash_is_refused_and_not_repeated(text: str):
    with pytest.raises(ValueError, match=r"^takes a hash that begins with \$argon2id\$, as .* writes it$"):
        check_hash(text)


def test_only_the_right_password_is_right(counted):
    guesses = ["correct horse", "correct horse ", "", "battery staple", "correct horse"]
    assert asyncio.run(answers(Verifier(), *guesses, of=hashed())) == [True, False, False, False, True]
    assert counted.times == 4  # the last one was remembered


def test_nobody_has_a_password_and_finding_out_takes_as_long(counted):
    assert asyncio.run(answers(Verifier(), "correct horse", "correct horse", of=None)) == [False, False]
    assert counted.times == 2


def test_a_letter_is_the_same_however_it_was_composed():
    decomposed = "gru\u0308n"
    assert asyncio.run(answers(Verifier(), decomposed, of=hash_password("gr\u00fcn"))) == [True]


def test_what_was_right_is_judged_again_after_a_while(counted):
    now = [0.0]
    verifier = Verifier(timedelta(minutes=10), lambda: now[0])

    async def scene() -> None:
        for at in (0.0, 599.0, 601.0):
            now[0] = at
            assert await verifier.verify(hashed(), "correct horse")
        verifier.close()

    asyncio.run(scene())
    assert counted.times == 2


def test_another_hash_is_another_question(counted):
    async def scene() -> None:
        verifier = Verifier()
        assert await verifier.verify(hashed(), "correct horse")
        assert not await verifier.verify(hash_password("battery staple"), "correct horse")
        verifier.close()

    asyncio.run(scene())
    assert counted.times == 2


def test_who_asks_the_same_at_once_is_answered_by_one_hashing(counted):
    async def scene() -> list[bool]:
        verifier = Verifier()
        found = await asyncio.gather(*(verifier.verify(hashed(), "correct horse") for _ in range(20)))
        verifier.close()
        return found

    assert asyncio.run(scene()) == [True] * 20
    assert counted.times == 1
