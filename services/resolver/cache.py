"""What is known by name, for as long as it holds; those who ask for one name at once share one look-up."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")


class Kept(Struct, Generic[T], frozen=True):
    """A value, and the moment of the cache's clock at which it ends."""

    value: T
    until: float


class SharedCache(Generic[T]):
    """Keeps what `find` gives, at most `size` entries, the oldest leaving first."""

    def __init__(
        self, find: Callable[[str], Awaitable[Kept[T]]], size: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._find = find
        self._size = size
        self._clock = clock
        self._kept: dict[str, Kept[T]] = {}
        self._flights: dict[str, asyncio.Task[Kept[T]]] = {}

    def held(self, name: str) -> Kept[T] | None:
        """What is known of the name, without waiting."""
        kept = self._kept.get(name)
        return kept if kept is not None and self._clock() < kept.until else None

    async def get(self, name: str) -> Kept[T]:
        """What is known of the name, looked up where nothing is. Raises what `find` raises; that is not kept."""
        kept = self.held(name)
        if kept is not None:
            return kept
        flight = self._flights.get(name)
        if flight is None:
            flight = self._flights[name] = asyncio.create_task(self._look_up(name))
            flight.add_done_callback(lambda _: self._flights.pop(name))
        # Shielded: the look-up is everybody's, and one asker's end must not be the others'.
        return await asyncio.shield(flight)

    async def _look_up(self, name: str) -> Kept[T]:
        kept = await self._find(name)
        self._kept.pop(name, None)  # so that a renewed entry counts as young
        self._kept[name] = kept
        if len(self._kept) > self._size:
            del self._kept[next(iter(self._kept))]
        return kept
