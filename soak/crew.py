"""The workers of a soak: started, harmed, and replaced when they die, as a supervisor would."""

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support.pipeline import Worker
from tests.support.ports import wait_until

_LOOKS_EVERY_S = 0.5
_COMES_WITHIN_S = 30.0


class Crew:
    """Keeps so many workers of each role running."""

    def __init__(self, folder: Path, environment: Mapping[str, str], wanted: Mapping[str, int]) -> None:
        self.wanted = dict(wanted)
        self.died: list[str] = []  # obituaries of those that ended without being asked to
        self._folder = folder
        self._environment = environment
        self._workers: list[Worker] = []
        self._numbers = itertools.count(1)
        self._trouble = ""  # what last kept the keeper from its work
        self._lock = threading.RLock()
        self._ends = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="crew", daemon=True)

    def __enter__(self) -> "Crew":
        self._mend()
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._keeper.join()
        for worker in self._workers:
            worker.kill()

    def of(self, *roles: str) -> list[Worker]:
        """The running workers of these roles, the oldest first."""
        with self._lock:
            return [worker for worker in self._workers if worker.role in roles]

    def one_at_work(self, role: str, chance: random.Random) -> Worker:
        """One of this role that has been ready. Raises TimeoutError when there is none for long."""
        wait_until(lambda: bool(self.of(role)), f"there is a {role}", _COMES_WITHIN_S)
        worker = chance.choice(self.of(role))
        worker.wait_for_log("ready", _COMES_WITHIN_S)
        return worker

    def kill(self, *workers: Worker) -> None:
        """`kill -9`; others take their places. Raises AssertionError when one of them had ended before."""
        with self._lock:
            ended = [worker for worker in workers if not worker.running]
            for worker in ended:
                self._bury(worker)
            self._end(workers, Worker.kill)
        assert not ended, f"had ended by themselves: {', '.join(worker.name for worker in ended)}"

    def check(self) -> None:
        """Raise RuntimeError when nobody replaces workers any more."""
        if not self._keeper.is_alive():
            raise RuntimeError("the thread that keeps the workers running has ended")

    def stop(self, *workers: Worker) -> None:
        """SIGTERM; others take their places at once."""
        self._end(workers, self._stop)

    def scale(self, role: str, count: int) -> None:
        """Have so many of a role."""
        self.wanted[role] = count
        self.stop(*self.of(role)[count:])

    def memory(self) -> dict[str, float]:
        """MiB that each running worker has now, by name."""
        return {worker.name: mib for worker in self.of(*self.wanted) if (mib := worker.memory_mib()) is not None}

    def _end(self, workers: tuple[Worker, ...], how: Callable[[Worker], None]) -> None:
        with self._lock:
            self._workers = [worker for worker in self._workers if worker not in workers]
        for worker in workers:
            how(worker)

    def _stop(self, worker: Worker) -> None:
        try:
            worker.wait_for_log("starting")  # before, it would end without having begun
            worker.stop()
        except (AssertionError, TimeoutError):
            self._bury(worker)

    def _bury(self, worker: Worker) -> None:
        self.died.append(f"{time.strftime('%H:%M:%S')} {worker.obituary}")

    def _keep(self) -> None:
        while not self._ends.wait(_LOOKS_EVERY_S):
            try:
                self._mend()
            except Exception as error:  # what can not be started now may be at the next look
                self._note(f"a worker could not be replaced: {error!r}")

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            self.died.append(f"{time.strftime('%H:%M:%S')} {trouble}")
        self._trouble = trouble

    def _mend(self) -> None:
        with self._lock:
            for worker in [worker for worker in self._workers if not worker.running]:
                self._bury(worker)
                self._workers.remove(worker)
            have = Counter(worker.role for worker in self._workers)
            for role, count in self.wanted.items():
                for _ in range(count - have[role]):
                    name = f"{role}-{next(self._numbers)}"
                    self._workers.append(Worker(role, name, self._environment, self._folder))
