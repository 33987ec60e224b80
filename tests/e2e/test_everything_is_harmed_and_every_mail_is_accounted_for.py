"""The soak in short: two minutes of harm of every quick kind; and its books see what is wrong when something is.

`make soak` is the long one, with more kinds. SOAK_SEED=7 repeats a run.
"""

import contextlib
import itertools
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
import sqlalchemy as sa

from shared.mail_store.engine import open_engine
from shared.mail_store.states import State
from shared.mail_store.tables import mails, recipients
from shared.topology import SUBMIT
from soak.content import content_of
from soak.ledger import Ending, id_of, total
from soak.run import Soak
from tests.support.short_soak import SEED, assert_nothing_is_wrong, short_soak, wait_for_confirms

pytestmark = [pytest.mark.timeout(300), pytest.mark.each_rabbitmq]

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


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory, release: Path | None) -> Iterator[Soak]:
    """A world in which all harm is done and everything has an end."""
    with short_soak(tmp_path_factory.mktemp("soak"), HARMS, rabbitmq=release) as soak:
        yield soak


def test_none_is_lost_none_comes_twice_without_a_doubt_and_after_each_harm_all_work_again_within_30_s(soak: Soak):
    assert_nothing_is_wrong(soak, HARMS)


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
