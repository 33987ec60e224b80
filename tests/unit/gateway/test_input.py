"""Lines and contents, however the octets come in."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.input import Input, NotALine

T = TypeVar("T")


def everything(_octets: int) -> bool:
    return True


def run(scene: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(scene, 10))


async def fed(*parts: bytes) -> Input:
    made = Input(lambda _hold: None)
    for part in parts:
        made.feed(part)
    return made


async def lines(count: int, *parts: bytes) -> list[bytes]:
    made = await fed(*parts)
    return [await made.line() for _ in range(count)]


async def content(*parts: bytes) -> tuple[bytes | None, bytes]:
    """Each part comes when the former has been read; what is left over afterwards."""
    made = await fed()
    reading = asyncio.create_task(made.content(everything))
    for part in parts:
        made.feed(part)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    found = await reading
    return found, bytes(made._octets)


def test_lines_come_one_by_one_however_they_were_sent():
    assert run(lines(3, b"EHLO x\r\nMAIL", b" FROM:<>\r", b"\nQUIT\r\n")) == [
        b"EHLO x\r\n",
        b"MAIL FROM:<>\r\n",
        b"QUIT\r\n",
    ]


@pytest.mark.parametrize(
    "octets",
    [
        b"RCPT TO:<a@x>\nRCPT TO:<b@y>\r\n",  # a bare LF would make two commands of it
        b"RCPT TO:<a@x>\rRCPT TO:<b@y>\r\n",
        b"NOOP\r\r\n",
        b"NOOP\n",  # found before the rest of the line has come
        b"NOOP\rx",
        b"NO\0OP\r\n",
        b"x" * 5000,
        b"x" * 5000 + b"\r\n",
    ],
)
def test_what_is_no_line_is_refused_as_a_whole(octets: bytes):
    with pytest.raises(NotALine, match=r"^521 5\.5\.2 "):
        run(lines(1, octets))


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..a\r\n..\r\n.b\r\n.\r\n", b".a\r\n.\r\nb\r\n"),
        (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n"),
        (b"a\n.\r\nb\r\n.\r\n", b"a\n.\r\nb\r\n"),
        (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\nb\r\n"),  # the dot was stuffed, as far as we know
        (b"a\r.\rb\r\n.\r\n", b"a\r.\rb\r\n"),
        (b"a\r.\r\nb\r\n.\r\n", b"a\r.\r\nb\r\n"),
        (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n"),
        (b"a\0\r\n.\r\n", b"a\0\r\n"),
    ],
)
def test_a_content_ends_with_crlf_dot_crlf_and_with_nothing_else(octets: bytes, expected: bytes):
    after = b"MAIL FROM:<>\r\n"
    assert run(content(octets + after)) == (expected, after)
    assert run(content(*(bytes([octet]) for octet in octets), after))[0] == expected


@given(
    st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r", b"\n", b"\r\n."]), max_size=12).map(b"".join),
    st.lists(st.integers(0, 40), max_size=5).map(sorted),
)
def test_where_the_octets_are_cut_makes_no_difference(octets: bytes, cuts: list[int]):
    whole = octets + b"\r\n.\r\n" + b"QUIT\r\n"
    parts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    found, left = run(content(*(part for part in parts if part)))
    end = (b"\r\n" + whole).index(b"\r\n.\r\n")
    assert left == whole[end + 3 :]
    assert found == (b"\r\n" + whole)[: end + 2].replace(b"\r\n.", b"\r\n")[2:]


def test_what_is_too_much_is_read_to_its_end_and_thrown_away():
    async def scene() -> tuple[bytes | None, bytes]:
        made = await fed(b"a" * 1000, b"\r\n.\r\nQUIT\r\n")
        return await made.content(lambda _octets: False), await made.line()

    assert run(scene()) == (None, b"QUIT\r\n")


def test_a_client_that_sends_ahead_is_made_to_wait_and_let_go_on():
    async def scene() -> list[bool]:
        told: list[bool] = []
        made = Input(told.append)
        made.feed(b"NOOP\r\n" * 30_000)
        for _ in range(30_000):
            await made.line()
        return told

    assert run(scene()) == [True, False]
