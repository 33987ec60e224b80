"""How other commands talk to a running `pillarbox up`: lines of JSON over a socket in its home."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from cli.failures import CommandFailed, ExitCode

_ANSWER_TIME_S = 120.0  # a sender that is to end may have mails to finish; one that starts loads its code


class Scale(msgspec.Struct, frozen=True, tag="scale", forbid_unknown_fields=True):
    """Have so many senders."""

    senders: int


class Scaled(msgspec.Struct, frozen=True, tag="scaled"):
    """These run now."""

    senders: list[str]


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Nothing was done."""

    reason: str


Reply = Scaled | Refused


@asynccontextmanager
async def serving(path: Path, carry_out: Callable[[Scale], Awaitable[Reply]]) -> AsyncIterator[None]:
    """Answer requests while the block runs."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await _answer(line, carry_out)) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # it has gone, or its line has no end
            pass
        finally:
            writer.close()

    with short_name(path) as name:
        server = await asyncio.start_unix_server(talk, name)
    try:
        yield
    finally:
        server.close()


async def _answer(line: bytes, carry_out: Callable[[Scale], Awaitable[Reply]]) -> Reply:
    try:
        return await carry_out(msgspec.json.decode(line, type=Scale))
    except (msgspec.DecodeError, CommandFailed) as error:
        return Refused(str(error))


def request(path: Path, scale: Scale) -> Reply:
    """Ask the `pillarbox up` behind the socket. Raises CommandFailed when there is none or it is silent."""
    with socket.socket(socket.AF_UNIX) as connection, short_name(path) as name:
        connection.settimeout(_ANSWER_TIME_S)
        try:
            connection.connect(name)
            connection.sendall(msgspec.json.encode(scale) + b"\n")
            line = connection.makefile("rb").readline()
        except TimeoutError:
            raise CommandFailed(f"no answer from `pillarbox up` in {path.parent}", ExitCode.NO_ANSWER) from None
        except OSError:
            line = b""
    if not line:
        raise CommandFailed(f"no `pillarbox up` runs in {path.parent}", ExitCode.UNREACHABLE)
    reply: Reply = msgspec.json.decode(line, type=Reply)  # msgspec's types know unions from 0.23 on
    return reply


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """The same file by a name that fits a socket's address, which takes 107 octets (Linux)."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
