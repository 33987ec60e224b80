"""How many mails came to a receiver in each stretch of time, looked at while they come."""

import threading
import time
from collections.abc import Callable
from typing import Self

from bench.results import ARRIVALS_S


class Arrivals:
    """Looks at a count in a thread for as long as the block lasts."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._counts = [count()]
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arrivals", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    @property
    def each(self) -> list[int]:
        """Mails in each `ARRIVALS_S` that have passed as a whole."""
        return [after - before for before, after in zip(self._counts, self._counts[1:], strict=False)]

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ends.wait(max(0.0, (due := due + ARRIVALS_S) - time.monotonic())):
            self._counts.append(self._count())
