"""An SMTP server that follows a script, over real sockets: for what no real server does on purpose.

    async with scripted(certificate, '''
        S: 220 mx.example        what it sends; lines without a break go in one segment
        C: EHLO us.example       what the client has to send next; "C: ..." is whatever comes until the next script line
        H: handshake             TLS from here on
        W: waits                 it says nothing and waits until the client hangs up
        X: hangs up              it closes the connection
    ''') as mx:
        …  mx.port

Each connection follows the next script; after the last of them the port is closed to further ones. What the client
sends otherwise than the script says is raised at the end of the block. At the end of a script the server hangs up.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.certificates import Certificate
from tests.support.transcript import turns

_PATIENCE_S = 20.0


class ScriptedServer:
    """The server."""

    def __init__(self, scripts: tuple[str, ...], certificate: Certificate | None, address: tuple[str, int]) -> None:
        self.address, self.port = address
        self.connections = 0
        self.heard: list[bytes] = []  # what the client said, by connection
        self.sni: list[str | None] = []  # the server names asked for in handshakes
        self.failures: list[str] = []
        self._scripts = list(scripts)
        self._certificate = certificate
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._meet, self.address, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def finish(self) -> None:
        """Let the scripts come to their ends."""
        assert self._server is not None
        self._server.close()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=_PATIENCE_S)
            for task in late:
                task.cancel()
                self.failures.append("the script has not come to its end")

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        number, self.connections = self.connections, self.connections + 1
        self.heard.append(b"")
        if number == len(self._scripts) - 1 and self._server is not None:
            self._server.close()
        try:
            await asyncio.wait_for(self._follow(self._scripts[number], number, reader, writer), _PATIENCE_S)
        except (ConnectionError, TimeoutError) as error:
            self.failures.append(f"connection {number}: {error!r}")
        finally:
            self._running.discard(task)
            with suppress(OSError):
                writer.close()
                await writer.wait_closed()

    async def _follow(
        self, script: str, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for side, lines in turns(script):
            match side:
                case "S":
                    writer.write("".join(f"{line}\r\n" for line in lines).encode())
                    await writer.drain()
                case "C":
                    for line in lines:
                        await self._expect(line, number, reader)
                case "H":
                    assert self._certificate is not None
                    context = self._certificate.server_context()
                    context.sni_callback = lambda _socket, name, _context: self.sni.append(name)
                    await writer.start_tls(context)
                case "W":
                    await self._wait(reader)
                case "X":
                    return

    async def _expect(self, line: str, number: int, reader: asyncio.StreamReader) -> None:
        if line == "...":
            self.heard[number] += await reader.read(65536)
            return
        heard = await reader.readline()
        self.heard[number] += heard
        if heard != f"{line}\r\n".encode():
            self.failures.append(f"connection {number}: expected {line!r}, heard {heard!r}")

    async def _wait(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while await reader.read(65536):
                pass


@asynccontextmanager
async def scripted(
    *scripts: str, certificate: Certificate | None = None, address: tuple[str, int] = ("127.0.0.1", 0)
) -> AsyncIterator[ScriptedServer]:
    """A server for these connections, one after another."""
    server = ScriptedServer(scripts, certificate, address)
    await server.start()
    try:
        yield server
    finally:
        await server.finish()
    assert not server.failures
