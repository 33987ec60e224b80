"""The spans of the scheduler: a mail's admission, and its hold. Nothing here is used where no traces are wanted."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from services.scheduler.composed import Draft
from services.scheduler.traces import Hold
from shared.broker import Delivery
from shared.mail_store.tables import milliseconds
from shared.refusals import Invalid
from shared.tracing import context_in

if TYPE_CHECKING:
    from shared.otel import Span, Tracer


class Spans:
    """Spans of mails that one transaction is to admit: they end together."""

    def __init__(self) -> None:
        self._open: list[Span] = []

    def add(self, span: "Span") -> None:
        """One more."""
        self._open.append(span)

    def end(self) -> None:
        """What was begun is done."""
        for span in self._open:
            span.end()


def admission(
    tracer: "Tracer", delivery: Delivery, judged: Draft | Invalid, now: datetime, spans: Spans
) -> Draft | Invalid:
    """What was judged, with the trace that it is in from here on; the span of a draft goes to `spans`."""
    carried, begun = context_in(delivery.properties.headers), _nanoseconds(now)
    if isinstance(judged, Invalid):
        mail = delivery.properties.message_id or ""
        span = tracer.begin("pillarbox.admit", carried, begun, {"pillarbox.mail": mail})
        tracer.end(span, f"refused: {judged.field or 'unreadable'}")
        return judged
    said: dict[str, str | int] = {
        "pillarbox.mail": judged.id,
        "pillarbox.batch": judged.batch,
        "pillarbox.recipients": len(judged.composed.recipients),
        "pillarbox.size": len(judged.composed.content),
    }
    span = tracer.begin("pillarbox.admit", carried, begun, said)
    spans.add(span)
    return msgspec.structs.replace(judged, trace=tracer.carried_by(span))


def holds(tracer: "Tracer", over: Iterable[Hold]) -> None:
    """Record holds that are over now."""
    for hold in over:
        tracer.record("pillarbox.hold", hold.trace, _nanoseconds(hold.begun), {"pillarbox.mail": hold.mail})


def _nanoseconds(moment: datetime) -> int:
    return milliseconds(moment) * 1_000_000
