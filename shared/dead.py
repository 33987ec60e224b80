"""Dead letters: what could not be understood, kept with the reason until an operator looks."""

from shared import metrics
from shared.broker import Delivery, Message, Properties
from shared.topology import DEAD

REASON = "x-pillarbox-reason"
CAME_FROM = "x-pillarbox-from"  # the exchange it was published to, where a redrive puts it back

_LONGEST_REASON = 500  # characters: headers share one frame


def dead_letter(delivery: Delivery, came_from: str, reason: str) -> Message:
    """The message that puts a delivery aside; publish it, then acknowledge the delivery."""
    metrics.DEAD.inc()
    original = delivery.properties
    plain = {name: value for name, value in original.headers.items() if isinstance(value, str | int | bool | list)}
    return Message(
        DEAD,
        "",
        delivery.body,
        Properties(
            message_id=original.message_id,
            content_type=original.content_type,
            correlation_id=original.correlation_id,
            reply_to=original.reply_to,
            headers={**plain, REASON: reason[:_LONGEST_REASON], CAME_FROM: came_from},
        ),
    )
