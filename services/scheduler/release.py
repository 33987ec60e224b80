"""Release: what is due goes to the resolvers, in batches; what the broker refuses waits in the store."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from services.scheduler import spans, store, traces
from services.scheduler.alarm import Alarm
from services.scheduler.announce import Announcer
from services.scheduler.lanes import LaneDesk
from services.scheduler.outcome_desk import OutcomeDesk
from services.scheduler.store import Due, Leaving
from shared import metrics
from shared.broker import Message, Publisher
from shared.contracts.events import Released
from shared.contracts.work import RouteRequests
from shared.mail_store.thread import StoreThread
from shared.topology import RESOLVE
from shared.trouble import Trouble
from shared.worker import finish

if TYPE_CHECKING:
    from shared.otel import Tracer

_MOST = 1000  # recipients taken in one transaction
# And each second where no lane has room: mail that leaves when it is admitted could keep them so, and claims that have
# lapsed need none.
_SOME = 100
_PER_MESSAGE = 50  # requests in one message: the broker's cost is per message, and resolvers share the work
_RECIPIENTS = 2000  # in one message, but for one mail that has more: a resolver has forty of them in hand
# Another scheduler's mails are not announced to this one, so it looks by itself now and then.
_LOOK_AT_LEAST_EVERY = timedelta(seconds=5)
_WHEN_REFUSED = timedelta(seconds=2)
_PAUSE_S = 1.0
_MARK_EVERY_S = 1.0
# `released` only lengthens a lease of thirty seconds, and most mail is delivered before half of that is over: what is
# marked then is only what still waits for a sender.
_MARK_WITH_LEFT = timedelta(seconds=15)

_encoder = msgspec.msgpack.Encoder()


class Confirmed(msgspec.Struct, frozen=True):
    """Recipients that the broker has taken in one message."""

    numbers: list[int]
    first: datetime  # end of a lease of theirs
    last: datetime


class Releaser:
    """Moves due recipients from the store to the resolvers."""

    def __init__(
        self,
        thread: StoreThread,
        publisher: Publisher,
        announcer: Announcer,
        desk: OutcomeDesk,
        alarm: Alarm,
        lanes: LaneDesk,
        tracer: "Tracer | None" = None,
    ) -> None:
        self._thread = thread
        self._publisher = publisher
        self._announcer = announcer
        self._desk = desk
        self._confirmed: list[Confirmed] = []
        self._refused = Trouble("release_refused")
        self._alarm = alarm
        self._lanes = lanes
        self._tracer = tracer
        self._chance = random.Random()  # noqa: S311 - spreads retries, guards nothing

    async def send(self, leaving: Sequence[Leaving]) -> None:
        """Publish what is `releasing`; what the broker refuses is put back."""
        parts = list(parts_of(leaving))
        messages = [_message(part) for part in parts]
        refused = {id(refusal.message): refusal.reason for refusal in await self._publisher.publish(messages)}
        for message, part in zip(messages, parts, strict=True):
            numbers = _numbers(part)
            if id(message) in refused:
                await self._put_back(numbers, refused[id(message)])
            else:
                self._refused.over()
                ends = [each.lease_end for each in part]
                self._confirmed.append(Confirmed(numbers, min(ends), max(ends)))
                metrics.RELEASED.inc(len(numbers))
                self._lanes.sent(len(numbers))
        if self._announcer.wanted("released"):
            await self._announcer.announce(_events(leaving, self._announcer.revision))

    async def release_loop(self) -> None:
        """Release what is due, for ever."""
        while True:
            most = _MOST if await self._lanes.room_within(_PAUSE_S) else _SOME
            self._alarm.clear()
            count = await finish(self._release_some(most))
            if self._refused.lasts:
                await asyncio.sleep(_PAUSE_S)  # the resolvers are behind: to take more rows would only put them back
            elif count < most:
                await self._sleep()

    async def _release_some(self, most: int) -> int:
        due = await self._take_due(datetime.now(UTC), most)
        await self.send(due.leaving)
        await self._desk.take_lapsed(due.lapsed)
        return due.count

    async def _take_due(self, now: datetime, most: int) -> Due:
        if self._tracer is None:
            return await self._thread.run(store.take_due, now, most)
        traced = await self._thread.run(traces.take_due, now, most)
        spans.holds(self._tracer, traced.holds)
        return traced.due

    async def mark_loop(self) -> None:
        """Mark what the broker has confirmed and no sender has claimed in time, for ever."""
        while True:
            await asyncio.sleep(_MARK_EVERY_S)
            now = datetime.now(UTC)
            due, self._confirmed = due_for_mark(self._confirmed, now)
            if due:
                numbers = [number for each in due for number in each.numbers]
                first, last = min(each.first for each in due), max(each.last for each in due)
                await self._thread.run(store.mark_unclaimed, numbers, first, last, now)

    async def _sleep(self) -> None:
        latest = datetime.now(UTC) + _LOOK_AT_LEAST_EVERY
        wake = await self._thread.read(store.next_wake)
        await self._alarm.sleep_until(latest if wake is None else min(wake, latest))

    async def _put_back(self, numbers: list[int], reason: str) -> None:
        wake = datetime.now(UTC) + _WHEN_REFUSED * self._chance.uniform(0.5, 1.5)
        self._refused.seen(reason, next="wait_in_the_store_and_try_again")
        await self._thread.run(store.put_back, numbers, wake)


def due_for_mark(confirmed: Sequence[Confirmed], now: datetime) -> tuple[list[Confirmed], list[Confirmed]]:
    """Those whose lease has little left, and the others."""
    due: list[Confirmed] = []
    later: list[Confirmed] = []
    for each in confirmed:
        (due if each.first - now <= _MARK_WITH_LEFT else later).append(each)
    return due, later


def parts_of(leaving: Sequence[Leaving]) -> Iterator[list[Leaving]]:
    """What goes into one message each."""
    part: list[Leaving] = []
    recipients = 0
    for each in leaving:
        count = len(each.request.envelope.recipients)
        if part and (len(part) == _PER_MESSAGE or recipients + count > _RECIPIENTS):
            yield part
            part, recipients = [], 0
        part.append(each)
        recipients += count
    if part:
        yield part


def _message(part: Sequence[Leaving]) -> Message:
    return Message(RESOLVE, "", _encoder.encode(RouteRequests(tuple(leaving.request for leaving in part))))


def _numbers(part: Sequence[Leaving]) -> list[int]:
    return [recipient.no for leaving in part for recipient in leaving.request.envelope.recipients]


def _events(leaving: Sequence[Leaving], revision: int) -> Iterator[Released]:
    now = datetime.now(UTC)
    for each in leaving:
        envelope = each.request.envelope
        for recipient in envelope.recipients:
            yield Released(
                mail=envelope.mail,
                batch=each.batch,
                time=now,
                revision=revision,
                recipient=recipient.address,
                attempt=each.request.attempt,
            )
