"""How much content a sender has in its memory: claims wait here until there is room for what they bring."""

import asyncio
from collections import deque
from collections.abc import Sequence

LARGE = 1024 * 1024  # octets: larger mails share a room of their own, so that small ones never wait for them
_MOST = 96 * 1024 * 1024  # octets of small mails, and as many of large ones


class Room:
    """Octets for contents, given out in the order in which they are asked for."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._taken = 0
        self._asked: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, octets: int, patience_s: float) -> bool:
        """Wait for so much, for so long; whether it was had. One mail that is larger than all of it has it alone."""
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append((octets, given))
        self._give_out()
        try:
            if not given.done():
                await asyncio.wait({given}, timeout=patience_s)
        except asyncio.CancelledError:
            if given.done():
                self.give(octets)
            raise
        finally:
            had = given.done()
            given.cancel()
            self._give_out()
        return had

    def give(self, octets: int) -> None:
        """So much is needed no more."""
        self._taken -= octets
        self._give_out()

    def _give_out(self) -> None:
        while self._asked:
            octets, given = self._asked[0]
            if not given.done():
                if self._taken and self._taken + octets > self._most:
                    return
                self._taken += octets
                given.set_result(None)
            self._asked.popleft()


class Rooms:
    """One for small mails, and one for large ones."""

    def __init__(self, most: int = _MOST) -> None:
        self._small, self._large = Room(most), Room(most)

    async def take(self, sizes: Sequence[int], patience_s: float) -> bool:
        """For several small mails, or one large one."""
        return await self._of(max(sizes)).take(sum(sizes), patience_s)

    def give(self, size: int) -> None:
        """For one mail."""
        self._of(size).give(size)

    def _of(self, size: int) -> Room:
        return self._large if size > LARGE else self._small
