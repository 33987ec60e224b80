"""One soak: mails flow, harm is done, everything drains, and the books are closed."""

import contextlib
import random
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import CalledProcessError

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from soak.harms import Kind, by_counts, in_turn
from soak.ledger import Account, Harm, Ledger, total
from soak.machine import Machine, load_average, machine
from soak.publisher import Publisher
from soak.world import DOMAINS, Need, World, world

_REST_S = (4.0, 10.0)  # between the end of one harm and the next
_SHORTEST_REST_S = 3.0
_FLOWS_WITHIN_S = 60.0
_CONFIRMS_WITHIN_S = 300.0
_LONGEST_REASON = 500
_FLOW = 1_000  # mails that may be published from now on, whatever the share of a harm
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
    failed: list[str]  # harms that could not be done as they should
    broken_off: str  # why it ended before its time; "" if it did not
    machine: Machine

    @property
    def clean(self) -> bool:
        """Whether all was done, the promise was kept, and nothing went wrong that was not planned."""
        troubles = (self.died, self.faults, self.failed, self.broken_off)
        return total(self.accounts).clean and not any(troubles)


class GaveUp(Exception):
    """Nothing moves any more: there is no use in waiting."""


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
        self._load = load_average()
        self._confirmed_before, self._progress = 0, time.monotonic()

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
            sunk=self._sunk,
            quota=quota,
        ) as publisher:
            try:
                yield publisher
            finally:
                self.ledger.ended = time.time()

    def _sunk(self) -> int:
        self.there.read_sink(self.ledger)
        return self.ledger.sunk

    def do(self, kind: Kind) -> None:
        """Do one harm. What goes wrong is noted and mended. Raises NodeFailed when that can not be."""
        self.note_memory()
        begun, failure = time.time(), ""
        try:
            kind.do(self.there, self._chance)
        except Exception as error:  # whatever it is: an hour's mails wait for their account
            failure = _in_words(error)
            self.there.mend()
        finally:
            self.ledger.harms.append(Harm(kind.name, begun, time.time(), failure))
            done = f"({self.ledger.confirmed:,} confirmed){failure and ' failed: '}{failure}"
            print(f"{time.strftime('%H:%M:%S')} {kind.name} {done}", flush=True)

    def for_minutes(self, publisher: Publisher) -> None:
        """Harm of each kind in turn until the time is over."""
        ends = time.monotonic() + self._plan.minutes * 60
        kinds = [kind for kind in self._plan.kinds if kind.needs is None or kind.needs in self.there.has]
        for kind in in_turn(kinds, self._chance):
            self.rest(self._chance.uniform(*_REST_S), publisher)
            if time.monotonic() > ends:
                return
            self.do(kind)

    def by_counts(self, publisher: Publisher) -> None:
        """All kills, spread evenly over the mails."""
        kinds = by_counts(self._plan.kills, self._plan.broker_kills, self._chance)
        for turn, kind in enumerate(kinds, 1):
            self._rest_by_counts(self._share(turn + 1, len(kinds)), publisher)
            self._confirmed(self._share(turn, len(kinds)), publisher)
            # Mails flow while harm is done, also when those of its share were quicker than the rest.
            publisher.quota = self._at_least(self._share(turn + 1, len(kinds)))
            self._confirmed(self.ledger.confirmed + 1, publisher)
            self.do(kind)
        self._rest_by_counts(self._plan.mails, publisher)  # the last harm, too, is seen to be over
        self._confirmed(self._plan.mails, publisher)

    def _rest_by_counts(self, quota: int, publisher: Publisher) -> None:
        publisher.quota = self._at_least(quota)
        self.rest(_SHORTEST_REST_S, publisher)

    def _at_least(self, quota: int) -> int:
        return max(quota, self.ledger.published + _FLOW)

    def rest(self, seconds: float, publisher: Publisher) -> None:
        """The next harm is done to a pipeline that works, or has not for a minute; the last one is to blame."""
        last, longest = self.ledger.published, time.monotonic() + _FLOWS_WITHIN_S
        time.sleep(seconds)
        while not self.ledger.flows_since(last):
            self._check(publisher)
            if time.monotonic() > longest:
                self.ledger.harms[-1:] = [replace(harm, stood_still=True) for harm in self.ledger.harms[-1:]]
                return
            time.sleep(0.1)

    def _check(self, publisher: Publisher) -> None:
        """Raise what makes further waiting useless."""
        publisher.check()
        self.there.check()
        now = time.monotonic()
        if self.ledger.confirmed > self._confirmed_before:
            self._confirmed_before, self._progress = self.ledger.confirmed, now
        elif now - self._progress > _CONFIRMS_WITHIN_S:
            raise GaveUp(f"no mail was confirmed for {_CONFIRMS_WITHIN_S:g} s")

    def _share(self, turn: int, turns: int) -> int:
        return min(self._plan.mails, self._plan.mails * turn // (turns + 1) + 1)

    def _confirmed(self, count: int, publisher: Publisher) -> None:
        while self.ledger.confirmed < count:
            self._check(publisher)
            time.sleep(0.1)

    def drain(self) -> None:
        """Wait until everything has an end, or nothing has ended for long."""
        left, patience = -1, time.monotonic() + _DRAIN_S
        while left and time.monotonic() < patience:
            time.sleep(1)
            with contextlib.suppress(sa.exc.DBAPIError):  # a store that is away makes no progress either
                before, left = left, self.there.left(self.ledger.confirmed)
            if left != before:
                patience = time.monotonic() + _DRAIN_S
        self.note_memory()

    def note_memory(self) -> None:
        """Write down how much each worker has now."""
        at = round(time.monotonic() - self._begun, 1)
        for name, mib in self.there.crew.memory().items():
            self.memory.setdefault(name, []).append((at, round(mib, 1)))

    def result(self, minutes: float = 0.0, broken_off: str = "") -> Result:
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
            failed=[f"{harm.name}: {harm.failure}" for harm in self.ledger.harms if harm.failure],
            broken_off=broken_off,
            machine=machine(self.there, self._load),
        )


def run(folder: Path, plan: Plan) -> Result:
    """Do what the plan says in a folder of its own, drain, and close the books."""
    needs = {kind.needs for kind in plan.kinds if kind.needs is not None and not plan.mails}
    with world(folder, plan.store, plan.seed, needs, plan.schedulers, plan.rabbitmq) as there:
        begun = time.monotonic()
        soak = Soak(there, plan, folder)
        broken_off = _harm_all(soak, plan)
        minutes = (time.monotonic() - begun) / 60
        clean = False
        try:
            with contextlib.suppress(KeyboardInterrupt):  # and again: what waits still is counted as waiting
                soak.drain()
            result = soak.result(minutes, broken_off)
            clean = result.clean
        finally:
            if not clean:
                _keep_store(there)
        return result


def _harm_all(soak: Soak, plan: Plan) -> str:
    """All that is planned; or why it was broken off."""
    try:
        with soak.publishing() as publisher:
            if plan.mails:
                soak.by_counts(publisher)
            else:
                soak.for_minutes(publisher)
    except KeyboardInterrupt:  # no more harm
        return "Ctrl-C"
    except Exception as error:  # what was confirmed so far has a right to its account
        return _in_words(error)
    return ""


def _keep_store(there: World) -> None:
    try:
        print(f"a copy of the store is in {there.keep_store()}", flush=True)
    except (OSError, sqlite3.Error, CalledProcessError) as error:  # the account matters more
        print(f"the store could not be copied: {_in_words(error)}", flush=True)


def _in_words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REASON]


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
