"""Senders say that they run, and are forgotten when they no longer do; times of what was just delivered."""

import asyncio
import contextlib
import random
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from services.scheduler.outcome_desk import apply_reports
from services.scheduler.recent import Recent, stage_times
from services.sender.presence import Presence
from shared.contracts.answers import SenderLine
from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.mail_store.making_ready import create_tables
from shared.mail_store.tables import greetings, senders
from shared.mail_store.thread import StoreThread
from shared.outcomes import Delivered
from shared.presence import forget_gone, list_present, say_gone, say_present
from shared.settings import Retry
from shared.smtp_reply import Reply
from tests.support.store import NOW, OpenStore, a_draft

LINE = SenderLine(
    name="sender-1",
    machine="here",
    started=NOW,
    seen=NOW,
    revision=3,
    lanes=4,
    connections=2,
    claimed=7,
    helo={"192.0.2.1": "mail.example", "2001:db8::1": "six.example"},
)
LATER = NOW + timedelta(seconds=59)
TOO_LATE = NOW + timedelta(seconds=60)


def test_a_sender_is_listed_as_it_last_said(store: OpenStore):
    busier = msgspec.structs.replace(
        LINE, seen=NOW + timedelta(seconds=10), connections=4, claimed=2**40, helo={"192.0.2.1": "other"}
    )
    for line in (LINE, busier, msgspec.structs.replace(LINE, name="another")):
        store.run(say_present, line)
    assert store.run(list_present, LATER) == [msgspec.structs.replace(LINE, name="another"), busier]


def test_a_sender_that_ends_or_says_nothing_for_a_minute_is_not_listed(store: OpenStore):
    store.run(say_present, LINE)
    assert store.run(list_present, TOO_LATE) == []
    store.run(say_gone, "sender-1")
    assert store.run(list_present, LATER) == []
    assert store.count(greetings) == 0


def test_a_sender_that_was_killed_is_forgotten(store: OpenStore):
    store.run(say_present, LINE)
    store.run(forget_gone, LATER)
    assert (store.count(senders), store.count(greetings)) == (1, 2)
    store.run(forget_gone, TOO_LATE)
    assert (store.count(senders), store.count(greetings)) == (0, 0)


def test_a_sender_says_so_at_once_and_takes_its_word_back_at_its_end(store: OpenStore):
    async def live() -> tuple[list[SenderLine], list[SenderLine]]:
        thread = StoreThread(store.url)
        presence = Presence(thread, "sender-9", lambda: 12, lambda: {"192.0.2.9": "nine.example"})
        saying = asyncio.create_task(presence.loop())
        while not (found := store.run(list_present, datetime.now(UTC))):
            await asyncio.sleep(0.01)
        saying.cancel()
        await asyncio.wait([saying])
        left = store.run(list_present, datetime.now(UTC))
        thread.close()
        return found, left

    [line], left = asyncio.run(live())
    assert (line.name, line.revision, line.lanes, line.helo) == ("sender-9", 12, 4, {"192.0.2.9": "nine.example"})
    assert left == []


def test_a_store_that_is_away_does_not_keep_a_sender_from_its_end(sqlite_url: str, tmp_path: Path):
    async def end() -> bool:
        thread = StoreThread(f"{sqlite_url}?timeout=0.05")
        await thread.run(create_tables)
        saying = asyncio.create_task(
            Presence(thread, "sender-9", lambda: 12, lambda: {"192.0.2.9": "nine.example"}).loop()
        )
        while not await thread.run(list_present, datetime.now(UTC)):
            await asyncio.sleep(0.01)
        with contextlib.closing(sqlite3.connect(tmp_path / "mail.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            saying.cancel()
            async with asyncio.timeout(30):
                await asyncio.wait([saying])
        thread.close()
        return saying.cancelled()

    assert asyncio.run(end())


# ---------------------------------------------------------------------------------------------------------


def test_the_times_of_what_was_delivered(store: OpenStore):
    numbers = store.admit_claimed(*(a_draft(f"order-{n}", hold=timedelta(0)) for n in range(3)))
    for number, waited in zip(numbers, (1, 2, 30), strict=True):
        store.put(number, claimed=NOW + timedelta(seconds=waited))
    said = tuple(RecipientOutcome(number, 1, Delivered(Reply(250, "", "ok"), "mx")) for number in numbers)
    after = NOW + timedelta(seconds=32)
    changes = store.run(apply_reports, [OutcomeReport("sender-1", 9, said)], after, Retry(), random.Random(1))
    recent = Recent()
    for change in changes:  # each a batch
        recent.note([change])
    assert recent.lately(after) == numbers
    assert recent.lately(after + timedelta(minutes=2)) == []
    times = {time.stage: (time.median, time.most, time.mails) for time in store.run(stage_times, numbers)}
    assert times == {"release": (0, 0, 3), "claim": (2, 30, 3), "delivery": (30, 31, 3)}


def test_of_a_batch_one_delivery_is_remembered(store: OpenStore):
    numbers = store.admit_claimed(*(a_draft(f"order-{n}", hold=timedelta(0)) for n in range(3)))
    said = tuple(RecipientOutcome(number, 1, Delivered(Reply(250, "", "ok"), "mx")) for number in numbers)
    changes = store.run(apply_reports, [OutcomeReport("sender-1", 9, said)], NOW, Retry(), random.Random(1))
    recent = Recent()
    recent.note(changes)
    recent.note([])
    assert len(recent.lately(NOW)) == 1


def test_the_times_of_the_schedulers_own_batches():
    recent = Recent()
    for seconds in (0.01, 0.02, 0.3):
        recent.took("admission", seconds, NOW)
    recent.took("outcome", 1.5, NOW - timedelta(minutes=1))
    [time] = recent.work_times(NOW)
    assert (time.stage, time.median, time.most, time.mails) == ("admission", 0.02, 0.3, 3)


def test_nothing_delivered_has_no_times(store: OpenStore):
    assert store.run(stage_times, []) == []
