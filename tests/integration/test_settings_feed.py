"""Every worker follows the settings' stream: the last valid document at the start, each new one within a second."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.scheduler import inquiry
from services.scheduler.settings_keeper import SettingsKeeper
from shared.broker import Broker, Message, Properties, binding, exchange, queue
from shared.contracts.answers import SettingsVersion
from shared.mail_store.making_ready import create_tables
from shared.mail_store.thread import StoreThread
from shared.settings import Settings, SettingsDocument, encode_document, to_document
from shared.settings_feed import InForce, Rejection, SettingsFeed
from shared.topology import QUEUES, SETTINGS
from tests.support.broker import run
from tests.support.rabbitmq import drop_connections
from tests.support.store import NOW

pytestmark = pytest.mark.each_rabbitmq

NO_JSON = b'{"settings": 3, <rubbish'
BAD_FIELD = b'{"settings": {"sending": {"hold": "soon"}}, "author": "bob"}'


def held_for(minutes: int, **more: Any) -> bytes:
    """A document that differs from others in its hold."""
    settings = {"sending": {"hold": f"{minutes}m"}}
    return encode_document(SettingsDocument(settings=settings, author="ann", comment=f"{minutes}", **more))


@asynccontextmanager
async def stream(url: str, *documents: bytes) -> AsyncIterator[Broker]:
    """A broker whose settings' stream has these documents."""
    broker = Broker(url, "test", patience_s=20)
    await broker.start()
    try:
        parts = (exchange(SETTINGS, "fanout"), queue(SETTINGS, QUEUES[SETTINGS]), binding(SETTINGS, SETTINGS, ""))
        await broker.declare(parts)
        await publish(broker, *documents)
        yield broker
    finally:
        await broker.close()


async def publish(broker: Broker, *documents: bytes) -> None:
    for body in documents:  # one by one, so that each is a chunk of its own
        message = Message(SETTINGS, "", body, Properties(content_type="application/json"))
        assert await broker.publisher.publish([message]) == []


class Follower:
    """A worker's feed, and what it was told."""

    def __init__(self, broker: Broker) -> None:
        self.rejections: list[Rejection] = []
        self.told: list[InForce] = []
        self.feed = SettingsFeed(broker, on_reject=self.rejections.append)
        self.feed.watch(self.told.append)
        self.feed.subscribe()
        self._following = asyncio.create_task(self.feed.follow())

    async def first(self) -> tuple[int, str]:
        """Revision and hold of the first settings in force."""
        in_force = await self.feed.first()
        return in_force.revision, str(in_force.settings.sending.hold)

    async def until_revision(self, revision: int) -> None:
        """Wait until this one is in force."""
        while not self.told or self.feed.revision != revision:
            assert not self._following.done(), self._following.result()
            await asyncio.sleep(0.005)

    async def until_rejected(self, revision: int) -> Rejection:
        """Wait until this one is refused."""
        while True:
            assert not self._following.done(), self._following.result()
            for rejection in self.rejections:
                if rejection.revision == revision:
                    return rejection
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("documents", "first"),
    [
        ([held_for(1)], (0, "1m")),
        ([held_for(1), held_for(2), held_for(3)], (2, "3m")),
        ([held_for(1), held_for(2), BAD_FIELD], (1, "2m")),
        ([held_for(1), held_for(2), BAD_FIELD, NO_JSON, BAD_FIELD], (1, "2m")),
        ([BAD_FIELD, held_for(1), NO_JSON], (1, "1m")),
        ([held_for(1), *[NO_JSON] * 150], (0, "1m")),  # more than the consumer's prefetch
        ([NO_JSON] * 5 + [held_for(9)], (5, "9m")),
    ],
)
def test_at_the_start_the_last_valid_document_comes_into_force(amqp_url, documents, first):
    async def scene() -> None:
        async with stream(amqp_url, *documents) as broker:
            follower = Follower(broker)
            assert await follower.first() == first
            assert follower.told[-1].document.author == "ann"
            assert follower.told[-1].revision == first[0]

    run(scene())


