"""One soak: mails flow, harm is done, everything drains, and the books are closed."""

import contextlib
import random
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from soak.harms import Kind, by_counts, in_turn
from soak.ledger import Account, Harm, Ledger
from soak.publisher import Publisher
from soak.world import DOMAINS, Need, World, world

_REST_S = (4.0, 10.0)  # between the end of one harm and the next
_SHORTEST_REST_S = 4.0
_FLOWS_WITHIN_S = 60.0
_DRAIN_S = 300.0  # without any progress: longer than the leases that harm leaves behind
_FAULT = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Group|Timeout)[\w.]*)(?::|$)")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done: for so many minutes, or by counts."""

    seed: int
    store: str = "sqlite"
    schedulers: int = 1
    rate: float = 100  # mails a second at most
    most_open: int = 5_000  # mails under way at most
    minutes: float = 30
    kinds: Sequence[Kind] = ()
    mails: int = 0  # by counts: at least so many, with
    kills: int = 0  # so many kills of each role
    broker_kills: int = 0  # and of the broker
    rabbitmq: Path | None = None  # the scripts of the release to run; None: of the one that is installed


class Result(msgspec.Struct, frozen=True):
    """What a soak found."""

    accounts: list[Account]
    minutes: float  # from the first mail to the last
    fates: dict[str, int]  # tries by what the sink did
    memory: dict[str, list[tuple[float, float]]]  # (s from the start, MiB) by worker
    died: list[str]  # workers that ended without being asked to
    faults: dict[str, int]  # tracebacks in the workers' logs, by their last lines


class Soak:
    """A running one: what a test does by itself beside `run`."""

    def __init__(self, there: World, plan: Plan, folder: Path) -> None:
        self.there = there
        self.ledger = Ledger()
        self.memory: dict[str, list[tuple[float, float]]] = {}
        self._plan = plan
        self._folder = folder
        self._chance = random.Random(plan.seed)
        self._begun = time.monotonic()

    @contextmanager
    def publishing(self, quota: int | None = None) -> Iterator[Publisher]:
        """Mails flow until the block is left, or that many were published."""
        plan = self._plan
        with Publisher(
            self.there.node.amqp_url,
            self.ledger,
            self._folder / "confirmed",
            domains=DOMAINS,
            rate=plan.rate,
            most_open=plan.most_open,
            sunk=lambda: self.there.read_sink(self.ledger),
            quota=quota,
        ) as publisher:
            yield publisher

    def do(self, kind: Kind) -> None:
        """Do one harm."""
        self.note_memory()
        begun = time.time()
        kind.do(self.there, self._chance)
        self.ledger.harms.append(Harm(kind.name, begun, time.time()))
        print(f"{time.strftime('%H:%M:%S')} {kind.name} ({self.ledger.confirmed:,} confirmed)", flush=True)

    def for_minutes(self, publisher: Publisher) -> None:
        """Harm of each kind in turn until the time is over."""
        ends = time.monotonic() + self._plan.minutes * 60
        kinds = [kind for kind in self._plan.kinds if kind.needs is None or kind.needs in self.there.has]
        for kind in in_turn(kinds, self._chance):
            self._rest(self._chance.uniform(*_REST_S), publisher)
            if time.monotonic() > ends:
                return
            self.do(kind)

    def by_counts(self, publisher: Publisher) -> None:
        """All kills, spread evenly over the mails."""
        kinds = by_counts(self._plan.kills, self._plan.broker_kills, self._chance)
        for turn, kind in enumerate(kinds, 1):
            # One share ahead, so that mails flow while harm is done.
            publisher.quota = self._share(turn + 1, len(kinds))
            self._rest(_SHORTEST_REST_S, publisher)
            self._confirmed(self._share(turn, len(kinds)), publisher)
            self.do(kind)
        self._confirmed(self._plan.mails, publisher)

    def _rest(self, seconds: float, publisher: Publisher) -> None:
        """The next harm is done to a pipeline that works, or has not worked for a minute."""
        last, longest = self.ledger.published, time.monotonic() + _FLOWS_WITHIN_S
        time.sleep(seconds)
        while not self.ledger.flows_since(last) and time.monotonic() < longest:
            publisher.check()
            time.sleep(0.1)

    def _share(self, turn: int, turns: int) -> int:
        return min(self._plan.mails, self._plan.mails * turn // (turns + 1) + 1)

    def _confirmed(self, count: int, publisher: Publisher) -> None:
        while self.ledger.confirmed < count:
            publisher.check()
            time.sleep(0.1)

    def drain(self) -> None:
        """Wait until everything has an end, or nothing has ended for long."""
        left, patience = -1, time.monotonic() + _DRAIN_S
        while left and time.monotonic() < patience:
            time.sleep(1)
            before, left = left, self.there.left(self.ledger.confirmed)
            if left != before:
                patience = time.monotonic() + _DRAIN_S
        self.note_memory()

    def note_memory(self) -> None:
        """Write down how much each worker has now."""
        at = round(time.monotonic() - self._begun, 1)
        for name, mib in self.there.crew.memory().items():
            self.memory.setdefault(name, []).append((at, round(mib, 1)))

    def result(self, minutes: float = 0.0) -> Result:
        """Close the books."""
        self.there.read_sink(self.ledger)
        self.there.read_store(self.ledger)
        return Result(
            accounts=self.ledger.close(),
            minutes=minutes,
            fates=dict(self.there.fates),
            memory=self.memory,
            died=self.there.crew.died,
            faults=dict(faults_in(self._folder)),
        )


def run(folder: Path, plan: Plan) -> Result:
    """Do what the plan says in a folder of its own, drain, and close the books."""
    needs = {kind.needs for kind in plan.kinds if kind.needs is not None and not plan.mails}
    with world(folder, plan.store, plan.seed, needs, plan.schedulers, plan.rabbitmq) as there:
        begun = time.monotonic()
        soak = Soak(there, plan, folder)
        with contextlib.suppress(KeyboardInterrupt), soak.publishing() as publisher:  # Ctrl-C: no more harm
            if plan.mails:
                soak.by_counts(publisher)
            else:
                soak.for_minutes(publisher)
        minutes = (time.monotonic() - begun) / 60
        with contextlib.suppress(KeyboardInterrupt):  # and again: what waits still is counted as waiting
            soak.drain()
        return soak.result(minutes)


@contextmanager
def soaking(folder: Path, plan: Plan) -> Iterator[Soak]:
    """A world to be harmed by hand."""
    with world(folder, plan.store, plan.seed, {Need.SMALL_DISK}, plan.schedulers, plan.rabbitmq) as there:
        yield Soak(there, plan, folder)


def faults_in(folder: Path) -> Counter[str]:
    """Tracebacks in the workers' logs, by worker's role and last line."""
    found: Counter[str] = Counter()
    for log in folder.glob("*.log"):
        role, inside = log.stem.partition("-")[0], False
        for line in log.open(encoding="utf-8", errors="replace"):
            inside = inside or line.startswith("Traceback ")
            if inside and _FAULT.match(line):
                found[f"{role}: {line.strip()[:160]}"] += 1
                inside = False
    return found
