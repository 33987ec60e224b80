"""The settings as a worker sees them: the last valid document of the stream, and each new one as it comes."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from shared import metrics
from shared.broker import Broker, Consumer, Delivery
from shared.refusals import Invalid
from shared.settings import Settings, SettingsDocument, parse_document, parse_settings
from shared.topology import SETTINGS

log = structlog.get_logger()


class InForce(msgspec.Struct, frozen=True):
    """A settings document that was accepted."""

    settings: Settings
    revision: int  # its offset in the stream
    document: SettingsDocument
    since: datetime


class Rejection(msgspec.Struct, frozen=True):
    """A settings document that was refused."""

    revision: int
    field: str
    reason: str
    author: str


class SettingsFeed:
    """Follows the stream. Until the first valid document there are no settings, and nobody works without."""

    def __init__(
        self,
        broker: Broker,
        on_reject: Callable[[Rejection], None] = lambda _: None,
    ) -> None:
        self._broker = broker
        self._watchers: list[Callable[[InForce], None]] = []
        self._on_reject = on_reject
        self._in_force: InForce | None = None
        self._arrived = asyncio.Event()
        self._next_offset: int | str = "last"
        # Set when the last document was refused at the start: all up to that offset is read again, from the first,
        # and only the last valid one comes into force.
        self._catching_up_to = -1
        self._candidate: InForce | None = None
        self._consumer: Consumer | None = None

    @property
    def now(self) -> InForce:
        """What is in force. Only after `first`."""
        assert self._in_force is not None
        return self._in_force

    @property
    def settings(self) -> Settings:
        """The settings in force. Only after `first`."""
        return self.now.settings

    @property
    def revision(self) -> int:
        """The revision in force. Only after `first`."""
        return self.now.revision

    def watch(self, tell: Callable[[InForce], None]) -> None:
        """Be told of every document that comes into force from now on."""
        self._watchers.append(tell)

    def subscribe(self) -> None:
        """Begin to read the stream."""
        self._consumer = self._broker.consume(SETTINGS, 100, arguments=self._where)

    async def subscribed(self) -> None:
        """Wait until the broker has accepted the subscription."""
        assert self._consumer is not None
        await self._consumer.subscribed()

    async def first(self) -> InForce:
        """Wait for the settings."""
        await self._arrived.wait()
        return self.now

    async def first_unless(self, stop: asyncio.Event) -> None:
        """Wait for the settings, or for `stop`."""
        waits = [asyncio.create_task(event.wait()) for event in (self._arrived, stop)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def follow(self) -> None:
        """Read the stream, for ever."""
        assert self._consumer is not None
        while True:
            deliveries = await self._consumer.batch(100)
            self._consumer.ack(deliveries)
            for delivery in deliveries:
                if delivery.offset < 0:  # its properties could not be read, and with them which revision it is
                    log.warning("settings_ignored", reason="no stream offset", next="the_former_stay_in_force")
                    continue
                self._next_offset = delivery.offset + 1
                self._take(delivery)
            if self._in_force is None and self._candidate is None and not self._catching_up_to >= 0:
                await self._start_from_the_first(deliveries[-1].offset)

    async def _start_from_the_first(self, up_to: int) -> None:
        assert self._consumer is not None
        self._catching_up_to = up_to
        self._next_offset = "first"
        await self._consumer.close()
        self.subscribe()

    def _where(self) -> dict[str, Any]:
        return {"x-stream-offset": self._next_offset}

    def _take(self, delivery: Delivery) -> None:
        author = ""
        try:
            document = parse_document(delivery.body)
            author = document.author
            if document.revision not in (None, delivery.offset):
                raise Invalid(
                    "revision",
                    f"got {document.revision}, but it came as {delivery.offset}: somebody else changed the settings "
                    "meanwhile; look at theirs and try again",
                )
            settings = parse_settings(document.settings)
        except Invalid as refused:
            self._refuse(delivery.offset, refused, author)
        except Exception as error:
            # What nobody planned for would take every worker down, now and at each start.
            log.exception("settings_not_judged", revision=delivery.offset, next="rejected")
            self._refuse(delivery.offset, Invalid("", f"could not be judged: {type(error).__name__}"), author)
        else:
            self._candidate = InForce(settings, delivery.offset, document, datetime.now(UTC))
        if self._candidate is not None and delivery.offset >= self._catching_up_to:
            self._put_in_force(self._candidate)
            self._candidate = None

    def _refuse(self, offset: int, refused: Invalid, author: str) -> None:
        metrics.SETTINGS_REJECTED.inc()
        log.warning(
            "settings_rejected",
            revision=offset,
            field=refused.field,
            reason=refused.reason,
            next="the_former_stay_in_force",
        )
        if offset > self._catching_up_to:  # the others were told when they came
            self._on_reject(Rejection(offset, refused.field, refused.reason, author))

    def _put_in_force(self, accepted: InForce) -> None:
        self._in_force = accepted
        metrics.REVISION.set(accepted.revision)
        log.info(
            "settings_in_force",
            revision=accepted.revision,
            author=accepted.document.author,
            comment=accepted.document.comment,
        )
        self._arrived.set()
        for tell in self._watchers:
            tell(accepted)
