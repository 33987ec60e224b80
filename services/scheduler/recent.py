"""How long mails take from stage to stage, told by some that were just delivered, and by what each batch took.

Of each batch of outcomes one delivery is remembered, and its times are read when somebody asks: what every mail goes
through costs nothing for it.
"""

import statistics
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, get_args

import sqlalchemy as sa

from services.scheduler.outcomes import Change
from shared.contracts.answers import StageTime
from shared.mail_store.states import State
from shared.mail_store.tables import mails, recipients

_LATELY = timedelta(minutes=1)
_MOST = 500  # deliveries, and batches of each kind, looked at

Work = Literal["admission", "outcome"]


class Recent:
    """The last deliveries, and the scheduler's last batches."""

    def __init__(self) -> None:
        self._delivered: deque[tuple[datetime, int]] = deque(maxlen=_MOST)
        self._batches: dict[Work, deque[tuple[datetime, float]]] = {
            stage: deque(maxlen=_MOST) for stage in get_args(Work)
        }

    def note(self, changes: Sequence[Change]) -> None:
        """Remember one of a batch."""
        for change in reversed(changes):
            if change.state is State.DELIVERED:
                self._delivered.append((change.time, change.pending.number))
                return

    def took(self, stage: Work, seconds: float, now: datetime) -> None:
        """Remember how long a batch took."""
        self._batches[stage].append((now, seconds))

    def work_times(self, now: datetime) -> list[StageTime]:
        """How long the batches of the last minute took; none of a stage that had none."""
        return [
            time
            for stage, batches in self._batches.items()
            for time in _stage(stage, [seconds for at, seconds in batches if at > now - _LATELY])
        ]

    def lately(self, now: datetime) -> list[int]:
        """Numbers of recipients that were delivered in the last minute."""
        return [number for time, number in self._delivered if time > now - _LATELY]


def stage_times(connection: sa.Connection, numbers: Sequence[int]) -> list[StageTime]:
    """The times of these recipients; none where there are none."""
    rows = connection.execute(
        sa.select(
            mails.c.due, recipients.c.attempt, recipients.c.released, recipients.c.claimed, recipients.c.since
        )
        .join_from(recipients, mails, recipients.c.mail == mails.c.no)
        .where(recipients.c.no.in_(numbers), recipients.c.released.is_not(None), recipients.c.claimed.is_not(None))
    ).all()  # fmt: skip
    return [
        *_stage("release", [_span(row.due, row.released) for row in rows if row.attempt == 1]),
        *_stage("claim", [_span(row.released, row.claimed) for row in rows]),
        *_stage("delivery", [_span(row.claimed, row.since) for row in rows]),
    ]


def _span(begin: datetime, end: datetime) -> float:
    return max(0.0, (end - begin).total_seconds())  # the clocks of machines differ by a little


def _stage(stage: Work | Literal["release", "claim", "delivery"], times: Sequence[float]) -> list[StageTime]:
    seconds = sorted(times)
    if not seconds:
        return []
    most = seconds[min(len(seconds) - 1, len(seconds) * 19 // 20)]
    return [StageTime(stage=stage, median=statistics.median(seconds), most=most, mails=len(seconds))]
