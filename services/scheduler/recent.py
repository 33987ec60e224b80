"""How long mails take from stage to stage, told by some that were just delivered.

Of each batch of outcomes one delivery is remembered, and its times are read when somebody asks: what every mail goes
through costs nothing for it.
"""

import statistics
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from services.scheduler.outcomes import Change
from shared.contracts import StageTime
from shared.mail_store import State, mails, recipients

_LATELY = timedelta(minutes=1)
_MOST = 500  # deliveries looked at


class Recent:
    """The last deliveries."""

    def __init__(self) -> None:
        self._delivered: deque[tuple[datetime, int]] = deque(maxlen=_MOST)

    def note(self, changes: Sequence[Change]) -> None:
        """Remember one of a batch."""
        for change in reversed(changes):
            if change.state is State.DELIVERED:
                self._delivered.append((change.time, change.pending.number))
                return

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
        *_stage("release", [row.released - row.due for row in rows if row.attempt == 1]),
        *_stage("claim", [row.claimed - row.released for row in rows]),
        *_stage("delivery", [row.since - row.claimed for row in rows]),
    ]


def _stage(stage: Literal["release", "claim", "delivery"], times: Sequence[timedelta]) -> list[StageTime]:
    seconds = sorted(max(0.0, time.total_seconds()) for time in times)  # the clocks of machines differ by a little
    if not seconds:
        return []
    most = seconds[min(len(seconds) - 1, len(seconds) * 19 // 20)]
    return [StageTime(stage=stage, median=statistics.median(seconds), most=most, mails=len(seconds))]
