"""Who publishes in a soak: numbered mails in bursts, confirms in a window, and each confirmed id to a file at once."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import uvloop

from shared.broker import Broker, Message, Properties
from shared.topology import SUBMIT
from soak.content import content_of
from soak.ledger import Ledger, id_of

_BURST = 25  # mails that wait for their confirms together
_MOST_BURSTS = 20
_LOOKS_EVERY_S = 0.02
_AGAIN_AFTER_S = 1.0
_LAST_CONFIRMS_WITHIN_S = 120.0
_ENDS_WITHIN_S = _LAST_CONFIRMS_WITHIN_S + 60.0


class Publisher:
    """Publishes in a thread, over a connection of its own that is opened again when it is lost."""

    def __init__(
        self,
        url: str,
        ledger: Ledger,
        file: Path,
        *,
        domains: int,
        rate: float,
        most_open: int,
        sunk: Callable[[], int],
        quota: int | None,
    ) -> None:
        """`rate` in mails a second at most. At most `most_open` are under way: `sunk` says how many are no more."""
        self.quota = quota  # not beyond this number
        self._url = url
        self._ledger = ledger
        self._path = file
        self._domains = domains
        self._rate = rate
        self._most_open = most_open
        self._sunk = sunk
        self._ends = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def __enter__(self) -> "Publisher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join(_ENDS_WITHIN_S)
        self.check()
        if self._thread.is_alive():
            raise TimeoutError(f"the publisher does not end: not within {_ENDS_WITHIN_S:g} s")

    def check(self) -> None:
        """Raise what has ended the thread, if something has."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            with self._path.open("a", encoding="ascii") as file:
                uvloop.run(self._publish_all(file))
        except BaseException as error:
            self._failure = error

    async def _publish_all(self, file: IO[str]) -> None:
        broker = Broker(self._url, "soak")
        await broker.start()
        under_way: set[asyncio.Task[None]] = set()
        due, looked = 0.0, time.monotonic()
        while not self._ends.is_set() and self._failure is None:
            now = time.monotonic()
            due, looked = min(due + (now - looked) * self._rate, _BURST * _MOST_BURSTS), now
            count = min(int(due), _BURST, self._room())
            if count < 1 or len(under_way) >= _MOST_BURSTS:
                await asyncio.sleep(_LOOKS_EVERY_S)
                continue
            due -= count
            burst = [self._ledger.publish() for _ in range(count)]
            task = asyncio.create_task(self._publish(broker, burst, file))
            under_way.add(task)
            task.add_done_callback(self._note_failure)
            task.add_done_callback(under_way.discard)
            await asyncio.sleep(0)
        if under_way:
            await asyncio.wait(under_way, timeout=_LAST_CONFIRMS_WITHIN_S)
        await broker.close()

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._failure = self._failure or task.exception()

    def _room(self) -> int:
        published = self._ledger.published
        room = self._most_open - (published - self._sunk())
        return room if self.quota is None else min(room, self.quota - published)

    async def _publish(self, broker: Broker, burst: list[int], file: IO[str]) -> None:
        """Until the broker has confirmed each: what it refuses is published again."""
        left = {id_of(number): number for number in burst}
        while left:
            refused = await broker.publisher.publish([self._message(number) for number in left.values()])
            again = {refusal.message.properties.message_id for refusal in refused}
            now = time.time()
            for id in [id for id in left if id not in again]:
                self._ledger.confirm(left.pop(id), now)
                file.write(f"{now:.3f} {id}\n")
            file.flush()
            if left:
                await asyncio.sleep(_AGAIN_AFTER_S)

    def _message(self, number: int) -> Message:
        id = id_of(number)
        to = f"{id}@d{number % self._domains}.example"
        headers = {"mail-from": "robot@sender.example", "rcpt-to": to}
        properties = Properties(message_id=id, content_type="message/rfc822", headers=headers)
        return Message(SUBMIT, "", content_of(id), properties)
