"""Dead letters: what could not be understood, kept with the reason until an operator looks."""

from shared import metrics
from shared.broker import Delivery, Message, Properties, Publisher, fits_in_headers
from shared.topology import DEAD

REASON = "x-pillarbox-reason"
CAME_FROM = "x-pillarbox-from"  # the exchange it was published to, where a redrive puts it back

_LONGEST_REASON = 500  # characters: headers share one frame


class NotPutAside(Exception):
    """The broker does not take a dead letter: what it stands for may not be acknowledged."""


async def put_aside(publisher: Publisher, delivery: Delivery, came_from: str, reason: str) -> None:
    """Publish the dead letter of a delivery, which may be acknowledged then. Raises NotPutAside."""
    for refusal in await publisher.publish([dead_letter(delivery, came_from, reason)]):
        raise NotPutAside(refusal.reason)


def dead_letter(delivery: Delivery, came_from: str, reason: str) -> Message:
    """The message that puts a delivery aside; publish it, then acknowledge the delivery."""
    metrics.DEAD.labels(came_from).inc()
    original = delivery.properties
    ours = {REASON: reason[:_LONGEST_REASON], CAME_FROM: came_from}
    theirs = {name: value for name, value in original.headers.items() if fits_in_headers({name: value})}
    return Message(
        DEAD,
        "",
        delivery.body,
        Properties(
            message_id=original.message_id,
            content_type=original.content_type,
            correlation_id=original.correlation_id,
            reply_to=original.reply_to,
            headers={**theirs, **ours} if fits_in_headers({**theirs, **ours}) else ours,
        ),
    )
