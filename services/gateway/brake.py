"""Failed sign-ins slow down the address they come from: guesses are spaced out, and then refused. Pure."""

from collections import OrderedDict

import msgspec

_FREE = 3  # failures that cost nothing: people mistype
_LONGEST_S = 64.0
_PATIENCE_S = 30.0  # a longer wait is refused at once, so that the connection is free for others
_FORGIVEN_AFTER_S = 600.0  # without a failure
_MOST = 10_000  # addresses remembered


class _Past(msgspec.Struct):
    failures: int
    last: float
    next_guess: float


class Brake:
    """What is remembered of each address."""

    def __init__(self) -> None:
        self._past: OrderedDict[str, _Past] = OrderedDict()

    def wait(self, group: str, now: float) -> float | None:
        """Seconds to wait before the next guess is looked at, which is herewith booked; None: it is refused.

        Booked before it is judged: guesses that come over many connections at once wait one after another.
        """
        past = self._past.get(group)
        if past is None or now - past.last > _FORGIVEN_AFTER_S or past.failures < _FREE:
            return 0.0
        wait = max(0.0, past.next_guess - now)
        if wait > _PATIENCE_S:
            return None
        past.next_guess = max(past.next_guess, now) + _pause(past.failures)
        return wait

    def failed(self, group: str, now: float) -> None:
        """A guess was wrong."""
        past = self._past.pop(group, None)
        if past is None or now - past.last > _FORGIVEN_AFTER_S:
            past = _Past(0, now, now)
        past.failures += 1
        past.last = now
        past.next_guess = max(past.next_guess, now + _pause(past.failures))
        self._past[group] = past
        while len(self._past) > _MOST:
            self._past.popitem(last=False)


def _pause(failures: int) -> float:
    """1, 2, 4, … seconds after the third, fourth, fifth failure."""
    return 0.0 if failures < _FREE else min(_LONGEST_S, 2.0 ** (failures - _FREE))
