"""What is called by `StoreThread.read` writes nothing: on SQLite a writer that began as a reader may fail at once."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from services.scheduler import inquiry, sites, suppression
from services.scheduler import store as transactions
from services.scheduler.census import take_census
from services.scheduler.lanes import refused_since
from services.scheduler.recent import stage_times
from services.sender.takeover import ids_of
from shared.contracts.commands import ListMails, ListSites, ListSuppressions, ShowContent
from shared.mail_store.making_ready import check_version
from shared.presence import list_present
from tests.support.store import NOW, OpenStore, a_draft

ROOT = Path(__file__).parents[2]

QUESTIONS: list[tuple[Any, Sequence[Any]]] = [
    (check_version, ()),
    (ids_of, ([1, 2],)),
    (inquiry.content_part, (ShowContent(id="order-1"),)),
    (inquiry.list_mails, (ListMails(batch="b"),)),
    (inquiry.settings_versions, (None, 1)),
    (inquiry.show, ("order-1", NOW)),
    (list_present, (NOW,)),
    (refused_since, (NOW,)),
    (sites.list_sites, (NOW, ListSites(all=True))),
    (stage_times, ([1, 2],)),
    (suppression.list_suppressions, (ListSuppressions(), NOW)),
    (take_census, (NOW,)),
    (transactions.next_wake, ()),
]


@pytest.mark.parametrize(("question", "values"), QUESTIONS, ids=[question.__name__ for question, _ in QUESTIONS])
def test_a_question_is_answered_where_nothing_may_be_written(store: OpenStore, question, values):
    store.admit(a_draft("order-1", batch="b"))

    def ask(connection: sa.Connection) -> Any:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY" if store.on_postgresql else "PRAGMA query_only = ON")
        try:
            return question(connection, *values)
        finally:
            if not store.on_postgresql:
                connection.exec_driver_sql("PRAGMA query_only = OFF")

    assert store.run(ask) == store.run(question, *values)


def test_every_question_is_among_these():
    called = {
        name.rpartition(".")[2]
        for file in [*(ROOT / "services").rglob("*.py"), ROOT / "shared/mail_store/thread.py"]
        for name in re.findall(r"(?:thread|self)\.read\(([\w.]+)", file.read_text())
    }
    assert called == {question.__name__ for question, _ in QUESTIONS}
