"""The claims of one sender: gathered over its lanes into one transaction at a time, and renewed while it works."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import structlog

from services.sender.room import Rooms
from shared import metrics
from shared.mail_store import CLAIM_LEASE, Claim, StoreThread, claim, renew_claims

log = structlog.get_logger()

_RENEW_AFTER_S = CLAIM_LEASE.total_seconds() / 3
# Of a claim that is older than that, because this process slept or the store was away, nothing more is sent: another
# sender may have the mail before it is with the server.
_TRUSTED_S = CLAIM_LEASE.total_seconds() - 15


class ClaimDesk:
    """The gate between "can still be retracted" and "in flight"."""

    def __init__(self, thread: StoreThread, worker: str) -> None:
        self.rooms = Rooms()  # for the contents of what is claimed
        self._thread = thread
        self._worker = worker
        self._wanted: list[tuple[Sequence[int], asyncio.Future[dict[int, Claim]]]] = []
        self._arrived = asyncio.Event()
        self._held: dict[int, float] = {}  # recipient number → when claimed or renewed, monotonic

    async def claim(self, numbers: Sequence[int]) -> dict[int, Claim]:
        """Claim recipients; those missing from the result are not to be sent."""
        answer: asyncio.Future[dict[int, Claim]] = asyncio.get_running_loop().create_future()
        self._wanted.append((numbers, answer))
        self._arrived.set()
        return await answer

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

    async def claim_loop(self) -> None:
        """Claim what is wanted, for ever; what came while one transaction ran goes into the next."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            wanted, self._wanted = self._wanted, []
            numbers = [number for some, _ in wanted for number in some]
            begun = time.monotonic()
            claims = await self._thread.run(claim, numbers, self._worker, datetime.now(UTC))
            metrics.CLAIMED.inc(len(claims))
            metrics.NOT_CLAIMED.inc(len(numbers) - len(claims))
            self._held.update(dict.fromkeys(claims, begun))
            for some, answer in wanted:
                if not answer.done():
                    # Each goes to one: two copies of a work message may ask in the same transaction.
                    answer.set_result({number: claims.pop(number) for number in some if number in claims})

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
