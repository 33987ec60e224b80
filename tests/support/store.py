"""A mail store to try transactions on, and drafts to fill it with."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from services.scheduler import store
from services.scheduler.composed import Composed, Draft
from services.scheduler.store import Admission
from shared.mail_store.claim import claim
from shared.mail_store.engine import open_engine
from shared.mail_store.making_ready import create_tables
from shared.mail_store.states import State
from shared.mail_store.tables import mails, metadata, recipients, store_version
from shared.mail_store.transactions import transact

P = ParamSpec("P")
T = TypeVar("T")

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOLD = timedelta(minutes=5)


def a_draft(
    id: str = "order-1",
    *to: str,
    hold: timedelta = HOLD,
    at: datetime = NOW,
    content: bytes = b"From: shop@x.example\r\n\r\ntext\r\n",
    **more: Any,
) -> Draft:
    """A draft for `to`, one recipient where nobody is named; it is due after its hold."""
    composed = Composed(
        reverse_path=more.pop("reverse_path", "shop@x.example"),
        recipients=to or ("ann@y.example",),
        content=content,
        subject=more.pop("subject", "hello"),
        smtputf8=False,
    )
    usual: dict[str, Any] = {
        "batch": "",
        "urgent": False,
        "submitted_by": "crm",
        "give_up": at + hold + timedelta(days=5),
        "revision": 3,
        "held_by": "the setting sending.hold = 5m",
    }
    return Draft(id=id, composed=composed, admitted=at, due=at + hold, **{**usual, **more})


class OpenStore:
    """One store, on SQLite or PostgreSQL. Every call is a transaction."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = open_engine(url)
        self.run(create_tables)

    @property
    def on_postgresql(self) -> bool:
        """Whether several may write at once."""
        return self.engine.dialect.name == "postgresql"

    def run(self, function: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a transaction of its own."""
        with self.engine.connect() as connection:
            return transact(connection, function, *args, **kwargs)

    def admit(self, *drafts: Draft) -> Admission:
        """Admit drafts."""
        return self.run(store.admit, drafts)

    def admit_released(self, *drafts: Draft) -> list[int]:
        """Admit drafts that go at once, as the broker has confirmed them; their recipients' numbers."""
        admission = self.admit(*drafts)
        numbers = [recipient.no for mail in admission.admitted for recipient in mail.recipients]
        self.run(store.mark_released, numbers, NOW)
        return numbers

    def admit_claimed(self, *drafts: Draft, worker: str = "sender-1") -> list[int]:
        """Admit drafts that a sender has claimed; their recipients' numbers."""
        numbers = self.admit_released(*drafts)
        assert len(self.run(claim, numbers, worker, NOW)) == len(numbers)
        return numbers

    def states(self, mail: str = "order-1") -> list[State]:
        """The states of a mail's recipients, in order."""
        return [row.state for row in self.rows(mail)]

    def rows(self, mail: str = "order-1") -> Sequence[Any]:
        """The rows of a mail's recipients, in order."""
        query = sa.select(recipients).join_from(recipients, mails, recipients.c.mail == mails.c.no)
        rows = self.run(lambda c: c.execute(query.where(mails.c.id == mail).order_by(recipients.c.no)).all())
        return [_Row(row) for row in rows]

    def put(self, number: int, **columns: Any) -> None:
        """Set columns of a recipient's row, to make a situation."""
        self.run(lambda c: c.execute(sa.update(recipients).where(recipients.c.no == number).values(columns)))

    def count(self, table: sa.Table) -> int:
        """Rows of a table."""
        return int(self.run(lambda c: c.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()))

    def empty(self) -> None:
        """Delete every row but the store's version."""
        for table in metadata.sorted_tables:
            if table is not store_version:
                self.run(sa.Connection.execute, sa.delete(table))

    def close(self) -> None:
        """Let go of the connections."""
        self.engine.dispose()


class _Row:
    """A row whose state is a State."""

    def __init__(self, row: Any) -> None:
        self._row = row
        self.state = State(row.state)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)
