"""Events, published after the commit that made them true."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import msgspec
import structlog

from services.scheduler.outcomes import key_of
from services.scheduler.suppression import Suppressed
from shared import metrics
from shared.broker import Message, Properties, Publisher
from shared.contracts.events import Event, EventKind, Rejected
from shared.contracts.words import BounceClass
from shared.refusals import Invalid
from shared.settings_feed import SettingsFeed
from shared.topology import EVENTS

log = structlog.get_logger()

# The broker's cost is per message: events of one key that come together travel together, each in a line of its own.
_PROPERTIES = Properties(content_type="application/x-ndjson")
_MOST_OCTETS = 64 * 1024  # of events in one message
_encoder = msgspec.json.Encoder()


class Announcer:
    """Publishes the kinds of events that the settings name."""

    def __init__(self, publisher: Publisher, feed: SettingsFeed) -> None:
        self._publisher = publisher
        self._feed = feed

    def wanted(self, kind: EventKind) -> bool:
        """Whether anybody is told of this kind; ask before building many."""
        return kind in self._feed.settings.events

    @property
    def revision(self) -> int:
        """The settings revision in force."""
        return self._feed.revision

    async def announce(self, events: Iterable[Event]) -> None:
        """Publish and wait for the confirms. Nobody may be listening: these alone are not mandatory."""
        kinds = self._feed.settings.events
        wanted = [event for event in events if event.__struct_config__.tag in kinds]
        await self._publisher.publish([_message(key, lines) for key, lines in together(wanted)])


def together(events: Iterable[Event]) -> Iterator[tuple[str, list[bytes]]]:
    """The lines of each message, by its key: those of one key in their order."""
    open_parts: dict[str, list[bytes]] = {}
    octets: dict[str, int] = {}
    for event in events:
        key, line = _key(event), _encoder.encode(event)
        if octets.get(key, 0) + len(line) > _MOST_OCTETS and key in open_parts:
            yield key, open_parts.pop(key)
            octets[key] = 0
        open_parts.setdefault(key, []).append(line)
        octets[key] = octets.get(key, 0) + len(line)
    yield from open_parts.items()


def _key(event: Event) -> str:
    address = getattr(event, "recipient", "") or next(iter(getattr(event, "recipients", ())), "")
    return key_of(str(event.__struct_config__.tag), address)


def _message(key: str, lines: Sequence[bytes]) -> Message:
    return Message(EVENTS, key, b"\n".join(lines), _PROPERTIES, mandatory=False)


def rejected(mail: str, refused: Invalid, now: datetime) -> Rejected:
    """The event that answers a submission which was refused."""
    return Rejected(mail=mail, time=now, field=refused.field, reason=refused.reason)


def log_suppressed(suppressed: Sequence[Suppressed]) -> None:
    """Log and count recipients that were on the suppression list."""
    for one in suppressed:
        metrics.OUTCOMES.labels("bounced").inc()
        metrics.FAILURES.labels("bounced", BounceClass.SUPPRESSED).inc()
        log.warning(
            "bounced",
            mail=one.draft.id,
            recipient=one.recipient,
            attempt=0,
            host="",
            reply=str(one.verdict),
            bounce_class=BounceClass.SUPPRESSED,
            next="none",
        )
