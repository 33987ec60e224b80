"""An SMTP server that writes down when it took each mail; it may take its time, or refuse.

python -m bench.noting_server --port 2525 --record FILE 127.0.0.1 127.1.0.2=2.0 127.1.0.3=silent

Each address may have a mood: SECONDS that every answer takes there, or `silent`, which greets nobody. With `--pause`
the answer to a mail takes so many seconds, and nothing else on its connection is looked at meanwhile. With
`--round-trip` it seems to be far away: whatever comes is looked at so many seconds later, all of it. The commands
XREFUSE and XTAKE have it refuse every recipient for now, and take all again.
"""

import argparse
import asyncio
import os
import re
import time
from collections.abc import Callable
from typing import Any

import uvloop

from bench.processes import NOTING_SINK, call_itself

LINE = 80  # octets of each line of the record: so their number is seen without reading them

_RECIPIENT = re.compile(rb"RCPT TO:<([^>]+)>", re.IGNORECASE)
_END = b"\r\n.\r\n"
_BACKLOG = 1024
_GREETING = b"220 sink.example\r\n"
_REFUSAL = b"451 4.3.0 not now\r\n"


class Book:
    """What all connections share."""

    def __init__(self, record: int, pause_s: float, round_trip_s: float) -> None:
        self.pause_s = pause_s
        self.round_trip_s = round_trip_s
        self.refuses = False
        self._record = record

    def note(self, recipients: list[bytes]) -> None:
        """These have their mail now."""
        now = time.monotonic()
        lines = ((b"%.6f %s" % (now, recipient)).ljust(LINE - 1) + b"\n" for recipient in recipients)
        os.write(self._record, b"".join(lines))


class Connection(asyncio.Protocol):
    """One connection: a server that takes pipelined commands."""

    def __init__(self, book: Book, slowness_s: float) -> None:
        self._book = book
        self._slowness_s = slowness_s
        self._buffer = b""
        self._in_content = False
        self._busy = False
        self._recipients: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        """Greet; it takes a round trip to connect, and another half of one each way."""
        self._transport = transport
        self._after(2 * self._book.round_trip_s, self._say, _GREETING)

    def data_received(self, data: bytes) -> None:
        """Answer each command, and each mail, one after another."""
        self._after(self._book.round_trip_s, self._take, data)

    def _after(self, seconds: float, do: Callable[[bytes], None], data: bytes) -> None:
        if seconds:
            # Calls that are put off for equally long keep their order.
            asyncio.get_running_loop().call_later(seconds, do, data)
        else:
            do(data)

    def _take(self, data: bytes) -> None:
        self._buffer += data
        if not self._transport.is_closing():
            self._go_on()

    def _go_on(self) -> None:
        while self._buffer and not self._busy:
            head, found, rest = self._buffer.partition(_END if self._in_content else b"\r\n")
            if not found:
                return
            self._buffer = rest
            if self._in_content:
                self._in_content = False
                self._say(b"250 2.0.0 taken\r\n", self._book.pause_s, taken=True)
            else:
                self._say(self._answer(head))

    def _answer(self, line: bytes) -> bytes:
        match line[:4].upper():
            case b"EHLO":
                return b"250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
            case b"MAIL" | b"RSET":
                self._recipients = []
            case b"RCPT":
                return self._answer_to_rcpt(line)
            case b"DATA" if self._recipients:
                self._in_content = True
                return b"354 go ahead\r\n"
            case b"DATA":
                return b"554 5.5.1 no valid recipients\r\n"
            case b"QUIT":
                return b"221 2.0.0 bye\r\n"
            case b"XREF" | b"XTAK":
                self._book.refuses = line.startswith(b"XREF")
            case _:
                return b"502 5.5.2 not here\r\n"
        return b"250 2.0.0 ok\r\n"

    def _answer_to_rcpt(self, line: bytes) -> bytes:
        found = _RECIPIENT.match(line)
        if found is None:
            return b"501 5.5.4 no recipient\r\n"
        if self._book.refuses:
            return _REFUSAL
        self._recipients.append(found.group(1))
        return b"250 2.1.5 ok\r\n"

    def _say(self, answer: bytes, pause_s: float = 0.0, *, taken: bool = False) -> None:
        if seconds := self._slowness_s + pause_s:
            self._busy = True
            asyncio.get_running_loop().call_later(seconds, self._say_now, answer, taken)
        else:
            self._write(answer, taken)

    def _say_now(self, answer: bytes, taken: bool) -> None:
        self._busy = False
        if not self._transport.is_closing():
            self._write(answer, taken)
            self._go_on()

    def _write(self, answer: bytes, taken: bool) -> None:
        if taken:
            self._book.note(self._recipients)
        self._transport.write(answer)
        if answer.startswith(b"221"):
            self._transport.close()


async def serve(addresses: list[str], port: int, book: Book) -> None:
    """Serve for ever; at the first address last: who is taken there is taken everywhere."""
    loop = asyncio.get_running_loop()
    for each in reversed(addresses):
        address, _, mood = each.partition("=")
        kind = asyncio.Protocol if mood == "silent" else lambda slow=float(mood or 0): Connection(book, slow)
        await loop.create_server(kind, address, port, backlog=_BACKLOG)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m bench.noting_server", description=__doc__)
    parser.add_argument("addresses", nargs="+")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--record", required=True)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--round-trip", type=float, default=0.0)
    options = parser.parse_args()
    call_itself(NOTING_SINK)
    record = os.open(options.record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    uvloop.run(serve(options.addresses, options.port, Book(record, options.pause, options.round_trip)))


if __name__ == "__main__":
    main()
