"""Where clients come in: listening sockets, and the connections that were let in through them.

Connections are accepted here and not by the event loop's server, which tells nobody of those in a TLS handshake.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog

from services.gateway.crowd import Crowd, plain_address
from services.gateway.dialogue import Dialogue
from services.gateway.mended_smtp import HANDSHAKE_WITHIN_S, MendedSMTP, Terms
from services.gateway.place import ListenAt, Place
from services.gateway.room import largest
from services.gateway.tls import Certificate
from shared import listening, metrics
from shared.settings import Settings
from shared.trouble import Trouble

log = structlog.get_logger()

_BACKLOG = 500
_PAUSE_S = 0.2  # after what keeps us from accepting, such as a lack of file descriptors
_STOPS_WITHIN_S = 20.0  # longer, and whoever stops us takes to `kill -9`


def bind(where: ListenAt) -> socket.socket:
    """A socket with its address; it does not listen yet. Raises InvalidEnvironment."""
    variable = "PILLARBOX_GATEWAY_SMTPS" if where.implicit_tls else "PILLARBOX_GATEWAY_SMTP"
    return listening.bind(variable, where.host, where.port, where.descriptor)


class Doors:
    """All of them."""

    def __init__(
        self, place: Place, certificate: Certificate | None, settings: Callable[[], Settings], dialogue: Dialogue
    ) -> None:
        self._place = place
        self._certificate = certificate
        self._settings = settings
        self._dialogue = dialogue
        self._crowd = Crowd(lambda: settings().gateway)
        self._open: set[MendedSMTP] = set()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._trouble = Trouble("not_accepting")

    async def receive(self, listener: socket.socket, where: ListenAt) -> None:
        """Let clients in through one of them, for ever."""
        listener.setblocking(False)
        listener.listen(_BACKLOG)
        log.info("listening", address=_shown(listener), implicit_tls=where.implicit_tls)
        while True:
            try:
                client, peer = await asyncio.get_running_loop().sock_accept(listener)
            except OSError as error:
                self._trouble.seen(str(error), next="try_again")
                await asyncio.sleep(_PAUSE_S)
                continue
            self._trouble.over()
            self._meet(client, str(peer[0]), where.implicit_tls)

    async def close(self) -> None:
        """Let the mails that are under way come to their end, and tell all others to come again."""
        for handshake in self._handshakes:
            handshake.cancel()
        for connection in list(self._open):
            connection.part()
        if self._open:
            self._empty.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), _STOPS_WITHIN_S)
        for connection in list(self._open):
            connection.cut()

    def _meet(self, client: socket.socket, address: str, implicit_tls: bool) -> None:
        if not self._crowd.enter(address):
            metrics.GATEWAY_TURNED_AWAY.inc()
            log.warning("turned_away", client=address, next="client_tries_again")
            with suppress(OSError):
                if not implicit_tls:
                    client.send(b"421 4.7.0 too many connections; try again later\r\n")
            client.close()
            return
        metrics.GATEWAY_CONNECTIONS.inc()
        task = asyncio.create_task(self._let_in(client, address, implicit_tls))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _let_in(self, client: socket.socket, address: str, implicit_tls: bool) -> None:
        connection = MendedSMTP(
            self._dialogue, self._terms(address, implicit_tls), lambda gone: self._left(gone, address)
        )
        self._open.add(connection)
        secured: dict[str, Any] = {}
        if implicit_tls:
            assert self._certificate is not None
            secured = {"ssl": self._certificate.context, "ssl_handshake_timeout": HANDSHAKE_WITHIN_S}
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, client, **secured)
        except (OSError, asyncio.CancelledError) as error:
            log.info("handshake_failed", client=address, reason=str(error) or type(error).__name__)
            client.close()
            connection.connection_lost(None)

    def _left(self, connection: MendedSMTP, address: str) -> None:
        self._open.discard(connection)
        self._crowd.leave(address)
        metrics.GATEWAY_CONNECTIONS.dec()
        if not self._open:
            self._empty.set()

    def _terms(self, address: str, implicit_tls: bool) -> Terms:
        limits = self._settings().gateway
        return Terms(
            name=self._place.name,
            tls=None if self._certificate is None or implicit_tls else self._certificate.context,
            may_sign_in_plainly=self._place.plaintext_on_loopback and plain_address(address).is_loopback,
            idle_s=limits.idle.total_seconds(),
            most_errors=limits.errors,
            max_size=lambda: largest(self._settings().sending.max_size),
        )


def _shown(listener: socket.socket) -> str:
    name = listener.getsockname()
    return f"[{name[0]}]:{name[1]}" if listener.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"
