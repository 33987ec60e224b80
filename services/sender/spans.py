"""The spans of attempts: from the claim of a mail to what came of it. None where no traces are wanted."""

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from services.sender.work import ClaimedWork
from shared.outcomes import Delivered, Outcome, Parked

if TYPE_CHECKING:
    from shared.otel import Tracer


class AttemptSpans:
    """Those of the mails that one sender has in hand."""

    def __init__(self, tracer: "Tracer") -> None:
        self._tracer = tracer
        self._begun: dict[ClaimedWork, int] = {}  # nanoseconds since 1970

    def begin(self, claimed: Iterable[ClaimedWork]) -> None:
        """These are claimed; those that carry no trace get no span."""
        now = time.time_ns()
        self._begun.update((work, now) for work in claimed if work.work.request.envelope.trace)

    def end(self, claimed: ClaimedWork, outcomes: Sequence[Outcome]) -> None:
        """This is what came of one, a recipient each. No reply's text: it may name people."""
        begun = self._begun.pop(claimed, None)
        if begun is None:
            return
        work = claimed.work
        telling = next((outcome for outcome in outcomes if not isinstance(outcome, Delivered)), outcomes[0])
        said: dict[str, str | int] = {
            "pillarbox.mail": work.request.envelope.mail,
            "pillarbox.attempt": claimed.attempts[0],
            "pillarbox.site": work.route.site,
            "pillarbox.recipients": len(outcomes),
            "pillarbox.outcome": type(telling).__name__.lower(),
        }
        if isinstance(telling, Parked):
            failure = f"parked: {telling.reason}"
        else:
            said |= {"server.address": telling.host, "pillarbox.reply": _codes(telling)}
            failure = "" if isinstance(telling, Delivered) else f"{said['pillarbox.outcome']}: {_codes(telling)}"
        self._tracer.record_call("pillarbox.send", work.request.envelope.trace, begun, said, failure)


def attempt_spans(tracer: "Tracer | None") -> AttemptSpans | None:
    """None without a tracer."""
    return None if tracer is None else AttemptSpans(tracer)


def _codes(outcome: Outcome) -> str:
    assert not isinstance(outcome, Parked)
    return f"{outcome.reply.code} {outcome.reply.enhanced}".strip()