@pytest.mark.parametrize("documents", [[], [NO_JSON], [BAD_FIELD, NO_JSON, NO_JSON]])
def test_without_a_valid_document_a_worker_waits_for_one(amqp_url, documents):
    async def scene() -> None:
        async with stream(amqp_url, *documents) as broker:
            follower = Follower(broker)
            await follower.feed.subscribed()
            stop = asyncio.Event()
            waiting = asyncio.create_task(follower.feed.first_unless(stop))
            if documents:
                await follower.until_rejected(len(documents) - 1)
            assert not waiting.done()
            await publish(broker, held_for(7))
            await waiting
            assert await follower.first() == (len(documents), "7m")

    run(scene())


def test_who_waits_for_settings_can_be_told_to_stop(amqp_url):
    async def scene() -> None:
        async with stream(amqp_url) as broker:
            follower, stop = Follower(broker), asyncio.Event()
            stop.set()
            await follower.feed.first_unless(stop)
            assert follower.told == []

    run(scene())


def test_a_new_document_is_in_force_within_a_second_and_told_once(amqp_url):
    async def scene() -> None:
        async with stream(amqp_url, held_for(1)) as broker:
            followers = [Follower(broker) for _ in range(3)]
            for follower in followers:
                await follower.first()
            for revision in range(1, 6):
                published = time.monotonic()
                await publish(broker, held_for(revision + 1))
                await asyncio.gather(*(follower.until_revision(revision) for follower in followers))
                assert time.monotonic() - published < 1
            for follower in followers:
                assert [in_force.revision for in_force in follower.told] == [0, 1, 2, 3, 4, 5]
                assert follower.feed.settings.sending.hold.total_seconds() == 360

    run(scene())


HOSTILE = [
    NO_JSON,
    BAD_FIELD,
    b"",
    b"null",
    b"\xff\xfe",
    b'{"author": "\xff"}',
    b'{"settings": {}, "author": 5}',
    b'{"settings": ' + b"[" * 100_000,
    b'{"settings": {"sending": {"hold": 1' + b"0" * 400 + b"}}}",
    b'{"settings": {"identity": {"reply_to": "a@b@c"}}}',
    b'{"settings": {"relay": {"auth": {"user": "u", "password": "hunter2"}}}}',
    b'{"settings": {}, "comment": "\\u0000"}',
    b'{"settings": {}, "restores": 99999999999999999999}',
    b'{"settings": {}, "restores": -1}',
    b'{"settings": {}, "unknown": 1}',
]


def test_an_invalid_document_changes_nothing_and_is_told_with_field_and_author(amqp_url):
    async def scene() -> None:
        async with stream(amqp_url, held_for(1)) as broker:
            follower = Follower(broker)
            await follower.first()
            await publish(broker, *HOSTILE)
            for revision in range(1, len(HOSTILE) + 1):
                await follower.until_rejected(revision)
            bad_field = await follower.until_rejected(2)
            assert (bad_field.field, bad_field.author) == ("sending.hold", "bob")
            assert (follower.feed.revision, len(follower.told)) == (0, 1)
            assert not any("hunter2" in rejection.reason for rejection in follower.rejections)
            await publish(broker, held_for(2))
            await follower.until_revision(len(HOSTILE) + 1)

    run(scene())


def test_a_worker_that_starts_behind_hostile_documents_finds_the_valid_one(amqp_url):
    async def scene() -> None:
        async with stream(amqp_url, held_for(4), *HOSTILE) as broker:
            follower = Follower(broker)
            assert await follower.first() == (0, "4m")
            revisions = [rejection.revision for rejection in follower.rejections]
            assert len(revisions) == len(set(revisions)), "each is told once"

    run(scene())


