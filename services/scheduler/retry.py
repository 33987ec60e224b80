"""When a deferred recipient is tried again, and when no longer: a tenacity wait and a tenacity stop, evaluated here.

Nothing sleeps: the scheduler asks for a time and keeps it in the store.
"""

import random
from datetime import datetime, timedelta

import msgspec
import tenacity

from shared.settings import Retry


class Again(msgspec.Struct, frozen=True):
    """Try at this time."""

    at: datetime


class GiveUp(msgspec.Struct, frozen=True):
    """The give-up time is over."""


class wait_schedule(tenacity.wait.wait_base):  # noqa: N801 - tenacity names its waits like functions
    """The n-th wait of a schedule after the n-th attempt, the last one repeating, longer or shorter by chance."""

    def __init__(self, retry: Retry, chance: random.Random) -> None:
        self._waits = [step.total_seconds() for step in retry.schedule]
        self._jitter = retry.jitter
        self._chance = chance

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        """The wait in seconds after the attempt of the state."""
        wait = self._waits[min(retry_state.attempt_number, len(self._waits)) - 1]
        return wait * (1 + self._chance.uniform(-self._jitter, self._jitter))


def next_try(
    attempt: int, begun: datetime, give_up: datetime, now: datetime, retry: Retry, chance: random.Random
) -> Again | GiveUp:
    """Decide after a deferred attempt. `begun`: the mail's admission; the last try is at `give_up` itself."""
    state = _state(attempt, now - begun)
    if tenacity.stop_after_delay(give_up - begun)(state):
        return GiveUp()
    return Again(min(now + timedelta(seconds=wait_schedule(retry, chance)(state)), give_up))


def _state(attempt: int, elapsed: timedelta) -> tenacity.RetryCallState:
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = attempt
    # Counted from zero: added to a clock that counts from the machine's start, the fraction would be lost.
    state.start_time, state.outcome_timestamp = 0.0, elapsed.total_seconds()
    return state
