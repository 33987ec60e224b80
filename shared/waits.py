"""Waits of a schedule: a tenacity wait, evaluated where a time is to be kept in the store. Nothing sleeps here."""

import random
from collections.abc import Sequence
from datetime import timedelta

import tenacity


class wait_schedule(tenacity.wait.wait_base):  # noqa: N801 - tenacity names its waits like functions
    """The n-th wait of a schedule after the n-th attempt, the last one repeating, longer or shorter by chance."""

    def __init__(self, schedule: Sequence[timedelta], jitter: float, chance: random.Random) -> None:
        self._waits = [step.total_seconds() for step in schedule]
        self._jitter = jitter
        self._chance = chance

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        """The wait in seconds after the attempt of the state."""
        wait = self._waits[min(retry_state.attempt_number, len(self._waits)) - 1]
        return wait * (1 + self._chance.uniform(-self._jitter, self._jitter))


def state_after(attempt: int, elapsed: timedelta = timedelta(0)) -> tenacity.RetryCallState:
    """What tenacity's waits and stops are asked with."""
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = attempt
    # Counted from zero: added to a clock that counts from the machine's start, the fraction would be lost.
    state.start_time, state.outcome_timestamp = 0.0, elapsed.total_seconds()
    return state
