"""The scheduler's part in the settings: it copies each accepted document into the store, and fills an empty stream."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime

import structlog

from services.scheduler import inquiry
from services.scheduler.announce import Announcer
from shared.broker import Message, Properties, Publisher
from shared.contracts.answers import SettingsVersion
from shared.contracts.events import SettingsRejected
from shared.mail_store.thread import StoreThread
from shared.settings import Settings, SettingsDocument, encode_document, to_document
from shared.settings_feed import InForce, Rejection
from shared.topology import SETTINGS

log = structlog.get_logger()

# A stream that has anything delivers it within milliseconds of the subscription.
_EMPTY_AFTER_S = 3.0


class SettingsKeeper:
    """Knows the documents."""

    def __init__(self, thread: StoreThread, publisher: Publisher) -> None:
        self._thread = thread
        self._publisher = publisher
        self._news: asyncio.Queue[InForce | Rejection] = asyncio.Queue()
        self.current: SettingsVersion | None = None
        self.next_revision = 0
        self.arrived = asyncio.Event()

    def on_change(self, accepted: InForce) -> None:
        """A document was accepted."""
        self.current = SettingsVersion(
            revision=accepted.revision,
            time=accepted.since,
            author=accepted.document.author,
            comment=accepted.document.comment,
            settings=to_document(accepted.settings),
            restores=accepted.document.restores,
        )
        self._saw(accepted.revision)
        self._news.put_nowait(accepted)

    def on_reject(self, rejection: Rejection) -> None:
        """A document was refused."""
        self._saw(rejection.revision)
        self._news.put_nowait(rejection)

    async def fill_an_empty_stream(self, subscribed: Awaitable[None]) -> None:
        """Publish the settings when the stream has none: the last known ones, else the defaults.

        Each goes out for one revision only, so a document that somebody published meanwhile stands. A stream that
        was lost is filled up past the last revision known, so that revisions never repeat.
        """
        await subscribed
        try:
            await asyncio.wait_for(self.arrived.wait(), _EMPTY_AFTER_S)
        except TimeoutError:
            known = await self._thread.read(inquiry.settings_versions, None, 1)
            await self._publish(known[0] if known else None)

    async def note_loop(self, announcer: Announcer) -> None:
        """Keep what was accepted and announce what was refused, for ever."""
        while True:
            match await self._news.get():
                case InForce():
                    assert self.current is not None
                    await self._thread.run(inquiry.keep_settings, self.current)
                case Rejection(revision, field, reason, author):
                    now = datetime.now(UTC)
                    await announcer.announce(
                        [SettingsRejected(time=now, revision=revision, field=field, reason=reason, author=author)]
                    )

    async def _publish(self, known: SettingsVersion | None) -> None:
        last = known.revision if known else -1
        settings = known.settings if known else to_document(Settings())
        log.warning("settings_stream_empty", last_known_revision=last, next="publish_the_last_known_settings")
        messages = [
            Message(
                SETTINGS,
                "",
                encode_document(
                    SettingsDocument(
                        settings=settings,
                        author="scheduler",
                        comment="the stream was empty",
                        restores=known.revision if known else None,
                        revision=revision,
                    )
                ),
                Properties(content_type="application/json"),
            )
            for revision in range(last + 2)
        ]
        await self._publisher.publish(messages)

    def _saw(self, revision: int) -> None:
        self.next_revision = max(self.next_revision, revision + 1)
        self.arrived.set()
