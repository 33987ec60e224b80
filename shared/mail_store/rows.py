"""Rows of the mail store by their numbers."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from shared.hot_statements import run_plainly

_LAST_ON_SQLITE = (
    "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = '{table}'), 0),"
    " coalesce((SELECT max(no) FROM {table}), 0))"
)
_NEXT_ON_POSTGRESQL = "SELECT nextval(%s) FROM generate_series(1, %s)"


def next_numbers(connection: sa.Connection, table: sa.Table, count: int) -> Sequence[int]:
    """Numbers for rows that this transaction is about to insert: to ask for them beforehand costs less than RETURNING.

    On SQLite nobody else writes meanwhile, and they are those that AUTOINCREMENT would give.
    """
    if connection.dialect.name == "sqlite":
        [(last,)] = run_plainly(connection, _LAST_ON_SQLITE.format(table=table.name))
        return range(last + 1, last + 1 + count)
    return [number for (number,) in run_plainly(connection, _NEXT_ON_POSTGRESQL, (f"{table.name}_no_seq", count))]


def insert_missing(connection: sa.Connection, table: sa.Table, key: str) -> Any:
    """An INSERT that leaves a row of the same key as it is: on PostgreSQL another scheduler may have been quicker."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table).on_conflict_do_nothing(index_elements=[key])


_CHUNK = 500  # numbers in one IN list; SQLite takes 32,766 parameters, its planner likes fewer


def chunks(numbers: Sequence[int]) -> Iterable[list[int]]:
    """Numbers in parts that fit one IN list; in order, so that two who lock rows seldom wait for each other."""
    ordered = sorted(numbers)
    return (ordered[start : start + _CHUNK] for start in range(0, len(ordered), _CHUNK))
