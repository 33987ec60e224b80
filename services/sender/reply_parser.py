"""Octets from an SMTP server → replies (RFC 5321 section 4.2).

A line ends with a line feed; a carriage return before it belongs to the line end. Bare line feeds are taken, because
there is nothing to smuggle into a reply, and waiting for a CRLF that never comes would cost minutes.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from shared.smtp_reply import Reply

MAX_LINE = 2048  # octets; RFC 5321 section 4.5.3.1.5 says 512, some servers write more
MAX_REPLY = 32 * 1024  # octets of all lines of one reply

_CODES = {b"%d" % code: code for code in range(200, 600)}
_ENHANCED = re.compile(r"([245])\.(?:0|[1-9]\d{0,2})\.(?:0|[1-9]\d{0,2})(?= |$)")
_SHOWN = 60  # octets of a bad line that are quoted


class BadReply(Exception):
    """What the server said is no reply; nothing after it can be matched to a command any more."""


class ReplyParser:
    """Feed it octets as they come, in any portions."""

    def __init__(self) -> None:
        self._partial = b""
        self._lines: list[tuple[int, str]] = []  # those of a reply whose last line is still to come
        self._size = 0

    @property
    def pending(self) -> bool:
        """Whether a part of a reply has come, but not its end."""
        return bool(self._partial or self._lines)

    def feed(self, data: bytes) -> Iterator[Reply]:
        """Give the replies that are now complete. Raises BadReply, after the good replies that came before."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            # The fast path: most replies are of one line, and most lines were seen before.
            if not self._lines and line[3:4] != b"-":
                yield _single_line(line)
            elif reply := self._one_of_several(line):
                yield reply
        if len(self._partial) > MAX_LINE:
            raise BadReply("a line without end")

    def _one_of_several(self, line: bytes) -> Reply | None:
        code, last, text = _read_line(line)
        self._size += len(line)
        if self._size > MAX_REPLY:
            raise BadReply("a reply without end")
        if self._lines and code != self._lines[0][0]:
            raise BadReply(f"a reply with two codes, {self._lines[0][0]} and {code}")
        self._lines.append((code, text))
        if not last:
            return None
        texts = [text for _, text in self._lines]
        self._lines, self._size = [], 0
        enhanced = _enhanced(code, texts[0])
        return Reply(code, enhanced, "\n".join(_without(enhanced, text) for text in texts).rstrip("\n"))


@lru_cache(maxsize=256)
def _single_line(line: bytes) -> Reply:
    code, _, text = _read_line(line)
    enhanced = _enhanced(code, text)
    return Reply(code, enhanced, _without(enhanced, text))


def _read_line(line: bytes) -> tuple[int, bool, str]:
    """The code, whether the line is the last of its reply, and the text."""
    if len(line) > MAX_LINE:
        raise BadReply("a line without end")
    line = line.removesuffix(b"\r")
    code, separator = _CODES.get(line[:3]), line[3:4]
    if code is None or separator not in (b" ", b"-", b""):
        raise BadReply(f"not a reply: {_printable(line[:_SHOWN])!r}")
    return code, separator != b"-", _printable(line[4:]).rstrip()


def _printable(octets: bytes) -> str:
    """Text that is safe in a log line and in a DSN: what is no UTF-8 and no printable character is escaped."""
    text = octets.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    return " " if character == "\t" else character.encode("unicode_escape").decode("ascii")


def _enhanced(code: int, first_line: str) -> str:
    """The enhanced code, where there is one of the class of the reply's code (RFC 2034 section 4)."""
    match = _ENHANCED.match(first_line)
    return match[0] if match is not None and int(match[1]) == code // 100 else ""


def _without(enhanced: str, text: str) -> str:
    """The text of a line; a code other than that of the first line is a part of it."""
    head, _, rest = text.partition(" ")
    return rest.lstrip() if enhanced and head == enhanced else text
