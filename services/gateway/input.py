"""What a client has sent and nobody has read yet: command lines, and contents up to their final dot.

A line ends in CRLF and in nothing else (RFC 5321 section 2.3.8). Who took a bare LF for the end of a line, or of a
content, would let a text that others have checked break out into commands: SMTP smuggling.
"""

import asyncio
from collections.abc import Callable

_LONGEST_LINE = 4096  # octets: RFC 5321 section 4.5.3.1.4 has 512, its extensions and a sign-in some more
_ENOUGH = 128 * 1024  # octets that wait; then the client does
_CRLF, _END = b"\r\n", b"\r\n.\r\n"


class NotALine(Exception):
    """What came is no command line; the message is the reply to it, after which the connection is closed."""


class Input:
    """The octets of one connection."""

    def __init__(self, hold: Callable[[bool], None]) -> None:
        """`hold(True)` stops the client from sending, `hold(False)` lets it go on."""
        self._hold = hold
        self._octets = bytearray()
        self._held = False
        self._came = asyncio.Event()

    @property
    def waiting(self) -> bool:
        """Whether something has come that nobody has read."""
        return bool(self._octets)

    def feed(self, octets: bytes) -> None:
        """This has come."""
        self._octets += octets
        self._came.set()
        if len(self._octets) > _ENOUGH and not self._held:
            self._held = True
            self._hold(True)

    async def line(self) -> bytes:
        """The next command line, with its CRLF. Raises NotALine."""
        while (end := self._octets.find(_CRLF)) < 0:
            _check(self._octets.removesuffix(b"\r"))  # perhaps half of a CRLF
            await self._more()
        line = bytes(self._octets[: end + 2])
        _check(line[:-2])
        del self._octets[: end + 2]
        self._let_go_on()
        return line

    async def content(self, take: Callable[[int], bool]) -> bytes | None:
        """What follows a 354, without the final dot and with the stuffed dots removed (RFC 5321 section 4.5.2).

        `take` is asked for each octet that is to be kept; once it says no the rest is read and thrown away: None.
        """
        content: bytearray | None = bytearray(_CRLF)  # the final dot may come at once
        tail = bytes(_CRLF)
        while True:
            while not self._octets:
                await self._more()
            # The end may have come in pieces.
            seen = len(tail)
            window = tail + self._octets
            end = window.find(_END)
            fresh = window[seen:] if end < 0 else window[seen : end + len(_END)]
            del self._octets[: len(fresh)]
            self._let_go_on()
            if content is not None and take(len(fresh)):
                content += fresh
            else:
                content = None
            if end >= 0:
                return None if content is None else _without_dots(content)
            tail = bytes(window[-(len(_END) - 1) :])

    async def _more(self) -> None:
        self._came.clear()
        await self._came.wait()

    def _let_go_on(self) -> None:
        if self._held and len(self._octets) <= _ENOUGH // 2:
            self._held = False
            self._hold(False)


def _check(text: bytes | bytearray) -> None:
    """Raises NotALine for what is none, whole or not."""
    if len(text) > _LONGEST_LINE:
        raise NotALine("521 5.5.2 the line is too long")
    if b"\n" in text or b"\r" in text:
        raise NotALine("521 5.5.2 a bare CR or LF; takes lines that end in CRLF")
    if b"\0" in text:
        raise NotALine("521 5.5.2 a NUL octet")


def _without_dots(content: bytearray) -> bytes:
    del content[-3:]  # the dot and its CRLF
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", _CRLF)
    return bytes(memoryview(content)[2:])
