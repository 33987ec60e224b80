"""Functions run in transactions: to write, or to read alone."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
import tenacity

P = ParamSpec("P")
T = TypeVar("T")

BEGIN = "begin"  # where a connection is told how its next transaction begins, on SQLite


def transact(
    connection: sa.Connection,
    function: Callable[Concatenate[sa.Connection, P], T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run a function in a transaction, and again where PostgreSQL has ended it for a deadlock.

    Rows are locked in order wherever a statement allows to say so; an UPDATE of many does not.
    """

    def once() -> T:
        with connection.begin():
            return function(connection, *args, **kwargs)

    try:
        return once()
    except sa.exc.OperationalError as error:
        if not _was_deadlock(error):
            raise
    return _AFTER_A_DEADLOCK(once)


def consult(
    connection: sa.Connection,
    function: Callable[Concatenate[sa.Connection, P], T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run a function that writes nothing, in a transaction."""
    if connection.dialect.name == "sqlite":
        connection.info[BEGIN] = "BEGIN"
    with connection.begin():
        return function(connection, *args, **kwargs)


def _was_deadlock(error: BaseException) -> bool:
    return isinstance(error, sa.exc.OperationalError) and getattr(error.orig, "sqlstate", "") == "40P01"


_AFTER_A_DEADLOCK = tenacity.Retrying(
    retry=tenacity.retry_if_exception(_was_deadlock),
    stop=tenacity.stop_after_attempt(9),
    wait=tenacity.wait_random(0, 0.1),
    reraise=True,
)
