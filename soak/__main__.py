"""`make soak`: mails flow, harm is done, and at the end the books are balanced.

python -m soak --minutes 30 --seed 7 --store postgres
"""

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from soak.harms import KINDS, Kind
from soak.ledger import Books, Harm, judge, total
from soak.report import show
from soak.world import Publisher, World, world

_BODY = (
    b"From: robot@sender.example\r\nTo: b@mx.example\r\nSubject: soak\r\n\r\n" + b"Good morning. Good night.\r\n" * 150
)
_REST_S = (4.0, 10.0)  # between the end of one harm and the next
_DRAIN_S = 300.0  # without any progress: longer than the leases that harm leaves behind


class Result(msgspec.Struct, frozen=True):
    """What a soak found."""

    seed: int
    books: Books
    died: list[str]  # workers that ended without being asked to
    memory: dict[str, list[float]]  # MiB by worker, over time


def soak(folder: Path, *, minutes: float, seed: int, store: str, rate: float, kinds: Sequence[Kind]) -> Result:
    """Do harm for so many minutes, drain, and close the books."""
    chance = random.Random(seed)
    harms: list[Harm] = []
    memory: dict[str, list[float]] = {}
    with world(folder, store, seed) as there:
        with Publisher(there.node.amqp_url, folder / "confirmed", rate, _BODY) as publisher:
            ends = time.monotonic() + minutes * 60
            for kind in _in_turn([kind for kind in kinds if kind.fits(there)], chance):
                if time.monotonic() > ends:
                    break
                time.sleep(chance.uniform(*_REST_S))
                _note(memory, there)
                harms.append(_do(kind, there, chance))
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C: what waits still is counted as waiting
            _drain(there, publisher.confirmed)
        _note(memory, there)
        books = Books(
            published=frozenset(publisher.published),
            confirmed=publisher.confirmed,
            refused=there.refused(),
            arrivals=there.arrivals(),
            endings=there.endings(),
            harms=harms,
        )
        return Result(seed, books, there.crew.died, memory)


def _in_turn(kinds: Sequence[Kind], chance: random.Random) -> Iterator[Kind]:
    """All kinds in an order of their own, and again in another."""
    while True:
        yield from chance.sample(kinds, len(kinds))


def _do(kind: Kind, there: World, chance: random.Random) -> Harm:
    begun = time.time()
    kind.do(there, chance)
    harm = Harm(kind.name, begun, time.time())
    print(f"{time.strftime('%H:%M:%S')} {kind.name}", flush=True)
    return harm


def _drain(there: World, confirmed: Collection[str]) -> None:
    """Wait until everything has an end, or nothing has ended for long."""
    left, patience = len(confirmed), time.monotonic() + _DRAIN_S
    while left and time.monotonic() < patience:
        time.sleep(2)
        before, left = left, len(confirmed) - there.ended()
        if left != before:
            patience = time.monotonic() + _DRAIN_S


def _note(memory: dict[str, list[float]], there: World) -> None:
    for name, mib in there.crew.memory().items():
        memory.setdefault(name, []).append(mib)


def main() -> None:
    """Soak, show, and say by the exit status whether the promise was kept."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--rate", type=float, default=100, help="mails a second")
    parser.add_argument("--only", metavar="WORDS", help="harms whose name contains this")
    parser.add_argument("--quick", action="store_true", help="without the harms that last for minutes")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs and records")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    kinds = [kind for kind in KINDS if (options.only or "") in kind.name and not (options.quick and kind.slow)]
    print(
        f"seed {options.seed}, {options.minutes:g} minutes, {options.rate:g} mails/s, store on {options.store}",
        flush=True,
    )
    folder = Path(tempfile.mkdtemp(prefix="pillarbox-soak-"))
    result = soak(
        folder, minutes=options.minutes, seed=options.seed, store=options.store, rate=options.rate, kinds=kinds
    )
    verdicts = judge(result.books)
    show(verdicts, result.died, result.memory)
    if options.json:
        options.json.write_text(json.dumps({"seed": result.seed, "verdicts": msgspec.to_builtins(verdicts)}, indent=2))
    print(f"logs and records in {folder}")
    sys.exit(0 if total(verdicts).clean else 1)


if __name__ == "__main__":
    main()
