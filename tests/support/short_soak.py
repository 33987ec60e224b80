"""A soak in short: harms that a test chooses, one after another, and then everything has an end."""

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from soak.harms import KINDS
from soak.ledger import total
from soak.run import Plan, Soak, soaking
from tests.support.ports import wait_until

SEED = int(os.environ.get("SOAK_SEED") or random.randrange(10**6))  # SOAK_SEED=7 repeats a run
_RATE = 60  # mails a second
_REST = 100  # mails confirmed between two harms


@contextmanager
def short_soak(
    folder: Path, harms: Sequence[str], *, store: str = "sqlite", schedulers: int = 1, rabbitmq: Path | None = None
) -> Iterator[Soak]:
    """A world in which all harm is done that can be done here, and everything has an end."""
    plan = Plan(seed=SEED, rate=_RATE, store=store, schedulers=schedulers, rabbitmq=rabbitmq)
    with soaking(folder, plan) as soak:
        with soak.publishing() as publisher:
            for name in harms:
                wait_for_confirms(soak, _REST)
                [kind] = [kind for kind in KINDS if kind.name == name]
                if kind.needs is None or kind.needs in soak.there.has:
                    soak.do(kind)
                soak.rest(0.5, publisher)
        soak.there.let_leases_run_out()
        soak.drain()
        yield soak


def wait_for_confirms(soak: Soak, count: int) -> None:
    """Wait until the broker has confirmed so many more."""
    enough = soak.ledger.confirmed + count
    wait_until(lambda: soak.ledger.confirmed >= enough, f"{count} more mails are confirmed: seed {SEED}", 60)


def assert_nothing_is_wrong(soak: Soak, harms: Sequence[str]) -> None:
    """None is lost, none comes twice without a doubt, and after each harm all work again within 30 s."""
    result = soak.result()
    account = total(result.accounts)
    shown = f"seed {SEED}: {result.accounts}"
    assert account.clean, shown
    assert account.mails > len(harms) * _REST * 3 // 4, shown
    assert account.times > len(harms) - 1, shown
    assert account.unmeasured == 0, shown
    assert not result.died, f"seed {SEED}: {result.died}"
    assert not result.faults, f"seed {SEED}: {result.faults}"
    assert not result.failed, f"seed {SEED}: {result.failed}"
    assert result.clean, shown
