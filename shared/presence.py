"""Which senders run: each says so every few seconds in the mail store, and is forgotten when it no longer does."""

from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from shared.contracts import SenderLine
from shared.mail_store import senders

SAY_EVERY = timedelta(seconds=10)
_GONE_AFTER = timedelta(minutes=1)
_LISTED = 1000


def say_present(connection: sa.Connection, sender: SenderLine) -> None:
    """Write down that it runs, and how."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    row = msgspec.structs.asdict(sender)
    connection.execute(dialect.insert(senders).values(row).on_conflict_do_update(index_elements=["name"], set_=row))


def say_gone(connection: sa.Connection, name: str) -> None:
    """It ends in order."""
    connection.execute(sa.delete(senders).where(senders.c.name == name))


def list_present(connection: sa.Connection, now: datetime) -> list[SenderLine]:
    """Those that run, by name."""
    query = sa.select(senders).where(senders.c.seen > now - _GONE_AFTER).order_by(senders.c.name).limit(_LISTED)
    return [SenderLine(**row._mapping) for row in connection.execute(query)]


def forget_gone(connection: sa.Connection, now: datetime) -> None:
    """Forget those that were not seen for a while."""
    connection.execute(sa.delete(senders).where(senders.c.seen <= now - _GONE_AFTER))
