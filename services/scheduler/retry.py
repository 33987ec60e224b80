"""When a deferred recipient is tried again, and when no longer: a tenacity wait and a tenacity stop, evaluated here.

Nothing sleeps: the scheduler asks for a time and keeps it in the store.
"""

import random
from datetime import datetime, timedelta

import msgspec
import tenacity

from shared.settings import Retry
from shared.waits import state_after, wait_schedule


class Again(msgspec.Struct, frozen=True):
    """Try at this time."""

    at: datetime


class GiveUp(msgspec.Struct, frozen=True):
    """The give-up time is over."""


def next_try(
    attempt: int, begun: datetime, give_up: datetime, now: datetime, retry: Retry, chance: random.Random
) -> Again | GiveUp:
    """Decide after a deferred attempt. `begun`: the mail's admission; the last try is at `give_up` itself."""
    state = state_after(attempt, now - begun)
    if tenacity.stop_after_delay(give_up - begun)(state):
        return GiveUp()
    wait = wait_schedule(retry.schedule, retry.jitter, chance)(state)
    return Again(min(now + timedelta(seconds=wait), give_up))
