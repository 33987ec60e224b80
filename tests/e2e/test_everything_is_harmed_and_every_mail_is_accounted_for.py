"""The soak in short: two minutes of harm of every quick kind; and its books see what is wrong when something is.

`make soak` is the long one, with more kinds. SOAK_SEED=7 repeats a run.
"""

import contextlib
import itertools
import os
import random
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
import sqlalchemy as sa

from shared.mail_store import State, mails, open_engine, recipients
from shared.topology import SUBMIT
from soak.content import content_of
from soak.harms import KINDS
from soak.ledger import Ending, id_of, total
from soak.run import Plan, Soak, soaking
from tests.support.ports import wait_until

pytestmark = [pytest.mark.timeout(300), pytest.mark.each_rabbitmq]

SEED = int(os.environ.get("SOAK_SEED") or random.randrange(10**6))
HARMS = (
    "kill -9 sender",
    "kill -9 scheduler",
    "kill -9 resolver",
    "kill -9 all workers",
    "SIGTERM sender",
    "connections cut",
    "memory alarm",
    "store's disk full",
    "senders come or go",
    "settings changed",
    "DNS down",
    "kill -9 broker",
    "restart broker",
)
REST = 100  # mails confirmed between two of them


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory, release: Path | None) -> Iterator[Soak]:
    """A world in which all harm is done and everything has an end."""
    folder = tmp_path_factory.mktemp("soak")
    with soaking(folder, Plan(seed=SEED, rate=60, rabbitmq=release)) as soak:
        with soak.publishing() as publisher:
            for name in HARMS:
                wait_for_confirms(soak, REST)
                [kind] = [kind for kind in KINDS if kind.name == name]
                if kind.needs is None or kind.needs in soak.there.has:
                    soak.do(kind)
                soak.rest(0.5, publisher)
        soak.there.let_leases_run_out()
        soak.drain()
        yield soak


def test_none_is_lost_none_comes_twice_without_a_doubt_and_after_each_harm_all_work_again_within_30_s(soak: Soak):
    result = soak.result()
    account = total(result.accounts)
    shown = f"seed {SEED}: {result.accounts}"
    assert account.clean, shown
    assert account.mails > 1000, shown
    assert account.times > len(HARMS) - 1, shown
    assert account.unmeasured == 0, shown
    assert not result.died, f"seed {SEED}: {result.died}"
    assert not result.faults, f"seed {SEED}: {result.faults}"
    assert not result.failed, f"seed {SEED}: {result.failed}"
    assert result.clean, shown


def test_the_books_see_what_is_wrong(soak: Soak):
    before = total(soak.result().accounts)
    twice, doubted, denied, garbled = (id_of(number) for number in itertools.islice(undoubted(soak), 4))

    lose_a_mail(soak)
    for id in (twice, doubted, "m999999"):
        deliver_by_hand(soak, id, content_of(id))
    deliver_by_hand(soak, garbled, content_of(twice))
    for id in (doubted, garbled):
        change_in_store(soak, id, in_doubt=True)
    change_in_store(soak, denied, state=int(State.BOUNCED))

    result = soak.result()
    after = total(result.accounts)
    shown = f"seed {SEED}: {result.accounts}"
    assert not after.clean, shown
    assert after.lost == before.lost + 1, shown
    assert after.duplicated == before.duplicated + 1, shown
    assert after.in_doubt == before.in_doubt + 2, shown
    assert after.unexpected == before.unexpected + 3, shown
    assert {twice, denied, garbled, "m999999"} <= set(after.suspects), shown


def wait_for_confirms(soak: Soak, count: int) -> None:
    enough = soak.ledger.confirmed + count
    wait_until(lambda: soak.ledger.confirmed >= enough, f"{count} more mails are confirmed: seed {SEED}", 60)


def undoubted(soak: Soak) -> Iterator[int]:
    """Mails that were delivered once and without a doubt."""
    for number in range(1, soak.ledger.published + 1):
        mail = soak.ledger.mail(number)
        if mail.copies == 1 and not mail.untold and mail.ending == Ending(State.DELIVERED, in_doubt=False):
            yield number


def lose_a_mail(soak: Soak) -> None:
    """The broker confirms it, and forgets it."""
    soak.there.crew.scale("scheduler", 0)
    with soak.publishing(soak.ledger.published + 1):
        wait_for_confirms(soak, 1)
    with pika.BlockingConnection(pika.URLParameters(soak.there.node.amqp_url)) as connection:
        connection.channel().queue_purge(SUBMIT)


def deliver_by_hand(soak: Soak, id: str, content: bytes) -> None:
    """Until the sink takes it: it has its moods."""
    for _ in range(20):
        with contextlib.suppress(smtplib.SMTPException), smtplib.SMTP(*soak.there.mx, timeout=10) as smtp:
            smtp.sendmail("robot@sender.example", f"{id}@d1.example", content)
            return
    raise AssertionError(f"the sink does not take {id}: seed {SEED}")


def change_in_store(soak: Soak, id: str, **values: object) -> None:
    engine = open_engine(soak.there.store_url)
    number = sa.select(mails.c.no).where(mails.c.id == id).scalar_subquery()
    with engine.begin() as connection:
        changed = connection.execute(sa.update(recipients).where(recipients.c.mail == number).values(**values))
    engine.dispose()
    assert changed.rowcount == 1
