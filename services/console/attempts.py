"""Guessing passwords is made slow: who fails several times has to wait, longer each time."""

from collections.abc import Callable

import msgspec

# Failures until the first wait. Behind a proxy everybody has one address, and anybody may try anybody's name: those two
# alone take more.
_FREE = {"both": 5, "user": 30, "address": 30}
_FIRST_WAIT_S = 2.0
_LONGEST_WAIT_S = 15 * 60.0
_FORGET_AFTER_S = 60 * 60.0
_MOST = 10_000  # names and addresses remembered: whoever guesses may make them up


class _Failures(msgspec.Struct):
    free: int
    count: int = 0
    last: float = 0.0

    def wait(self, now: float) -> float:
        if self.count < self.free:
            return 0.0
        pause: float = min(_FIRST_WAIT_S * 2.0 ** min(self.count - self.free, 30), _LONGEST_WAIT_S)
        return max(0.0, self.last + pause - now)


class Attempts:
    """Counts failures by name and by address of who tries."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds, from any beginning."""
        self._clock = clock
        self._failures: dict[tuple[str, str], _Failures] = {}

    def wait(self, user: str, address: str) -> float:
        """Seconds until somebody may try again; 0 for now."""
        now = self._clock()
        return max((found.wait(now) for key in _keys(user, address) if (found := self._failures.get(key))), default=0.0)

    def failed(self, user: str, address: str) -> None:
        """A try was in vain."""
        now = self._clock()
        for key in _keys(user, address):
            known = self._failures.pop(key, None)
            if known is None or now - known.last > _FORGET_AFTER_S:
                known = _Failures(_FREE[key[0]])
            known.count, known.last = known.count + 1, now
            self._failures[key] = known  # at the end: the others are older
        while len(self._failures) > _MOST:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, user: str, address: str) -> None:
        """A try was right: the name's failures are forgotten. The address's are not, it may go on with other names."""
        for key in _keys(user, address)[:2]:
            self._failures.pop(key, None)


def _keys(user: str, address: str) -> list[tuple[str, str]]:
    return [("both", f"{user.lower()} {address}"), ("user", user.lower()), ("address", address)]
