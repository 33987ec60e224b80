"""SMTP servers that throw mail away: at once, or one octet a second."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Sequence, Set
from typing import Any, Self

_END = b"\r\n.\r\n"
_GROUP = b"DATA\r\n"
_READ = 256 * 1024
_BACKLOG = 256


class Receivers:
    """As many servers as it is given ports for, in a thread of their own; a context manager."""

    def __init__(self, count: int, *, pause_s: float = 0.0) -> None:
        """`pause_s`: between two octets of a mail; 0 takes it as it comes."""
        self._pause_s = pause_s
        self._sockets = [_listening(small=pause_s > 0) for _ in range(count)]
        self.ports: Sequence[int] = [one.getsockname()[1] for one in self._sockets]
        self.mails = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="receivers", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        for one in self._sockets:
            self._loop.run_until_complete(asyncio.start_server(self._serve, sock=one, limit=_READ))
        self._loop.run_forever()
        self._loop.run_until_complete(_cancelled(asyncio.all_tasks(self._loop)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.write(b"220 receiver.example\r\n")
            while line := await reader.readline():
                writer.write(_answer(line))
                if line == _GROUP:
                    await self._take(reader)
                    writer.write(b"250 2.0.0 taken\r\n")
                elif line == b"QUIT\r\n":
                    break
        writer.close()

    async def _take(self, reader: asyncio.StreamReader) -> None:
        if self._pause_s:
            while await reader.readexactly(1):
                await asyncio.sleep(self._pause_s)
        await _throw_away(reader)
        self.mails += 1


async def _cancelled(tasks: Set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _throw_away(reader: asyncio.StreamReader) -> None:
    """Read to the end of a mail; the commands behind it stay."""
    while True:
        try:
            await reader.readuntil(_END)
            return
        except asyncio.LimitOverrunError as error:
            await reader.readexactly(error.consumed)


def _answer(line: bytes) -> bytes:
    match line[:4].upper():
        case b"EHLO":
            return b"250-receiver.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
        case b"DATA":
            return b"354 go ahead\r\n"
        case b"QUIT":
            return b"221 2.0.0 bye\r\n"
        case _:
            return b"250 2.0.0 ok\r\n"


def _listening(*, small: bool) -> socket.socket:
    one = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    if small:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # inherited; else it takes much before anyone reads
    return one
