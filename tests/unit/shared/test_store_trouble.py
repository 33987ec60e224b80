"""What a store's error means: wait, give up, or a fault of ours."""

import sqlite3

import psycopg
import pytest
import sqlalchemy as sa

from shared.store_trouble import StoreAway, StoreUnusable, diagnose, explained


def of_sqlite(code: int, words: str = "what it says") -> sa.exc.DBAPIError:
    cause = sqlite3.OperationalError(words)
    cause.sqlite_errorcode = code
    return sa.exc.OperationalError("UPDATE", {}, cause)


def of_postgresql(state: str | None, *, lost: bool = False) -> sa.exc.DBAPIError:
    cause = psycopg.OperationalError("what it says\nDETAIL: more")
    cause.sqlstate = state
    return sa.exc.OperationalError("UPDATE", {}, cause, connection_invalidated=lost)


WAITS, ENDS, OURS = StoreAway, StoreUnusable, sa.exc.OperationalError


@pytest.mark.parametrize(
    ("error", "kind", "cure"),
    [
        (of_sqlite(sqlite3.SQLITE_FULL), WAITS, "make room"),
        (of_sqlite(sqlite3.SQLITE_BUSY), WAITS, "locked"),
        (of_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), WAITS, "locked"),  # the lower eight bits count
        (of_sqlite(sqlite3.SQLITE_IOERR_WRITE), WAITS, "disk"),  # some file systems say so when they are full
        (of_sqlite(sqlite3.SQLITE_CANTOPEN), WAITS, "folder"),  # or there are too many open files
        (of_sqlite(sqlite3.SQLITE_READONLY), ENDS, "write to the file"),
        (of_sqlite(sqlite3.SQLITE_CORRUPT_INDEX), ENDS, "backup"),
        (of_sqlite(sqlite3.SQLITE_NOTADB), ENDS, "backup"),
        (of_sqlite(sqlite3.SQLITE_ERROR, "no such table: mails"), WAITS, "scheduler"),
        (of_sqlite(sqlite3.SQLITE_ERROR, "no such column: x"), OURS, ""),
        (of_sqlite(sqlite3.SQLITE_CONSTRAINT), OURS, ""),
        (of_sqlite(sqlite3.SQLITE_TOOBIG), OURS, ""),
        (of_sqlite(sqlite3.SQLITE_NOLFS), WAITS, "log"),  # what nobody has thought of is no fault of a mail's
        (of_postgresql(None), WAITS, "database server"),  # no connection at all
        (of_postgresql("57P01"), WAITS, "database server"),  # it is being stopped
        (of_postgresql("57P03"), WAITS, "database server"),  # it is starting
        (of_postgresql("53300"), WAITS, "database server"),  # too many connections
        (of_postgresql("53100"), WAITS, "make room"),
        (of_postgresql("25006"), WAITS, "database server"),  # a standby
        (of_postgresql("40001"), WAITS, "locked"),
        (of_postgresql("42P01"), WAITS, "scheduler"),
        (of_postgresql("42501"), ENDS, "rights"),
        (of_postgresql("XX001"), ENDS, "backup"),
        (of_postgresql("54000"), OURS, ""),
        (of_postgresql("55000"), WAITS, "log"),
        (of_postgresql("23505", lost=True), WAITS, "database server"),  # whatever else, the connection is gone
    ],
)
def test_what_may_pass_is_waited_for(error, kind, cure):
    found = explained(error)
    assert isinstance(found, kind)
    if kind is OURS:
        assert found is error
    else:
        assert str(found) == ("no such table: mails" if "no such table" in str(error) else "what it says")
        assert cure in found.cure


@pytest.mark.parametrize(
    "error",
    [
        sa.exc.ProgrammingError("SELECT", {}, psycopg.ProgrammingError("no parameter")),
        sa.exc.IntegrityError("INSERT", {}, psycopg.errors.UniqueViolation("twice")),
        sa.exc.DataError("INSERT", {}, psycopg.errors.NumericValueOutOfRange("too large")),
    ],
)
def test_a_statement_that_is_wrong_is_no_ailment_of_the_store(error):
    assert diagnose(error) is None
