"""Trouble that lasts: said when it begins, now and then while it lasts, and when it is over; not once per mail."""

import time
import traceback
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import structlog

log = structlog.get_logger()

_REMIND_AFTER_S = 60.0


class Trouble:
    """One thing that may go wrong, and stay so for a while."""

    def __init__(self, event: str, *, clock: Callable[[], float] = time.monotonic, **always: Any) -> None:
        """`always` are fields of each of its lines; `<event>_over` is its last."""
        self._event = event
        self._clock = clock
        self._always = always
        self._since: float | None = None
        self._said: tuple[str, float] | None = None  # the reason, and when

    @property
    def lasts(self) -> bool:
        """Whether it has begun and is not over."""
        return self._since is not None

    def seen(self, reason: str, **told: Any) -> None:
        """It is there, for this reason. Another reason is said at once."""
        now = self._clock()
        self._since = now if self._since is None else self._since
        if self._said is None or self._said[0] != reason or now - self._said[1] >= _REMIND_AFTER_S:
            self._said = reason, now
            log.error(self._event, **self._always, reason=reason, **told)

    def over(self) -> None:
        """It is gone, if it was there."""
        if self._since is not None:
            lasted_s = round(self._clock() - self._since, 1)
            self._since = self._said = None
            log.info(f"{self._event}_over", **self._always, lasted_s=lasted_s)


def what_failed(error: BaseException) -> str:
    """An error that nobody planned for, in a line: what it says, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({PurePath(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
