"""When a deferred recipient is tried again, and when no longer: a tenacity wait and a tenacity stop, evaluated here.

Nothing sleeps: the scheduler asks for a time and keeps it in the store.
"""

import random
from datetime import datetime, timedelta

import msgspec
import tenacity

from shared.contracts.words import BounceClass
from shared.durations import Duration
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


def suited(retry: Retry, bounce_class: BounceClass | None) -> Retry:
    """The same with the waits that suit a class: a greylisting ends soon, a full mailbox is seldom emptied soon."""
    match bounce_class:
        case BounceClass.GREYLIST:
            most = max(len(retry.greylist), len(retry.schedule))
            usual = retry.schedule + retry.schedule[-1:] * (most + 1 - len(retry.schedule))  # its last repeats
            sooner = tuple(map(min, retry.greylist, usual))
            return msgspec.structs.replace(retry, schedule=sooner + usual[len(sooner) :])
        case BounceClass.MAILBOX_FULL:
            longer = tuple(Duration(seconds=max(step, retry.mailbox_full).total_seconds()) for step in retry.schedule)
            return msgspec.structs.replace(retry, schedule=longer)
        case _:
            return retry
