"""Control commands: each is carried out in one transaction and answered, whatever it was."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar, assert_never

import msgspec
import structlog

from services.scheduler import doubt, inquiry, recall, sites, suppression
from services.scheduler.admission import compose_within, draft, finish_within, wishes_of
from services.scheduler.alarm import Alarm
from services.scheduler.announce import Announcer, log_suppressed
from services.scheduler.census import take_census
from services.scheduler.commands import parse_command, within
from services.scheduler.composed import Draft
from services.scheduler.housekeeping import Housekeeper
from services.scheduler.recent import Recent, stage_times
from services.scheduler.release import Releaser
from services.scheduler.settings_keeper import SettingsKeeper
from shared import metrics
from shared.addresses import check_spec, refuse_control_characters
from shared.broker import REPLY_TO, Consumer, Delivery, Message, Properties, Publisher
from shared.contracts.answers import (
    Answer,
    CloseAnswer,
    ListAnswer,
    Refusal,
    ReleaseAnswer,
    ReplaceAnswer,
    ReplaceResult,
    ResendAnswer,
    RetractAnswer,
    SendersAnswer,
    SettingsAnswer,
    ShowAnswer,
    SitesAnswer,
    StatsAnswer,
    SuppressionsAdded,
)
from shared.contracts.commands import (
    AddSuppressions,
    Close,
    Command,
    ListMails,
    ListSenders,
    ListSites,
    ListSuppressions,
    Release,
    RemoveSuppressions,
    Replace,
    Resend,
    Retract,
    Selector,
    Show,
    ShowContent,
    ShowSettings,
    Stats,
)
from shared.contracts.events import Replaced, RetractedEvent
from shared.mail_ids import check_id
from shared.mail_store.thread import StoreThread
from shared.presence import list_present
from shared.refusals import Invalid
from shared.settings import Settings
from shared.settings_feed import SettingsFeed
from shared.store_trouble import StoreFailed
from shared.topology import QUEUES
from shared.trouble import what_failed
from shared.wishes import check_batch
from shared.worker import finish

log = structlog.get_logger()

_JSON = "application/json"

Selecting = TypeVar("Selecting", bound=Selector)
Page = TypeVar("Page", recall.Retraction, recall.Rescheduling, doubt.Cleared)

_BETWEEN_S = 0.005  # pages of a command for very many mails: senders are waiting for the store


class _NotOurs(Exception):
    """The channel that a command came by was lost: it is delivered again, and would be carried out twice at a time."""


class ControlDesk:
    """Answers operators and clients."""

    def __init__(
        self,
        thread: StoreThread,
        publisher: Publisher,
        feed: SettingsFeed,
        announcer: Announcer,
        releaser: Releaser,
        alarm: Alarm,
        housekeeper: Housekeeper,
        keeper: SettingsKeeper,
        recent: Recent,
    ) -> None:
        self._thread = thread
        self._publisher = publisher
        self._feed = feed
        self._announcer = announcer
        self._releaser = releaser
        self._alarm = alarm
        self._housekeeper = housekeeper
        self._keeper = keeper
        self._recent = recent

    async def loop(self, consumer: Consumer) -> None:
        """Take commands, for ever, one after another; but those for very many mails beside the others.

        A release of a million takes minutes, and may be a mistake.
        """
        async with asyncio.TaskGroup() as group:
            while True:
                for delivery in await consumer.batch(10):
                    command = self._parse(delivery)
                    work = self._answer_and_ack(command, delivery, consumer)
                    if isinstance(command, (Retract, Release, Resend, Close)) and not command.id:
                        group.create_task(finish(work))
                    else:
                        await finish(work)

    def _parse(self, delivery: Delivery) -> Command | Refusal:
        try:
            command = parse_command(delivery.body, self._feed.settings.sending.max_size)
        except Invalid as refused:
            return _refusal(refused)
        except Exception as error:
            return _failure(error)
        metrics.COMMANDS.labels(type(command).__name__.lower()).inc()
        return command

    async def _answer_and_ack(self, command: Command | Refusal, delivery: Delivery, consumer: Consumer) -> None:
        answer = await self._answer(command, delivery, partial(consumer.has, delivery))
        if answer is not None:
            await self._reply(delivery, answer)
            consumer.ack([delivery])

    async def _answer(self, command: Command | Refusal, delivery: Delivery, ours: Callable[[], bool]) -> Answer | None:
        if isinstance(command, Refusal):
            return command
        try:
            return await self._carry_out(command, delivery, ours)
        except Invalid as refused:
            return _refusal(refused)
        except _NotOurs:
            log.info("command_left", command=type(command).__name__.lower(), next="it_is_delivered_again")
            return None
        except StoreFailed:
            raise
        except Exception as error:
            return _failure(error)

    async def _reply(self, delivery: Delivery, answer: Answer) -> None:
        reply_to = delivery.properties.reply_to
        if not reply_to:
            return
        if reply_to in QUEUES:
            # Who may give commands may not write to these; the scheduler must not do it in their place.
            log.warning("answer_not_delivered", reason=f"reply_to names {reply_to}, a queue of ours", next="none")
            return
        properties = Properties(content_type=_JSON, correlation_id=delivery.properties.correlation_id)
        # A channel that waits for direct replies is no queue: with `mandatory` they would count as not routed.
        mandatory = not reply_to.startswith(f"{REPLY_TO}.")
        message = Message("", reply_to, msgspec.json.encode(answer), properties, mandatory)
        for refusal in await self._publisher.publish([message]):
            log.info("answer_not_delivered", reason=refusal.reason, next="none")

    async def _carry_out(self, command: Command, delivery: Delivery, ours: Callable[[], bool]) -> Answer:
        now = datetime.now(UTC)
        match command:
            case Retract():
                return await self._retract(command, now, ours)
            case Release():
                return await self._release(command, now, ours)
            case Resend():
                return await self._resend(command, now, ours)
            case Close():
                return await self._close(command, now, ours)
            case Replace():
                return await self._replace(command, now, delivery)
            case Show():
                return ShowAnswer(mail=await self._thread.read(inquiry.show, check_id(command.id, "id"), now))
            case ShowContent():
                check_id(command.id, "id")
                return await self._thread.read(inquiry.content_part, command)
            case ListMails():
                lines, following = await self._thread.read(inquiry.list_mails, searched(command))
                return ListAnswer(mails=lines, next=following)
            case Stats():
                return await self._stats(now)
            case ShowSettings():
                return await self._settings(command)
            case ListSites():
                return SitesAnswer(sites=await self._thread.read(sites.list_sites, now, command))
            case ListSenders():
                return SendersAnswer(senders=await self._thread.read(list_present, now))
            case ListSuppressions():
                return await self._thread.read(suppression.list_suppressions, command, now)
            case AddSuppressions():
                return await self._add_suppressions(command, now)
            case RemoveSuppressions():
                removed = await self._thread.run(suppression.remove_suppressions, command)
                log.info("suppressions_removed", addresses=removed.removed)
                return removed
            case never:
                assert_never(never)

    async def _stats(self, now: datetime) -> StatsAnswer:
        census = await self._thread.read(take_census, now)
        times = await self._thread.read(stage_times, self._recent.lately(now))
        return StatsAnswer(
            time=now,
            states=census.states,
            overdue=census.overdue,
            totals=totals(),
            revision=self._feed.revision,
            times=[*self._recent.work_times(now), *times],
        )

    async def _add_suppressions(self, command: AddSuppressions, now: datetime) -> SuppressionsAdded:
        _check_name(command.author, "author")
        added = await self._thread.run(suppression.add_suppressions, command, now)
        log.info("suppressions_added", addresses=added.added, refused=len(added.refused), author=command.author)
        return added

    async def _retract(self, command: Retract, now: datetime, ours: Callable[[], bool]) -> Answer:
        answer = RetractAnswer(mails=[], counts={})
        async for done in self._pages(recall.retract, command, now, ours):
            await self._after_retract(done, now)
            answer.mails.extend(done.mails)
            for result, count in done.counts.items():
                answer.counts[result] = answer.counts.get(result, 0) + count
        return answer

    async def _after_retract(self, done: recall.Retraction, now: datetime) -> None:
        metrics.RETRACTED.inc(len(done.taken_back))
        for mail, _, recipient in done.taken_back:
            log.info("retracted", mail=mail, recipient=recipient)
        self._housekeeper.final(done.mail_numbers)
        await self._announcer.announce(
            RetractedEvent(mail=mail, batch=batch, time=now, revision=self._feed.revision, recipient=recipient)
            for mail, batch, recipient in done.taken_back
        )

    async def _release(self, command: Release, now: datetime, ours: Callable[[], bool]) -> Answer:
        answer = ReleaseAnswer(mails=[], released=0)
        async for done in self._pages(recall.release, command, now, ours):
            self._alarm.set_for(now)
            answer = ReleaseAnswer(mails=[*answer.mails, *done.mails], released=answer.released + done.released)
        return answer

    async def _resend(self, command: Resend, now: datetime, ours: Callable[[], bool]) -> Answer:
        answer = ResendAnswer(mails=[], resent=0)
        async for done in self._pages(doubt.resend, command, now, ours):
            self._alarm.set_for(now)
            answer = ResendAnswer(mails=[*answer.mails, *done.mails], resent=answer.resent + done.recipients)
        log.info("resent", recipients=answer.resent)
        return answer

    async def _close(self, command: Close, now: datetime, ours: Callable[[], bool]) -> Answer:
        answer = CloseAnswer(mails=[], closed=0)
        async for done in self._pages(doubt.close, command, now, ours):
            for event in done.events:
                metrics.OUTCOMES.labels("closed").inc()
                log.info("closed", mail=event.mail, recipient=event.recipient, attempt=event.attempt, host=event.host)
            self._housekeeper.final(done.final)
            await self._announcer.announce(done.events)
            answer = CloseAnswer(mails=[*answer.mails, *done.mails], closed=answer.closed + done.recipients)
        return answer

    async def _pages(
        self, function: Callable[..., Page], command: Selector, now: datetime, ours: Callable[[], bool]
    ) -> AsyncIterator[Page]:
        """Do something to all mails that are meant, a page of them in each transaction. Raises Invalid, or _NotOurs."""
        selector, after, to_name = _chosen_by(command), 0, recall.ANSWERED
        while True:
            done = await self._thread.run(function, selector, now, self._feed.revision, after, to_name)
            yield done
            if done.following is None:
                return
            after, to_name = done.following, to_name - len(done.mails)
            await asyncio.sleep(_BETWEEN_S)
            if not ours():
                raise _NotOurs

    async def _replace(self, command: Replace, now: datetime, delivery: Delivery) -> Answer:
        mail, mark = check_id(command.id, "id"), _mark_of(delivery)
        # A scheduler may have died between its commit and its answer. It is not to be done twice, nor called too late.
        if delivery.redelivered and await self._thread.run(recall.was_replaced, mail, mark):
            return ReplaceAnswer(id=mail, result=ReplaceResult.REPLACED, detail=recall.IN_ITS_PLACE)
        user = delivery.properties.user_id or ""
        new = _replacement(command, mail, self._feed.settings, self._feed.revision, now, user)
        done = await self._thread.run(recall.replace, mail, new, mark)
        if done.result is ReplaceResult.REPLACED:
            await self._after_replace(new, done)
        return ReplaceAnswer(id=mail, result=done.result, detail=done.detail)

    async def _after_replace(self, new: Draft, done: recall.Replacement) -> None:
        log.info("replaced", mail=new.id, due=new.due)
        self._alarm.set_for(new.due)
        log_suppressed(done.suppressed)
        self._housekeeper.final([one.mail_no for one in done.suppressed])
        if done.leaving is not None:
            await self._releaser.send([done.leaving])
        await self._announcer.announce(
            [
                Replaced(
                    mail=new.id,
                    batch=done.batch,
                    time=new.admitted,
                    revision=new.revision,
                    recipients=list(new.composed.recipients),
                    until=new.due,
                ),
                *map(suppression.event_of, done.suppressed),
            ]
        )

    async def _settings(self, command: ShowSettings) -> Answer:
        history = await self._thread.read(inquiry.settings_versions, None, command.history) if command.history else []
        current = self._keeper.current
        if command.revision is not None:
            found = await self._thread.read(inquiry.settings_versions, command.revision, 1)
            current = found[0] if found else None
        return SettingsAnswer(current=current, history=history, next_revision=self._keeper.next_revision)


def _refusal(refused: Invalid) -> Refusal:
    log.warning("command_refused", field=refused.field, reason=refused.reason, next="answered")
    return Refusal(field=refused.field, reason=refused.reason)


def _failure(error: Exception) -> Refusal:
    # Nobody planned for this. Asked again, it would end this scheduler again, and what else it holds with it.
    log.error("command_failed", reason=what_failed(error), next="answered")
    return Refusal(field="", reason=f"it could not be carried out: {what_failed(error)}")


def _mark_of(delivery: Delivery) -> str:
    """What a command is known by when it is delivered again: clients need not give theirs an id, or one of its own."""
    ids = f"{delivery.properties.message_id}\n{delivery.properties.correlation_id}\n"
    return f"command {hashlib.sha256(ids.encode() + delivery.body).hexdigest()[:16]}"


def _replacement(command: Replace, mail: str, settings: Settings, revision: int, now: datetime, user: str) -> Draft:
    """The new mail, of either form. Raises Invalid."""
    form = "message" if command.submission is None else "submission"
    try:
        if command.submission is not None:
            composed, wishes = compose_within(command.submission, mail, settings, now), wishes_of(command.submission)
        else:
            assert command.message is not None
            composed, wishes = finish_within(command.message, mail, settings, now), wishes_of(command.message)
        return draft(mail, composed, wishes, settings, revision, now, user)
    except Invalid as refused:
        raise within(form, refused) from refused


def _chosen_by(selector: Selecting) -> Selecting:
    if not (selector.id or selector.batch or selector.recipient):
        raise Invalid("", "takes at least one of id, batch and recipient")
    return checked(selector)


def checked(selector: Selecting) -> Selecting:
    """The selector as the store spells it. Raises Invalid."""
    if selector.id:
        check_id(selector.id, "id")
    if selector.batch:
        check_batch(selector.batch)
    if not selector.recipient:
        return selector
    try:
        return msgspec.structs.replace(selector, recipient=check_spec(selector.recipient))
    except ValueError as error:
        raise Invalid("recipient", str(error)) from error


def searched(command: ListMails) -> ListMails:
    """The search as the store spells it. Raises Invalid."""
    _check_name(command.submitted_by or "", "submitted_by")
    if not command.sender:
        return checked(command)
    try:
        return checked(msgspec.structs.replace(command, sender=check_spec(command.sender)))
    except ValueError as error:
        raise Invalid("sender", str(error)) from error


def _check_name(name: str, field: str) -> None:
    try:
        refuse_control_characters(name)
    except ValueError as error:
        raise Invalid(field, str(error)) from error


def totals() -> dict[str, int]:
    """What went through since this scheduler's start, from its metrics."""
    counted = {
        "admitted": metrics.ADMITTED,
        "duplicates": metrics.DUPLICATES,
        "rejected": metrics.REJECTED,
        "released": metrics.RELEASED,
    }
    values = {name: int(next(iter(counter.collect())).samples[0].value) for name, counter in counted.items()}
    for sample in next(iter(metrics.OUTCOMES.collect())).samples:
        if sample.name.endswith("_total"):
            values[sample.labels["outcome"]] = int(sample.value)
    return values
