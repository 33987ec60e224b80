"""Finished messages from a file, a folder, an mbox or standard input."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

_FROM = b"From "


class Found(msgspec.Struct, frozen=True):
    """One message, and where it was found."""

    source: str
    content: bytes


class Source(msgspec.Struct, frozen=True):
    """Messages to read one after another; how many, where that is known before."""

    messages: Iterator[Found]
    count: int | None


def read_source(place: str) -> Source:
    """Messages of `place`: a file with one (.eml), an mbox, a folder of .eml files, or `-`, standard input.

    Raises OSError; ValueError for a place that can hold none.
    """
    if place == "-":
        content = sys.stdin.buffer.read()
        if not content:
            raise ValueError("standard input is empty; takes a message or an mbox")
        if not content.startswith(_FROM):
            return Source(iter([Found("standard input", content)]), 1)
        return Source(_named(split_mbox(content.splitlines(keepends=True)), "standard input"), None)
    path = Path(place)
    if path.is_dir():
        files = sorted(path.glob("*.eml"))
        if not files:
            raise ValueError(f"{place}: there is no .eml file in this folder")
        return Source((Found(str(file), file.read_bytes()) for file in files), len(files))
    with path.open("rb") as file:
        if file.read(len(_FROM)) == _FROM:
            file.seek(0)
            return Source(_named(_mbox(path), place), sum(1 for _ in split_mbox(file)))
        return Source(iter([Found(place, path.read_bytes())]), 1)


def split_mbox(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The messages of an mbox (RFC 4155, quoted as mboxrd does): `>From ` at a line's start loses one `>`.

    A line with `From ` begins a message only at the start or after an empty line.
    """
    message: list[bytes] | None = None
    after_empty = True
    for line in lines:
        if after_empty and line.startswith(_FROM):
            if message is not None:
                yield _without_last_empty_line(message)
            message = []
        elif message is not None:
            message.append(line[1:] if line.lstrip(b">").startswith(_FROM) and line.startswith(b">") else line)
        after_empty = not line.rstrip(b"\r\n")
    if message is not None:
        yield _without_last_empty_line(message)


def _without_last_empty_line(lines: list[bytes]) -> bytes:
    if lines and not lines[-1].rstrip(b"\r\n"):
        lines = lines[:-1]
    return b"".join(lines)


def _mbox(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from split_mbox(file)


def _named(messages: Iterable[bytes], source: str) -> Iterator[Found]:
    for number, content in enumerate(messages, 1):
        yield Found(f"{source}: message {number}", content)
