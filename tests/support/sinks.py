"""An SMTP server (aiosmtpd) that remembers every mail and does what a test tells it: refuse, pause, hang up.

    with RecordingSink() as sink:
        sink.answer("RCPT", "full@mx.example", "452 4.2.2 mailbox full", times=1)
        ...
        [mail] = sink.wait_for(1)

Rules name a verb: CONNECT, EHLO, STARTTLS, MAIL, RCPT, DATA, or "." for the final dot. For MAIL the address is the
reverse-path, for DATA and "." any of the recipients; "*" is every address. The newest matching rule wins.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping

from tests.support.certificates import Certificate
from tests.support.ports import free_port
from tests.support.sink_memory import Connection, Pause, SinkMemory, SunkMail
from tests.support.sink_protocol import SinkOptions, SinkProtocol

__all__ = ["Connection", "Pause", "RecordingSink", "SunkMail"]


class RecordingSink(SinkMemory):
    """The server, in a thread of its own; a context manager. It starts again on the port it had."""

    def __init__(
        self,
        *,
        certificate: Certificate | None = None,
        implicit_tls: bool = False,
        require_tls: bool = False,
        users: Mapping[str, str] | None = None,
        auth_in_plaintext: bool = False,
        breaks_handshake: bool = False,
        greylists: bool = False,
        pipelining: bool = True,
        smtputf8: bool = True,
        name: str = "sink.example",
        address: str = "127.0.0.1",
        port: int | None = None,
    ) -> None:
        """With a `certificate` it offers STARTTLS, or speaks TLS at once (`implicit_tls`).

        `breaks_handshake`: it offers STARTTLS, says 220 and then talks nonsense. `users`: names with passwords; given,
        nobody else may send. `greylists`: the first RCPT of each pair of sender and recipient is refused with 450.
        `address` is one of this machine; without a `port` it takes a free one.
        """
        super().__init__(greylists=greylists)
        self.address = address
        self.port = free_port() if port is None else port
        self._options = SinkOptions(
            certificate=certificate,
            implicit_tls=implicit_tls,
            require_tls=require_tls,
            users=users or {},
            auth_in_plaintext=auth_in_plaintext,
            breaks_handshake=breaks_handshake,
            pipelining=pipelining,
            smtputf8=smtputf8,
            name=name,
        )
        self._thread: threading.Thread | None = None
        self._end: Callable[[], object] = lambda: None
        self._part: Callable[[str], object] = lambda _reply: None

    def start(self) -> None:
        """Listen. What it remembers stays."""
        ready = threading.Event()
        failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(ready, failures), name=f"sink {self.port}", daemon=True)
        self._thread.start()
        ready.wait()
        if failures:
            raise failures[0]

    def stop(self) -> None:
        """Close the port and every connection, as a crash would."""
        if self._thread is not None:
            self._end()
            self._thread.join()
            self._thread = None

    def say_goodbye(self, reply: str) -> None:
        """Say this to every client, asked or not, hang up, and wait until they have gone."""
        self._part(reply)
        self.wait_until_idle()

    def __enter__(self) -> "RecordingSink":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, ready: threading.Event, failures: list[BaseException]) -> None:
        try:
            asyncio.run(self._serve(ready))
        except OSError as error:
            failures.append(error)
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        self._end = lambda: loop.call_soon_threadsafe(stopped.set)
        # Clients that are killed break off anywhere; that is no failure of the server.
        loop.set_exception_handler(lambda _loop, _context: None)
        protocols: list[SinkProtocol] = []

        def make_protocol() -> SinkProtocol:
            protocols.append(SinkProtocol(self, self._options))
            return protocols[-1]

        def part(reply: str) -> None:
            for protocol in protocols:
                protocol.part(reply)

        self._part = lambda reply: loop.call_soon_threadsafe(part, reply)

        certificate = self._options.certificate if self._options.implicit_tls else None
        server = await loop.create_server(
            make_protocol, self.address, self.port, ssl=certificate.server_context() if certificate else None
        )
        ready.set()
        await stopped.wait()
        server.close()
        for protocol in protocols:
            protocol.cut()
        await asyncio.sleep(0)  # the transports tell their protocols
