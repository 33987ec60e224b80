"""Requests and answers that flow for as long as they last: batches of mails, events.

They speak ASGI themselves: Litestar's streams read the request to notice that the client has gone, so that nobody else
could.
"""

import asyncio
from collections.abc import AsyncIterator

from litestar.types import Receive, Send
from litestar.types import Scope as AsgiScope

from services.console.problems import refusal


def only(method: str, scope: AsgiScope) -> None:
    """Raises Refusal (405) for a request of another method."""
    if scope.get("method") != method:
        refused = refusal(405)
        refused.headers["Allow"] = method
        raise refused


class Answering:
    """An answer that is sent piece by piece."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def begin(self, media_type: str, status: int = 200) -> None:
        """Send the head."""
        headers = [(b"content-type", media_type.encode()), (b"cache-control", b"no-store")]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, piece: bytes) -> None:
        """Send some of it."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        """That was all."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def gone(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def lines(receive: Receive, most: int, pause_s: float) -> AsyncIterator[list[bytes]]:
    """The lines of a body as they come, until the client goes; none where it has paused for that long.

    Raises Refusal for a line of more than `most` octets.
    """
    rest = bytearray()
    more = True
    while more:
        coming = asyncio.ensure_future(receive())
        try:
            if not (await asyncio.wait({coming}, timeout=pause_s))[0]:
                yield []
            event = await coming
        finally:
            coming.cancel()
        if event["type"] != "http.request":
            return
        more = event["more_body"]
        rest += event["body"]
        *whole, last = rest.split(b"\n")
        rest = bytearray(last)
        if whole:
            yield list(map(bytes, whole))
        if len(rest) > most:
            raise refusal(413, f"a line takes at most {most} octets", name="too-large")
        await asyncio.sleep(0)  # a fast client does not hold up the others
    if rest:
        yield [bytes(rest)]
