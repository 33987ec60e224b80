"""How a mail store is opened: SQLite or PostgreSQL."""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from shared.hot_statements import run_plainly
from shared.mail_store.transactions import BEGIN
from shared.store_trouble import StoreUnusable

# Of drivers; what a URL says itself stands. A store that hangs must become one that can not be used.
_SQLITE_OPTIONS = {"timeout": 10}  # seconds for a lock
_POSTGRESQL_OPTIONS = {
    "connect_timeout": 10,  # seconds
    "tcp_user_timeout": 30_000,  # milliseconds
    "client_encoding": "utf8",  # psycopg gives octets of a database in SQL_ASCII else, on which SQLAlchemy fails
}


def open_engine(url: str) -> sa.Engine:
    """An engine for SQLite (WAL, every commit synced) or PostgreSQL.

    Its first connection raises StoreUnusable where a PostgreSQL database, or the URL, has another encoding than UTF8.
    """
    parsed = sa.make_url(url)
    on_sqlite = parsed.get_backend_name() == "sqlite"
    options = _SQLITE_OPTIONS if on_sqlite else _POSTGRESQL_OPTIONS
    connect_args = {name: value for name, value in options.items() if name not in parsed.query}
    if not on_sqlite:
        engine = sa.create_engine(parsed, pool_pre_ping=True, pool_size=2, connect_args=connect_args)
        sa.event.listen(engine, "connect", _check_encoding, insert=True)  # before SQLAlchemy asks for texts
        return engine
    engine = sa.create_engine(parsed, connect_args=connect_args)

    @sa.event.listens_for(engine, "do_connect")
    def _create(_dialect: Any, _record: Any, arguments: Sequence[Any], _options: Any) -> None:
        # For its owner alone, whatever the umask: it holds mail. SQLite gives -wal and -shm the mode of the file.
        if not arguments[0].startswith(("file:", ":memory:")):
            with contextlib.suppress(OSError):  # SQLite says better what is wrong
                os.close(os.open(arguments[0], os.O_RDWR | os.O_CREAT, 0o600))

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not guessed by the driver
        cursor = connection.cursor()
        # Large contents like large pages, but whatever a transaction touches is written by the page. At a fifth of the
        # capacity the slowest hundredth of mails took 153 ms with 16 KiB, 104 with these; mails of 100 KB went at 361 a
        # second with these, 298 with 4 KiB.
        cursor.execute("PRAGMA page_size = 8192")
        # Debian's SQLite overwrites what is deleted: to drop a content of 100 KB took 328 µs and wrote all of it again,
        # and takes 32 without.
        cursor.execute("PRAGMA secure_delete = OFF")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA cache_size = -65536")  # 64 MiB
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A transaction that turns from reader to writer can fail at once; one that begins as a writer waits.
        run_plainly(connection, connection.info.pop(BEGIN, "BEGIN IMMEDIATE"))

    return engine


def _check_encoding(connection: Any, _record: Any) -> None:
    """In another one there is no place for the subjects and addresses of some mails, or texts come as octets."""
    found = connection.info.parameter_status("server_encoding")
    if found != "UTF8":
        raise StoreUnusable(
            f"the database has the encoding {found}; takes UTF8",
            "make it anew in UTF8: docs/operations.md, When the store fails",
        )
    asked = connection.info.parameter_status("client_encoding")
    if asked != "UTF8":
        raise StoreUnusable(f"its URL asks for the encoding {asked}; takes UTF8", "leave client_encoding out of it")
