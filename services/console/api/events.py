"""Events as they happen, over server-sent events; a client that comes back goes on where it was."""

import asyncio
from typing import Annotated, Any, get_args

import msgspec
import structlog
from litestar.connection import Request
from litestar.handlers import asgi
from litestar.types import Receive, Send
from litestar.types import Scope as AsgiScope
from msgspec import Meta

from services.console import examples
from services.console.api.streams import Answering, gone, only
from services.console.described import Answer, described
from services.console.problems import refusal
from services.console.reading import read_query
from shared.broker import Broker, Consumer, Delivery
from shared.console_accounts import Scope
from shared.contracts.events import Event, EventKind
from shared.contracts.words import BatchLabel
from shared.refusals import Invalid
from shared.topology import EVENTS

log = structlog.get_logger()

MEDIA_TYPE = "text/event-stream"

_AT_ONCE = 200
_MOST_CLIENTS = 100  # each has a channel of its own at the broker
_SAY_SOMETHING_S = 15.0  # what stands between ends connections that are silent
_KINDS = get_args(EventKind)
_Offset = Annotated[int, Meta(ge=-1, le=2**62)]


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events; what is given must all match."""

    kind: Annotated[
        str | None,
        Meta(
            description=f"one, or several with commas, of {', '.join(_KINDS)}; absent: all",
            examples=["deferred,bounced"],
        ),
    ] = None
    domain: Annotated[
        str | None, Meta(description="the recipient's: one, or several with commas", examples=["example.net"])
    ] = None
    batch: Annotated[
        BatchLabel | None, Meta(description="the label that the client gave the mail", examples=["orders-2026-11"])
    ] = None
    after: Annotated[
        _Offset | None,
        Meta(
            description="the id of the last event seen; -1: from the first that the stream still has; absent: from "
            "now on",
            examples=[4711],
        ),
    ] = None


class Returning(msgspec.Struct, frozen=True):
    """The header of a client that was here before."""

    last_event_id: Annotated[
        str,
        Meta(max_length=200, description="the id of the last event seen; it counts before `after`", examples=["4711"]),
    ] = msgspec.field(default="", name="Last-Event-ID")


class Filter(msgspec.Struct, frozen=True):
    """What a client wants to hear."""

    kinds: frozenset[str]
    domains: frozenset[str]
    batch: str | None

    def wants(self, event: "_Event") -> bool:
        """Whether it is to be told."""
        if self.kinds and event.event not in self.kinds:
            return False
        if self.batch is not None and event.batch != self.batch:
            return False
        if not self.domains:
            return True
        return any(
            address.rpartition("@")[2].lower() in self.domains for address in (event.recipient, *event.recipients)
        )


class _Event(msgspec.Struct, frozen=True):
    """As much of an event as is needed to choose."""

    event: str
    batch: str = ""
    recipient: str = ""
    recipients: list[str] = []


def filter_of(wanted: Wanted) -> Filter:
    """The filter. Raises Invalid."""
    kinds = frozenset(_split(wanted.kind))
    if unknown := sorted(kinds - set(_KINDS)):
        raise Invalid("kind", f"got {unknown[0][:80]!r}; takes some of {', '.join(_KINDS)}")
    return Filter(kinds, frozenset(domain.lower() for domain in _split(wanted.domain)), wanted.batch)


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def frames(delivery: Delivery, chosen: Filter) -> bytes:
    """The events of a message as the client gets them; nothing where it wants none of them.

    The last has the message's place in the stream as its id: whoever goes on behind that has had them all.
    """
    told = [told for line in delivery.body.split(b"\n") if (told := _told(line, chosen))]
    return b"\n\n".join([*told[:-1], b"id: %d\n%b" % (delivery.offset, told[-1]), b""]) if told else b""


def _told(line: bytes, chosen: Filter) -> bytes:
    try:
        event = msgspec.json.decode(line, type=_Event)
    except msgspec.DecodeError:  # nobody but the scheduler may publish there; but one that can would end all clients
        return b""
    if not chosen.wants(event):
        return b""
    return b"event: %b\ndata: %b" % (event.event.encode(), line.replace(b"\r", b""))


class EventStreams:
    """The clients that listen."""

    def __init__(self, broker: Broker, stop: asyncio.Event) -> None:
        """`stop`: the console ends."""
        self._broker = broker
        self._stop = stop
        self._listening = 0
        self._closing: set[asyncio.Task[None]] = set()

    async def serve(self, wanted: Wanted, receive: Receive, send: Send) -> None:
        """Tell a client of events until it goes, or the console ends. Raises Refusal."""
        chosen = filter_of(wanted)
        if self._listening >= _MOST_CLIENTS:
            raise refusal(503, f"{_MOST_CLIENTS} clients listen already", name="too-many-listeners")
        self._listening += 1
        place = _Place(wanted.after)
        consumer = self._broker.consume(EVENTS, _AT_ONCE, arguments=place.arguments)
        ends = [asyncio.create_task(wait) for wait in (gone(receive), _set(self._stop))]
        try:
            answering = Answering(send)
            await answering.begin(MEDIA_TYPE)
            await answering.write(b"retry: 2000\n\n")
            await _tell(answering, consumer, place, chosen, ends)
            await answering.end()
        finally:
            self._listening -= 1
            for end in ends:
                end.cancel()
            # Beside: the request may be cancelled, and closing takes the broker's answer.
            closing = asyncio.create_task(consumer.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


class _Place:
    """Where in the stream a client is; a new subscription goes on there."""

    def __init__(self, after: int | None) -> None:
        self._next: int | None = None if after is None else after + 1

    def arguments(self) -> dict[str, Any]:
        return {"x-stream-offset": "next" if self._next is None else self._next}

    def is_new(self, delivery: Delivery) -> bool:
        """Whether it was not told yet: the broker may begin a little before the place that it was asked for."""
        if delivery.offset < 0 or (self._next is not None and delivery.offset < self._next):
            return False
        self._next = delivery.offset + 1
        return True


async def _tell(
    answering: Answering, consumer: Consumer, place: _Place, chosen: Filter, ends: list[asyncio.Task[None]]
) -> None:
    while not any(end.done() for end in ends):
        batch = asyncio.create_task(consumer.batch(_AT_ONCE))
        await asyncio.wait({batch, *ends}, timeout=_SAY_SOMETHING_S, return_when=asyncio.FIRST_COMPLETED)
        if not batch.done():
            batch.cancel()
            await answering.write(b": nothing new\n\n")
            continue
        deliveries = batch.result()
        told = b"".join(frames(delivery, chosen) for delivery in deliveries if place.is_new(delivery))
        consumer.ack(deliveries)
        if told:
            await answering.write(told)


async def _set(event: asyncio.Event) -> None:
    await event.wait()


def events_handler(streams: EventStreams) -> Any:
    """The handler of `GET /events`."""

    @asgi(
        "/events",
        copy_scope=False,
        opt=described(
            summary="Events as they happen (server-sent events). The id of one is its place in the stream: a client "
            "that sends it as `Last-Event-ID` goes on behind it; events without one belong to the next that has one. "
            "The stream keeps seven days, or a gigabyte.",
            scope=Scope.READ,
            query=Wanted,
            headers=Returning,
            answers={200: Answer("events, until the client goes", Event, MEDIA_TYPE, examples.EVENT)},
            method="GET",
            problems=(422,),
        ),
    )
    async def events(scope: AsgiScope, receive: Receive, send: Send) -> None:
        only("GET", scope)
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        await streams.serve(_wanted(request), receive, send)

    return events


def _wanted(request: Request[Any, Any, Any]) -> Wanted:
    wanted = read_query(request, Wanted)
    last = request.headers.get("last-event-id", "").strip()
    if not last:
        return wanted
    if not last.isdecimal() or len(last) > 18:
        raise Invalid("Last-Event-ID", f"got {last[:80]!r}; takes the id of an event, a number")
    return msgspec.structs.replace(wanted, after=int(last))
