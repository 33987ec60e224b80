"""The claims of one sender: gathered over its lanes into one transaction at a time, and renewed while it works."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec
import structlog

from services.sender.room import Rooms
from shared import metrics
from shared.mail_store.claim import Claim, claim, renew_claims
from shared.mail_store.states import CLAIM_LEASE
from shared.mail_store.thread import StoreThread

log = structlog.get_logger()

_RENEW_AFTER_S = CLAIM_LEASE.total_seconds() / 3
# Of a claim that is older than that, because this process slept or the store was away, nothing more is sent: another
# sender may have the mail before it is with the server.
_TRUSTED_S = CLAIM_LEASE.total_seconds() - 15
# A mail that may end this sender waits until all else is out of its hands, and all else waits for its outcome. Longer,
# and a slow site would hold up the mail of all others.
_ALONE_WITHIN_S = 10.0


class _Wanted(msgspec.Struct, frozen=True, eq=False):
    """Recipients that a site asks for, and the answer that it waits for."""

    numbers: Sequence[int]
    answer: asyncio.Future[dict[int, Claim]]


class ClaimDesk:
    """The gate between "can still be retracted" and "in flight"."""

    def __init__(self, thread: StoreThread, worker: str) -> None:
        self.rooms = Rooms()  # for the contents of what is claimed
        self._thread = thread
        self._worker = worker
        self._wanted: list[_Wanted] = []
        self._alone: deque[_Wanted] = deque()  # each to be claimed while nothing else is
        self._arrived = asyncio.Event()
        self._held: dict[int, float] = {}  # recipient number → when claimed or renewed, monotonic
        self._free = asyncio.Event()  # nothing is held
        self._free.set()

    async def claim(self, numbers: Sequence[int], *, alone: bool = False) -> dict[int, Claim]:
        """Claim recipients; those missing from the result are not to be sent. `alone`: of a mail that may end us."""
        wanted, begun = _Wanted(numbers, asyncio.get_running_loop().create_future()), time.perf_counter()
        (self._alone if alone else self._wanted).append(wanted)
        self._arrived.set()
        claims = await wanted.answer
        metrics.CLAIM.observe(time.perf_counter() - begun)
        return claims

    def holds(self, number: int) -> bool:
        """Whether this sender has claimed the recipient and not reported it."""
        return number in self._held

    def trusts(self, numbers: Sequence[int]) -> bool:
        """Whether claims are young enough to send the mail."""
        oldest = time.monotonic() - _TRUSTED_S
        return all(self._held.get(number, oldest) > oldest for number in numbers)

    def give_up(self, numbers: Iterable[int]) -> None:
        """The outcomes of these are reported: their claims need no renewal."""
        for number in numbers:
            self._held.pop(number, None)
        if not self._held:
            self._free.set()

    async def claim_loop(self) -> None:
        """Claim what is wanted, for ever; what came while one transaction ran goes into the next."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            wanted, self._wanted = self._wanted, []
            if wanted:
                await self._claim(wanted)
            if self._alone:
                await self._empty_handed()
                await self._claim([self._alone.popleft()], alone=True)
                await self._empty_handed()
                self._arrived.set()  # others may have come meanwhile, or wait

    async def _claim(self, wanted: Sequence[_Wanted], *, alone: bool = False) -> None:
        numbers = [number for each in wanted for number in each.numbers]
        begun = time.monotonic()
        claims = await self._thread.run(claim, numbers, self._worker, datetime.now(UTC), alone)
        metrics.CLAIMED.inc(len(claims))
        metrics.NOT_CLAIMED.inc(len(numbers) - len(claims))
        self._held.update(dict.fromkeys(claims, begun))
        if claims:
            self._free.clear()
        for each in wanted:
            if not each.answer.done():
                # Each goes to one: two copies of a work message may ask in the same transaction.
                each.answer.set_result({number: claims.pop(number) for number in each.numbers if number in claims})

    async def _empty_handed(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._free.wait(), _ALONE_WITHIN_S)

    async def renew_loop(self) -> None:
        """Renew what takes longer, for ever. Where the store is away for longer than the lease, the claims lapse."""
        while True:
            await asyncio.sleep(_RENEW_AFTER_S / 3)
            now = time.monotonic()
            old = [number for number, since in self._held.items() if now - since > _RENEW_AFTER_S]
            if old:
                renewed = await self._thread.run(renew_claims, old, self._worker, datetime.now(UTC))
                self._renewed([number for number in old if number in self._held], renewed, now)

    def _renewed(self, old: Sequence[int], renewed: frozenset[int], now: float) -> None:
        self._held.update(dict.fromkeys(renewed.intersection(old), now))
        lost = [number for number in old if number not in renewed]
        if lost:
            log.warning("claims_lost", recipients=len(lost), next="what_was_not_sent_is_left_to_others")
            self.give_up(lost)
