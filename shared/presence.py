"""Which senders run: each says so every few seconds in the mail store, and is forgotten when it no longer does."""

from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from shared.contracts.answers import SenderLine
from shared.mail_store.tables import greetings, senders

SAY_EVERY = timedelta(seconds=10)
_GONE_AFTER = timedelta(minutes=1)
_LISTED = 1000


def say_present(connection: sa.Connection, sender: SenderLine) -> None:
    """Write down that it runs, and how."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    row = msgspec.structs.asdict(sender)
    said = [{"sender": sender.name, "address": address, "name": name} for address, name in row.pop("helo").items()]
    connection.execute(dialect.insert(senders).values(row).on_conflict_do_update(index_elements=["name"], set_=row))
    connection.execute(sa.delete(greetings).where(greetings.c.sender == sender.name))
    if said:
        connection.execute(sa.insert(greetings), said)


def say_gone(connection: sa.Connection, name: str) -> None:
    """It ends in order."""
    connection.execute(sa.delete(senders).where(senders.c.name == name))
    connection.execute(sa.delete(greetings).where(greetings.c.sender == name))


def list_present(connection: sa.Connection, now: datetime) -> list[SenderLine]:
    """Those that run, by name."""
    query = sa.select(senders).where(senders.c.seen > now - _GONE_AFTER).order_by(senders.c.name).limit(_LISTED)
    present = [SenderLine(**row._mapping) for row in connection.execute(query)]
    said: dict[str, dict[str, str]] = {sender.name: sender.helo for sender in present}
    for sender, address, name in connection.execute(sa.select(greetings).order_by(greetings.c.address)):
        if sender in said:
            said[sender][address] = name
    return present


def forget_gone(connection: sa.Connection, now: datetime) -> None:
    """Forget those that were not seen for a while."""
    connection.execute(sa.delete(senders).where(senders.c.seen <= now - _GONE_AFTER))
    connection.execute(sa.delete(greetings).where(greetings.c.sender.not_in(sa.select(senders.c.name))))
