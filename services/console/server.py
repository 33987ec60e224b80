"""uvicorn, in the worker's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import structlog
import uvicorn
from litestar.types import ASGIApp

from services.console.environment import Places
from shared import listening

log = structlog.get_logger()

_STOP_WITHIN_S = 10
_IDLE_S = 30


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in (one for server in self.servers for one in server.sockets):
            host, port, *_ = listener.getsockname()
            log.info("listening", address=host, port=port)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The worker has its own."""
        yield


def bind(places: Places) -> socket.socket:
    """The socket to listen on; it does not yet. Raises InvalidEnvironment."""
    return listening.bind("PILLARBOX_CONSOLE_LISTEN", places.host, places.port, places.fd)


async def serve(application: ASGIApp, listener: socket.socket, stop: asyncio.Event) -> None:
    """Answer requests until asked to stop; what is under way is finished, within limits."""
    config = uvicorn.Config(
        application,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_STOP_WITHIN_S,
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopping.cancel()
    await serving
