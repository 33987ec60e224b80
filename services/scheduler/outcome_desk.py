"""Outcomes come in batches, are applied in one transaction, then announced, then acknowledged."""

import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import sqlalchemy as sa
import structlog

from services.scheduler import sites, store, suppression
from services.scheduler.alarm import Alarm
from services.scheduler.announce import Announcer, log_suppressed
from services.scheduler.isolation import each_or_alone
from services.scheduler.outcomes import Change, Pending, decide, event_of, is_news, lapsed_claim, overdue
from services.scheduler.recent import Recent
from services.scheduler.reporting import Report, write_reports
from shared import metrics
from shared.broker import Consumer, Delivery, Properties, Publisher
from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.dead import put_aside
from shared.mail_store.states import State
from shared.mail_store.thread import StoreThread
from shared.outcomes import Delivered
from shared.refusals import UNREADABLE
from shared.settings import Retry, Settings
from shared.settings_feed import SettingsFeed
from shared.topology import OUTCOME
from shared.trouble import what_failed
from shared.worker import finish

log = structlog.get_logger()

_MOST = 200  # messages in one transaction
ENOUGH_FAILURES = 300  # in one transaction: 0.1 s, during which no mail is admitted
ENOUGH = 5000  # outcomes in one transaction, whatever they are
# Claims that have lapsed while outcomes wait are looked at again after so long: their own may be among these.
_CATCH_UP = timedelta(seconds=2)
# A transaction costs half a millisecond of a processor and a sync of the disk, however little it does; no mail waits
# for this one.
_LINGER_S = 0.020

_decoder = msgspec.msgpack.Decoder(OutcomeReport)
_encoder = msgspec.msgpack.Encoder()
_PLAIN = Properties(content_type="application/msgpack")


class OutcomeDesk:
    """Writes down what became of each attempt."""

    def __init__(
        self,
        thread: StoreThread,
        publisher: Publisher,
        feed: SettingsFeed,
        announcer: Announcer,
        alarm: Alarm,
        on_final: Callable[[Sequence[int]], None],
        waiting: Callable[[], Awaitable[int]],
        recent: Recent,
    ) -> None:
        """`on_final` is told the numbers of mails of which a recipient has become final.

        `waiting`: how many messages there are in the queue of outcomes.
        """
        self._thread = thread
        self._publisher = publisher
        self._feed = feed
        self._announcer = announcer
        self._alarm = alarm
        self._on_final = on_final
        self._waiting = waiting
        self._recent = recent
        self._consumer: Consumer | None = None
        self._in_hand = 0  # messages
        self._taken = 0
        self._catch_up_to: int | None = None  # of those taken
        self._chance = random.Random()  # noqa: S311 - spreads retries, guards nothing

    async def loop(self, consumer: Consumer) -> None:
        """Take outcomes, for ever."""
        self._consumer = consumer
        while True:
            deliveries = await consumer.batch(_MOST, _LINGER_S)
            self._in_hand = len(deliveries)
            await finish(self._take_and_ack(deliveries, consumer))
            self._taken, self._in_hand = self._taken + self._in_hand, 0

    async def _take_and_ack(self, deliveries: Sequence[Delivery], consumer: Consumer) -> None:
        begun, reports = time.perf_counter(), []
        for delivery in deliveries:
            try:
                reports.append(_decoder.decode(delivery.body))
            except UNREADABLE as error:
                await self._put_aside(delivery, str(error))
        await each_or_alone(reports, self._take, self._give_up)
        self._recent.took("outcome", time.perf_counter() - begun, datetime.now(UTC))
        # Ack last: a crash before it repeats the outcomes, and a second one of an attempt is dropped.
        consumer.ack(deliveries)

    async def take_lapsed(self, lapsed: Sequence[Pending]) -> None:
        """Claims whose sender has died are in doubt; what was in doubt until its give-up time is given up.

        But a claim that has been reported is not renewed either, and its outcome waits as long as no scheduler runs.
        """
        if lapsed and not await self._caught_up():
            numbers, now = [pending.number for pending in lapsed], datetime.now(UTC)
            await self._thread.run(store.look_later, numbers, now, now + _CATCH_UP)
            return
        for worker in {pending.worker for pending in lapsed}:
            those = [pending for pending in lapsed if pending.worker == worker]
            claims = [pending for pending in those if pending.state is State.CLAIMED]
            if claims:
                follows = f"in_doubt_and_{self._feed.settings.retry.in_doubt}"
                log.error("claims_lapsed", worker=worker, recipients=len(claims), next=follows)
            outcomes = [RecipientOutcome(each.number, each.attempt, lapsed_claim(each)) for each in claims]
            outcomes += [RecipientOutcome(each.number, each.attempt, overdue()) for each in those if each not in claims]
            await self._take([OutcomeReport(worker, self._feed.revision, tuple(outcomes))])

    async def _caught_up(self) -> bool:
        """Whether all outcomes that waited when a lapsed claim was first seen have been taken."""
        left = await self._waiting() + self._in_hand + (self._consumer.waiting if self._consumer else 0)
        if self._catch_up_to is None:
            self._catch_up_to = self._taken + left
        if left and self._taken < self._catch_up_to:
            return False
        self._catch_up_to = None
        return True

    async def _take(self, reports: Sequence[OutcomeReport]) -> None:
        if not reports:
            return
        for portion in portions(reports):
            await self._settle(portion)

    async def _settle(self, reports: Sequence[OutcomeReport]) -> None:
        changes, told = await self._thread.run(
            settle_and_tell, reports, datetime.now(UTC), self._feed.settings, self._feed.revision, self._chance
        )
        _count(changes)
        for change in changes:
            _log(change)
        self._recent.note(changes)
        suppressed = [one for report in told for one in report.suppressed]
        for report in told:
            _log_report(report)
        log_suppressed(suppressed)
        waiting = [change.wake for change in changes if change.wake is not None]
        waiting += [report.draft.due for report in told]
        if waiting:
            self._alarm.set_for(min(waiting))
        self._on_final([change.pending.mail_no for change in changes if change.wake is None])
        self._on_final([one.mail_no for one in suppressed])
        events = [event for change in changes if (event := event_of(change)) is not None]
        await self._announcer.announce([*events, *map(suppression.event_of, suppressed)])

    async def _give_up(self, report: OutcomeReport, error: Exception) -> None:
        """Put the outcome aside that can not be written down; others travelled in the same message."""
        if len(report.outcomes) > 1:
            alone = [msgspec.structs.replace(report, outcomes=(outcome,)) for outcome in report.outcomes]
            await each_or_alone(alone, self._take, self._give_up)
        else:
            await put_aside(
                self._publisher,
                Delivery(_encoder.encode(report), 0, 0, False, _PLAIN),
                OUTCOME,
                f"it made a worker fail: {what_failed(error)}",
            )

    async def _put_aside(self, delivery: Delivery, reason: str) -> None:
        log.error("outcome_not_understood", reason=reason, next="dead_letter")
        await put_aside(self._publisher, delivery, OUTCOME, reason)