@pytest.mark.parametrize(("meant_for", "taken"), [(1, True), (None, True), (0, False), (2, False), (7, False)])
def test_a_document_meant_for_another_revision_is_refused(amqp_url, meant_for, taken):
    async def scene() -> None:
        async with stream(amqp_url, held_for(1)) as broker:
            follower = Follower(broker)
            await follower.first()
            await publish(broker, held_for(2, revision=meant_for))
            if taken:
                await follower.until_revision(1)
            else:
                rejection = await follower.until_rejected(1)
                assert (rejection.field, rejection.author) == ("revision", "ann")
                assert f"got {meant_for}, but it came as 1" in rejection.reason
                assert follower.feed.revision == 0

    run(scene())


def test_of_two_changes_made_at_once_the_second_does_not_undo_the_first(amqp_url):
    async def scene() -> None:
        async with stream(amqp_url, held_for(1)) as broker:
            follower = Follower(broker)
            await follower.first()
            await asyncio.gather(*(publish(broker, held_for(hold, revision=1)) for hold in (2, 3)))
            await follower.until_revision(1)
            assert (await follower.until_rejected(2)).field == "revision"

    run(scene())


def test_after_a_lost_connection_the_feed_goes_on_where_it_was(rabbitmq, amqp_url):
    async def scene() -> None:
        async with stream(amqp_url, held_for(1), held_for(2)) as broker:
            follower = Follower(broker)
            assert await follower.first() == (1, "2m")
            for revision in (2, 3):
                await asyncio.to_thread(drop_connections, rabbitmq)
                await publish(broker, held_for(revision + 1))
                await follower.until_revision(revision)
            assert [in_force.revision for in_force in follower.told] == [1, 2, 3]

    run(scene())


def test_a_connection_lost_while_the_last_valid_one_is_looked_for_costs_nothing(rabbitmq, amqp_url):
    async def scene() -> None:
        async with stream(amqp_url, held_for(1), *[NO_JSON] * 100) as broker:
            follower = Follower(broker)
            await follower.until_rejected(100)
            await asyncio.to_thread(drop_connections, rabbitmq)
            assert await follower.first() == (0, "1m")

    run(scene())


# ---------------------------------------------------------------------------------------------------------
# The scheduler's part


@asynccontextmanager
async def keeper(
    broker: Broker, sqlite_url: str, *known: SettingsVersion
) -> AsyncIterator[tuple[SettingsKeeper, Follower]]:
    thread = StoreThread(sqlite_url)
    await thread.run(create_tables)
    for version in known:
        await thread.run(inquiry.keep_settings, version)
    one = SettingsKeeper(thread, broker.publisher)
    follower = Follower(broker)
    follower.feed.watch(one.on_change)
    yield one, follower
    thread.close()


def test_an_empty_stream_gets_the_defaults(amqp_url, sqlite_url):
    async def scene() -> None:
        async with stream(amqp_url) as broker, keeper(broker, sqlite_url) as (one, follower):
            await one.fill_an_empty_stream(follower.feed.subscribed())
            await follower.until_revision(0)
            assert follower.feed.settings == Settings()
            assert (one.current.author, one.next_revision) == ("scheduler", 1)

    run(scene())


def test_a_lost_stream_gets_the_last_known_settings_under_a_revision_that_was_never_given(amqp_url, sqlite_url):
    known = SettingsVersion(
        revision=3, time=NOW, author="ann", comment="", settings={**to_document(Settings()), "tls": "require"}
    )

    async def scene() -> None:
        async with stream(amqp_url) as broker, keeper(broker, sqlite_url, known) as (one, follower):
            await one.fill_an_empty_stream(follower.feed.subscribed())
            await follower.until_revision(4)
            assert follower.feed.settings.tls == "require"
            assert one.current.restores == 3
            assert follower.rejections == []

    run(scene())


def test_a_stream_that_has_settings_is_left_alone(amqp_url, sqlite_url):
    async def scene() -> None:
        async with stream(amqp_url, held_for(1)) as broker, keeper(broker, sqlite_url) as (one, follower):
            await one.fill_an_empty_stream(follower.feed.subscribed())
            await publish(broker, held_for(2))
            await follower.until_revision(1)
            assert follower.rejections == []

    run(scene())
