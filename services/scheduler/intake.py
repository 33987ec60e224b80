"""The intake: submissions in batches, each admitted in one transaction or put aside with the reason."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from services.scheduler import spans, store, suppression, traces
from services.scheduler.admission import admit
from services.scheduler.alarm import Alarm
from services.scheduler.announce import Announcer, log_suppressed, rejected
from services.scheduler.composed import Draft
from services.scheduler.isolation import each_or_alone
from services.scheduler.recent import Recent
from services.scheduler.release import Releaser
from services.scheduler.store import Admission, Admitted
from shared import metrics
from shared.broker import Consumer, Delivery, Publisher
from shared.contracts.events import Accepted, Event, EventKind, Held, RetractedEvent
from shared.dead import put_aside
from shared.mail_store.thread import StoreThread
from shared.refusals import Invalid
from shared.settings import Settings
from shared.settings_feed import SettingsFeed
from shared.topology import SUBMIT
from shared.trouble import what_failed
from shared.worker import finish

if TYPE_CHECKING:
    from shared.otel import Tracer

log = structlog.get_logger()

_MOST = 200  # mails in one transaction
_ENOUGH = 16 * 1024 * 1024  # octets of submissions in one transaction: each is in memory several times meanwhile
# A transaction costs a sync of the disk, and what goes on together makes fewer messages and transactions behind it:
# at a fifth of the capacity the slowest hundredth of mails takes 49 ms with this, 58 with 2 ms; the median is the same.
_LINGER_S = 0.006
_HEAVY = 1024 * 1024  # octets; judging takes about 30 ms for each million
_A_MOMENT_S = 0.1  # of judging, before what was judged is written: 200 usual mails take a fifth of it


class Intake:
    """Makes mails of submissions."""

    def __init__(
        self,
        thread: StoreThread,
        publisher: Publisher,
        feed: SettingsFeed,
        announcer: Announcer,
        releaser: Releaser,
        alarm: Alarm,
        on_final: Callable[[Sequence[int]], None],
        recent: Recent,
        tracer: "Tracer | None" = None,
    ) -> None:
        """`on_final` is told the numbers of mails of which a recipient is final from the start."""
        self._thread = thread
        self._publisher = publisher
        self._feed = feed
        self._announcer = announcer
        self._releaser = releaser
        self._alarm = alarm
        self._on_final = on_final
        self._recent = recent
        self._tracer = tracer
        self._write = store.admit if tracer is None else traces.admit
        self._heavy: asyncio.Queue[Delivery] = asyncio.Queue()

    async def loop(self, consumer: Consumer) -> None:
        """Take submissions, for ever; the heavy ones are left to `heavy_loop`."""
        while True:
            deliveries = await consumer.batch(_MOST, _LINGER_S, _ENOUGH)
            light = [delivery for delivery in deliveries if not _is_heavy(delivery)]
            for delivery in filter(_is_heavy, deliveries) if len(light) < len(deliveries) else ():
                self._heavy.put_nowait(delivery)
            if light:
                await finish(self._take_and_ack(light, consumer))

    async def heavy_loop(self, consumer: Consumer) -> None:
        """Take those that need long to be judged, one by one, beside the others."""
        while True:
            delivery = await self._heavy.get()
            if consumer.has(delivery):
                await finish(self._take_and_ack([delivery], consumer))

    async def _take_and_ack(self, deliveries: Sequence[Delivery], consumer: Consumer) -> None:
        waiting = deque(deliveries)
        while waiting:
            # Ack after the commit: a crash before it repeats the submissions, and their ids are known then.
            consumer.ack(await self._take_some(waiting))

    async def _take_some(self, waiting: deque[Delivery]) -> list[Delivery]:
        """Admit what can be judged in a moment, the first at least: a bad one holds up none before it for long."""
        now, taken, good = datetime.now(UTC), [], []
        begun, open_spans = time.perf_counter(), spans.Spans()
        while waiting:
            delivery = waiting.popleft()
            taken.append(delivery)
            judged = await self._judge(delivery, now)
            if self._tracer is not None:
                judged = spans.admission(self._tracer, delivery, judged, now, open_spans)
            if isinstance(judged, Draft):
                good.append((delivery, judged))
            else:
                await self._refuse(delivery, judged)
            if time.perf_counter() - begun > _A_MOMENT_S:
                break
        await each_or_alone(good, self._admit, self._give_up)
        open_spans.end()
        took = time.perf_counter() - begun
        metrics.ADMISSION.observe(took)
        self._recent.took("admission", took, datetime.now(UTC))
        return taken

    async def _judge(self, delivery: Delivery, now: datetime) -> Draft | Invalid:
        settings, revision = self._feed.settings, self._feed.revision
        if _is_heavy(delivery):
            return await asyncio.to_thread(judge, delivery, settings, revision, now)
        return judge(delivery, settings, revision, now)

    async def _admit(self, good: Sequence[tuple[Delivery, Draft]]) -> None:
        if not good:
            return
        admission = await self._thread.run(self._write, [draft for _, draft in good])
        _log(admission)
        self._on_final([one.mail_no for one in admission.suppressed])
        going = [mail for mail in admission.admitted if mail.recipients]
        await self._releaser.send([mail.leaving for mail in going if _goes_at_once(mail.draft)])
        held = [mail.draft.due for mail in going if not _goes_at_once(mail.draft)]
        if held:
            self._alarm.set_for(min(held))
        await self._announcer.announce(_events(admission, self._announcer.wanted))

    async def _give_up(self, good: tuple[Delivery, Draft], error: Exception) -> None:
        await self._refuse(good[0], Invalid("", f"it made a worker fail: {what_failed(error)}"))

    async def _refuse(self, delivery: Delivery, refused: Invalid) -> None:
        mail = delivery.properties.message_id or ""
        metrics.REJECTED.inc()
        log.warning("rejected", mail=mail, field=refused.field, reason=refused.reason, next="dead_letter")
        await put_aside(self._publisher, delivery, SUBMIT, str(refused))
        await self._announcer.announce([rejected(mail, refused, datetime.now(UTC))])


def _is_heavy(delivery: Delivery) -> bool:
    return len(delivery.body) > _HEAVY


def judge(delivery: Delivery, settings: Settings, revision: int, now: datetime) -> Draft | Invalid:
    """The mail, or why it is none."""
    try:
        return admit(delivery.body, delivery.properties, settings, revision, now)
    except Invalid as refused:
        return refused
    except Exception as error:
        # What nobody planned for is refused as well: it would come again and take the worker down each time, and in the
        # end make dead letters of all that came along with it.
        log.exception("not_judged", mail=delivery.properties.message_id or "", next="dead_letter")
        return Invalid("", f"it could not be judged: {type(error).__name__}")


def _goes_at_once(draft: Draft) -> bool:
    return draft.due <= draft.admitted


def _log(admission: Admission) -> None:
    metrics.ADMITTED.inc(len(admission.admitted))
    metrics.DUPLICATES.inc(len(admission.duplicates))
    for mail in admission.admitted:
        draft = mail.draft
        log.info(
            "admitted", mail=draft.id, recipients=len(mail.recipients), size=len(draft.composed.content), due=draft.due
        )
    for draft in admission.duplicates:
        log.info("duplicate", mail=draft.id, next="the_first_stands")
    for draft in admission.retracted:
        log.info("retracted_on_arrival", mail=draft.id)
    log_suppressed(admission.suppressed)


def _events(admission: Admission, wanted: Callable[[EventKind], bool]) -> list[Event]:
    events: list[Event] = []
    if wanted("accepted"):
        events += [_accepted(mail.draft, False) for mail in admission.admitted]
        events += [_accepted(draft, True) for draft in admission.duplicates]
    if wanted("held"):
        events += [_held(mail) for mail in admission.admitted if mail.recipients and not _goes_at_once(mail.draft)]
    for draft in admission.retracted:
        events += [
            RetractedEvent(mail=draft.id, batch=draft.batch, time=draft.admitted, revision=draft.revision, recipient=to)
            for to in draft.composed.recipients
        ]
    return [*events, *map(suppression.event_of, admission.suppressed)]


def _accepted(draft: Draft, duplicate: bool) -> Accepted:
    return Accepted(
        mail=draft.id,
        batch=draft.batch,
        time=draft.admitted,
        revision=draft.revision,
        recipients=list(draft.composed.recipients),
        duplicate=duplicate,
    )


def _held(mail: Admitted) -> Held:
    draft = mail.draft
    return Held(
        mail=draft.id,
        batch=draft.batch,
        time=draft.admitted,
        revision=draft.revision,
        recipients=[to.address for to in mail.recipients],
        until=draft.due,
    )
