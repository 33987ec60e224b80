"""What a scheduler does to its mail store when it starts: tables, version, numbers."""

from datetime import datetime

import sqlalchemy as sa

from shared.mail_store.tables import VERSION, metadata, store_version
from shared.store_trouble import StoreUnusable


def make_ready(connection: sa.Connection, now: datetime) -> None:
    """Create what is missing, and count on. Raises StoreUnusable where the store is of another version."""
    create_tables(connection)
    count_on(connection, now)


_CREATION = 0x70696C6C  # any number that nobody else in the database locks


def create_tables(connection: sa.Connection) -> None:
    """Create what is missing; idempotent. Raises StoreUnusable where the store is of another version."""
    if connection.dialect.name == "postgresql":
        # Of two that start at once, both would find nothing there.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION)))
    metadata.create_all(connection)
    if connection.execute(sa.select(store_version.c.version)).scalar() is None:
        connection.execute(sa.insert(store_version), {"version": VERSION})
    check_version(connection)


def check_version(connection: sa.Connection) -> None:
    """Whether this program knows the tables. Raises StoreUnusable where the store is of another version."""
    found = connection.execute(sa.select(store_version.c.version)).scalar()
    if found != VERSION:
        raise StoreUnusable(
            f"the store is of version {found}, and this program is for version {VERSION}",
            "start the release it belongs to, or bring it to this version: docs/operations.md, Upgrading",
        )


_NUMBERS_PER_MS = 1 << 10  # more recipients than any store takes in

# A row appears there with the table's first row (SQLite, section "AUTOINCREMENT").
_COUNT_FROM_ON_SQLITE = (
    "INSERT INTO sqlite_sequence (name, seq) SELECT 'recipients', 0"
    " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'recipients')",
    "UPDATE sqlite_sequence SET seq = :start WHERE name = 'recipients' AND seq < :start",
)
_COUNT_FROM_ON_POSTGRESQL = (
    "SELECT setval('recipients_no_seq', :start) FROM recipients_no_seq WHERE last_value < :start",
)


def count_on(connection: sa.Connection, now: datetime) -> None:
    """Number recipients from now on past every number there can have been.

    A store that was restored, or lost, knows nothing of the numbers given since its backup; work messages and outcomes
    that have them may still lie in the broker, and would be taken for those of other mails.
    """
    on_sqlite = connection.dialect.name == "sqlite"
    start = int(now.timestamp() * 1000) * _NUMBERS_PER_MS
    for statement in _COUNT_FROM_ON_SQLITE if on_sqlite else _COUNT_FROM_ON_POSTGRESQL:
        connection.execute(sa.text(statement), {"start": start} if ":start" in statement else {})