def portions(reports: Sequence[OutcomeReport]) -> Iterator[list[OutcomeReport]]:
    """Reports in parts that leave each transaction short: every recipient that fails may cost a mail to its sender."""
    portion: list[OutcomeReport] = []
    failures = count = 0
    for report in reports:
        portion.append(report)
        count += len(report.outcomes)
        failures += sum(not isinstance(each.outcome, Delivered) for each in report.outcomes)
        if failures >= ENOUGH_FAILURES or count >= ENOUGH:
            yield portion
            portion, failures, count = [], 0, 0
    if portion:
        yield portion


def settle_and_tell(
    connection: sa.Connection,
    reports: Sequence[OutcomeReport],
    now: datetime,
    settings: Settings,
    revision: int,
    chance: random.Random,
) -> tuple[list[Change], list[Report]]:
    """Apply outcomes and admit the mails that tell of them, in one transaction: neither comes without the other."""
    changes = apply_reports(connection, reports, now, settings.retry, chance)
    suppression.add_condemned(connection, changes, settings.suppression)
    return changes, write_reports(connection, changes, settings, revision, now)


def apply_reports(
    connection: sa.Connection,
    reports: Sequence[OutcomeReport],
    now: datetime,
    retry: Retry,
    chance: random.Random,
) -> list[Change]:
    """Apply outcomes in one transaction; returns what changed, so not those that were known."""
    found = store.find_pending(connection, (outcome for report in reports for outcome in report.outcomes))
    named = sites.sites_of(connection, [outcome for report in reports for outcome in report.outcomes])
    changes: dict[int, Change] = {}
    for report in reports:
        for each in report.outcomes:
            pending = found.get(each.recipient)
            if pending is None or not is_news(pending, each.attempt, each.outcome, report.worker):
                continue
            if each.recipient in changes and not isinstance(each.outcome, Delivered):
                continue  # known already; but whatever else was said, what was delivered may not go again
            if pending.attempt != each.attempt:  # a late delivery is that of an earlier one
                pending = msgspec.structs.replace(pending, attempt=each.attempt)
            changes[each.recipient] = decide(
                pending,
                each.outcome,
                worker=report.worker,
                revision=report.revision,
                now=now,
                retry=retry,
                chance=chance,
                sites=named,
            )
    store.settle(connection, list(changes.values()))
    sites.note_detours(connection, list(changes.values()), now)
    return list(changes.values())


def _log_report(report: Report) -> None:
    metrics.ADMITTED.inc()
    log.info(
        "reported",
        mail=report.about,
        report=report.draft.id,
        to=report.draft.composed.recipients[0],
        action=report.action,
        recipients=report.recipients,
    )


def _count(changes: Sequence[Change]) -> None:
    """Into the metrics: once a batch, as a label costs more than the count."""
    for word, count in Counter(map(_word, changes)).items():
        metrics.OUTCOMES.labels(word).inc(count)
    for change in changes:
        if change.in_doubt and not change.pending.in_doubt:
            metrics.IN_DOUBT.inc()
        if change.bounce_class is not None:
            metrics.FAILURES.labels(change.state.name.lower(), change.bounce_class).inc()
        if change.ends_attempt:
            _time(change)


def _time(change: Change) -> None:
    pending = change.pending
    if pending.claimed is not None:
        metrics.ATTEMPT.observe((change.time - pending.claimed).total_seconds())
    if change.state is State.DELIVERED and pending.released is not None:
        metrics.TRANSIT.observe((change.time - pending.released).total_seconds())


def _word(change: Change) -> str:
    return change.state.name.lower() if change.ends_attempt else "parked"


def _log(change: Change) -> None:
    pending, kind = change.pending, _word(change)
    said = {
        "mail": pending.mail,
        "recipient": pending.address,
        "attempt": pending.attempt,
        "host": change.host,
        "reply": str(change.reply),
    }
    if change.state is State.DELIVERED:
        log.info(kind, **said)
    elif change.wake is None:
        log.warning(kind, **said, bounce_class=change.bounce_class, next="none")
    else:
        log.warning(
            kind,
            **said,
            bounce_class=change.bounce_class,
            in_doubt=change.in_doubt or None,
            next=_next_of(change, change.wake),
        )


def _next_of(change: Change, wake: datetime) -> str:
    if change.state is State.IN_DOUBT:
        return f"an_operator_decides_until_{wake.isoformat()}"
    return f"waits_for_{change.site}" if change.site else f"retry_at_{wake.isoformat()}"
