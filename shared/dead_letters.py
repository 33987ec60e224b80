"""Dead letters as an operator sees them: where they were published, why they died, and how they go back."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from shared.broker import Broker, Delivery, Message, Peek, Properties
from shared.commander import NotTaken
from shared.dead import CAME_FROM, REASON
from shared.topology import DEAD, SEND

T = TypeVar("T")

PATIENCE = timedelta(seconds=30)  # for each answer of the broker
_AT_ONCE = 500  # held at a time while redriving

_OURS = (REASON, CAME_FROM)
# What the broker adds while it counts deliveries and moves a message to its dead-letter exchange.
_BROKERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count", "x-opt-")
_BROKER_REASONS = {
    "delivery_limit": "every worker that had it failed, until its delivery limit",
    "rejected": "a worker rejected it",
    "maxlen": "its queue was full",
    "expired": "it expired in its queue",
}


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One of them."""

    number: int  # its place in the queue, from 1
    mark: str  # eight digits over its octets: names it also when the places have changed
    message_id: str
    exchange: str  # where it was published; "" when nothing tells
    key: str
    reason: str
    died: datetime | None
    content_type: str
    headers: dict[str, Any]  # its own ones
    size: int
    body: bytes


class Redrive(msgspec.Struct, frozen=True):
    """What became of the dead letters."""

    gone: list[DeadLetter]
    failed: list[tuple[DeadLetter, str]]


async def read_letters(broker: Broker, patience: timedelta = PATIENCE, *, limit: int) -> tuple[list[DeadLetter], int]:
    """So many of them, oldest first, and how many there are.

    Raises TimeoutError when the broker does not answer within its time.
    """
    total = await _within(patience, broker.count(DEAD))
    async with _held(broker, min(limit, total), patience) as peek:
        letters = [read_letter(number, delivery) for number, delivery in enumerate(peek.deliveries, 1)]
    await _within(patience, _are_back(broker, len(letters)))
    return letters, total


async def redrive(broker: Broker, patience: timedelta = PATIENCE, *, only: Sequence[str]) -> Redrive:
    """Publish them again where they were published first, all or those chosen.

    It goes once through what lay there at the start: what dies again meanwhile comes to the end and is left. The
    first page with one that is not taken is the last. Raises TimeoutError when the broker does not answer in time.
    """
    done = Redrive([], [])
    left = await _within(patience, broker.count(DEAD))
    # A selection has to see all of the queue at once, as those not chosen go back to its front.
    page = left if only else _AT_ONCE
    while left > 0:
        async with _held(broker, min(page, left), patience) as peek:
            letters = [read_letter(number, delivery) for number, delivery in enumerate(peek.deliveries, 1)]
            for letter, delivery in zip(letters, peek.deliveries, strict=True):
                if is_chosen(letter, only):
                    await _redrive_one(broker, peek, letter, delivery, done, patience)
            left = 0 if done.failed or not letters else left - len(letters)
    return done


async def _redrive_one(
    broker: Broker, peek: Peek, letter: DeadLetter, delivery: Delivery, done: Redrive, patience: timedelta
) -> None:
    if not letter.exchange:
        done.failed.append((letter, "nothing tells where it was published; it stays"))
        return
    refused = await _within(patience, broker.publisher.publish([redriven(letter, delivery)]))
    if refused:
        done.failed.append((letter, f"the broker did not take it: {NotTaken(refused[0])}; it stays"))
        return
    # Publish before ack: a crash between the two repeats it, never loses it.
    peek.ack(delivery)
    done.gone.append(letter)


@asynccontextmanager
async def _held(broker: Broker, limit: int, patience: timedelta) -> AsyncIterator[Peek]:
    peek = await _within(patience, broker.get(DEAD, limit))
    try:
        yield peek
    finally:
        await peek.close()


async def _are_back(broker: Broker, letters: int) -> None:
    """The broker puts them back in its own time: whoever redrives what was just listed is to find it."""
    for _ in range(20):  # not for ever: somebody else may hold some of them
        if await broker.count(DEAD) >= letters:
            return
        await asyncio.sleep(0.05)


async def _within(patience: timedelta, answer: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(patience.total_seconds()):
        return await answer


def read_letter(number: int, delivery: Delivery) -> DeadLetter:
    """What a delivery of the dead-letter queue tells."""
    headers = delivery.properties.headers
    exchange, key = origin(headers)
    identity = (delivery.properties.message_id or "").encode()
    return DeadLetter(
        number=number,
        mark=hashlib.sha256(identity + b"\0" + delivery.body).hexdigest()[:8],
        message_id=delivery.properties.message_id or "",
        exchange=exchange,
        key=key,
        reason=reason_of(headers),
        died=_first_death(headers).get("time"),
        content_type=delivery.properties.content_type or "",
        headers={name: value for name, value in headers.items() if not _added(name)},
        size=len(delivery.body),
        body=delivery.body,
    )


def origin(headers: Mapping[str, Any]) -> tuple[str, str]:
    """Exchange and key it was published with, as a worker or the broker noted them; "" for an unknown exchange."""
    exchange = headers.get(CAME_FROM) or headers.get("x-first-death-exchange") or _first_death(headers).get("exchange")
    if not isinstance(exchange, str):
        return "", ""
    keys = _first_death(headers).get("routing-keys") or [""]
    # Any lane will do for a work message whose lane nobody noted: senders consume them all.
    return exchange, str(keys[0]) or ("0" if exchange == SEND else "")


def reason_of(headers: Mapping[str, Any]) -> str:
    """Why it died, in words."""
    if isinstance(said := headers.get(REASON), str):
        return said
    death = _first_death(headers)
    word = str(death.get("reason", "unknown"))
    queue = f" ({death['queue']})" if death.get("queue") else ""
    return _BROKER_REASONS.get(word, word) + queue


def redriven(letter: DeadLetter, delivery: Delivery) -> Message:
    """The message as it was first published; what was added when it died is left out."""
    properties = Properties(
        message_id=delivery.properties.message_id,
        content_type=delivery.properties.content_type,
        correlation_id=delivery.properties.correlation_id,
        reply_to=delivery.properties.reply_to,
        headers=letter.headers,
    )
    return Message(letter.exchange, letter.key, letter.body, properties)


def is_chosen(letter: DeadLetter, only: Sequence[str]) -> bool:
    """Whether a selection names it: by its place, its mark or its message id. An empty one names all."""
    return not only or not {str(letter.number), letter.mark, letter.message_id}.isdisjoint(only)


def _added(name: str) -> bool:
    return name in _OURS or name.startswith(_BROKERS)


def _first_death(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """The oldest entry of `x-death`, which has the newest in front."""
    deaths = headers.get("x-death")
    if isinstance(deaths, list) and deaths and isinstance(deaths[-1], Mapping):
        return deaths[-1]
    return {}
