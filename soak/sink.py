"""A receiver with moods, a process of its own: it writes down what becomes of every mail, before it answers.

python -m soak.sink --addresses 127.0.0.11,127.0.0.12 --port 2525 --record FILE --seed 1

A mail's id is the local part of its recipient. By chance (of a known rate, from the seed and the id) it refuses for
good, for now at RCPT or after the dot, hangs up at RCPT, within the content or before the last answer without having
taken the mail, or takes it and hangs up without saying so. It compares each content with the one of that id.
"""

import argparse
import asyncio
import hashlib
import itertools
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import uvloop

from soak.content import is_content_of

_RECIPIENT = re.compile(rb"RCPT TO:<([^@>]+)@", re.IGNORECASE)
_numbers = itertools.count(1)

Fate = Literal[
    "taken",
    "lost_reply",
    "refused",
    "full",
    "deferred",
    "dropped",
    "dropped_at_rcpt",
    "dropped_in_data",
    "garbled",  # taken, and it is not what was published under this id
]


class Rates(NamedTuple):
    """Shares of the tries, 0 to 1."""

    refused: float = 0.01  # 550 at RCPT, at every try of the same mail
    full: float = 0.02  # 452 at RCPT
    dropped_at_rcpt: float = 0.001  # the connection ends instead of an answer to RCPT
    dropped_in_data: float = 0.001  # the connection ends when the content begins to come
    deferred: float = 0.01  # 451 after the dot
    dropped: float = 0.002  # the connection ends instead of an answer to the dot; the mail is not taken
    lost_reply: float = 0.002  # the mail is taken, and the connection ends instead of the 250


class Record(msgspec.Struct, frozen=True):
    """One line of the record: what became of one try."""

    time: float
    id: str
    connection: int
    fate: Fate


class Moods:
    """Decides by seed, id and the number of the try: a run can be repeated."""

    def __init__(self, seed: int, rates: Rates) -> None:
        self._seed = seed
        self._rates = rates
        self._tries: Counter[str] = Counter()

    def at_rcpt(self, id: str) -> Fate:
        """What RCPT is answered."""
        if self._draw(id, "for good") < self._rates.refused:
            return "refused"
        self._tries[id] += 1
        return self._one_of(("full", "dropped_at_rcpt"), id, "rcpt")

    def at_data(self, id: str) -> Fate:
        """What happens to the content, within it or after the final dot."""
        fate = self._one_of(("dropped_in_data", "deferred", "dropped", "lost_reply"), id, "data")
        if fate == "taken":
            del self._tries[id]  # of millions, only those under way
        return fate

    def _one_of(self, moods: Sequence[Fate], id: str, step: str) -> Fate:
        draw = self._draw(id, self._tries[id], step)
        for mood in moods:
            share: float = getattr(self._rates, mood)
            if draw < share:
                return mood
            draw -= share
        return "taken"

    def _draw(self, *what: object) -> float:
        # A hash, because seeding a generator for each question takes ten times as long.
        digest = hashlib.blake2b(repr((self._seed, *what)).encode(), digest_size=4).digest()
        return int.from_bytes(digest) / 2**32


class Receiver(asyncio.Protocol):
    """One connection: a server that takes pipelined commands."""

    def __init__(self, moods: Moods, record: int) -> None:
        self._moods = moods
        self._record = record
        self._number = next(_numbers)
        self._buffer = b""
        self._in_data = False
        self._ids: list[str] = []
        self._fates: dict[str, Fate] = {}  # of the content that comes

    def connection_made(self, transport: Any) -> None:
        """Greet."""
        self._transport = transport
        transport.write(b"220 sink.example\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer each command, and each mail."""
        self._buffer += data
        while self._buffer and not self._transport.is_closing():
            if self._in_data and "dropped_in_data" in self._fates.values():
                self._hang_up_in_data()
                return
            ending = b"\r\n.\r\n" if self._in_data else b"\r\n"
            head, found, rest = self._buffer.partition(ending)
            if not found:
                return
            self._buffer = rest
            if self._in_data:
                self._in_data = False
                self._after_the_dot(head + b"\r\n")
            else:
                self._answer(head)

    def _answer(self, line: bytes) -> None:
        match line[:4].upper():
            case b"EHLO":
                self._transport.write(b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 50000000\r\n")
            case b"MAIL" | b"RSET":
                self._ids = []
                self._transport.write(b"250 2.1.0 ok\r\n")
            case b"RCPT":
                self._rcpt(line)
            case b"DATA" if self._ids:
                self._in_data = True
                self._fates = {id: self._moods.at_data(id) for id in self._ids}
                self._transport.write(b"354 go ahead\r\n")
            case b"DATA":
                self._transport.write(b"554 5.5.1 no valid recipients\r\n")
            case b"QUIT":
                self._transport.write(b"221 2.0.0 bye\r\n")
                self._transport.close()
            case _:
                self._transport.write(b"502 5.5.2 not here\r\n")

    def _rcpt(self, line: bytes) -> None:
        found = _RECIPIENT.match(line)
        id = found.group(1).decode() if found else ""
        match self._moods.at_rcpt(id):
            case "refused":
                self._write_down(id, "refused")
                self._transport.write(b"550 5.1.1 no such mailbox\r\n")
            case "full":
                self._write_down(id, "full")
                self._transport.write(b"452 4.2.2 mailbox full\r\n")
            case "dropped_at_rcpt":
                self._write_down(id, "dropped_at_rcpt")
                self._transport.abort()
            case _:
                self._ids.append(id)
                self._transport.write(b"250 2.1.5 ok\r\n")

    def _hang_up_in_data(self) -> None:
        for id in self._ids:
            self._write_down(id, "dropped_in_data")
        self._transport.abort()

    def _after_the_dot(self, content: bytes) -> None:
        for id, mood in self._fates.items():  # one recipient a mail
            fate = mood if is_content_of(id, content) else "garbled"
            self._write_down(id, fate)
            match fate:
                case "deferred":
                    self._transport.write(b"451 4.3.0 try again\r\n")
                case "dropped" | "lost_reply":
                    self._transport.abort()
                case _:
                    self._transport.write(b"250 2.0.0 taken\r\n")
        self._ids = []

    def _write_down(self, id: str, fate: Fate) -> None:
        # One write a line, to a file opened for appending: what is there is whole, whatever happens to this process.
        os.write(self._record, msgspec.json.encode(Record(time.time(), id, self._number, fate)) + b"\n")


async def serve(addresses: list[str], port: int, record: int, moods: Moods) -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(lambda: Receiver(moods, record), address, port) for address in addresses]
    await asyncio.gather(*(server.serve_forever() for server in servers))


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--addresses", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--record", required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    record = os.open(options.record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    uvloop.run(serve(options.addresses.split(","), options.port, record, Moods(options.seed, Rates())))


if __name__ == "__main__":
    main()
