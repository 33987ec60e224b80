"""Statements of the hot path: written with SQLAlchemy like all others, compiled once, then handed to the driver.

What SQLAlchemy does for each row of parameters (every value by its type, dictionaries, IN lists, numbers read back by
RETURNING) costs more than the store's own work: SQLite needs 13 of the 57 µs that a mail took to be admitted in a batch
of 200, and 7 of the 48 µs of its outcome (processor time of the thread, the least of many rounds). And what it does for
each statement makes 21 µs of 3, which counts where a transaction is for one mail. Here values come as
the driver takes them: times as milliseconds (`mail_store.tables.milliseconds`). Rows come back as it gives them:
tuples, in which truth values are 0 and 1 on SQLite.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

_MOST = 2**63 - 1

Statement = sa.UpdateBase | sa.Select[Any]


class _Compiled(msgspec.Struct, frozen=True):
    text: str
    names: tuple[str, ...]  # of its parameters, in the order in which it uses them
    constants: dict[str, Any]  # those that it brings along


class HotStatement:
    """A statement whose parameters are not looked at."""

    def __init__(self, make: Callable[[sa.Connection], Statement], row: Sequence[str] = ()) -> None:
        """`make` is asked once per dialect; `row` names the values of each row, for `run_for_each`."""
        self._make = make
        self._row = tuple(row)
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: sa.Connection, **values: Any) -> Sequence[tuple[Any, ...]]:
        """Run it once; the rows it gives, none where it gives none."""
        compiled = self._for(connection)
        values |= compiled.constants
        return run_plainly(connection, compiled.text, tuple([values[name] for name in compiled.names]))

    def run_for_each(self, connection: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Run it with each of some rows of values; returns how many rows of the table that concerned."""
        if not rows:
            return 0
        text = self._for(connection).text
        with _errors_of(connection, text):
            cursor = connection.connection.cursor()
            cursor.executemany(text, rows)
            return int(cursor.rowcount)

    def _for(self, connection: sa.Connection) -> _Compiled:
        dialect = connection.dialect
        if dialect.name not in self._compiled:
            self._compiled[dialect.name] = self._compile(connection)
        return self._compiled[dialect.name]

    def _compile(self, connection: sa.Connection) -> _Compiled:
        of_driver: Any = type(connection.dialect)
        positional = of_driver(paramstyle="qmark" if connection.dialect.name == "sqlite" else "format")
        statement: Any = self._make(connection)
        compiled = statement.compile(dialect=positional, column_keys=self._row if statement.is_insert else None)
        names = tuple(compiled.positiontup)
        if self._row and self._row != names:
            raise ValueError(f"the statement takes {names}, its rows have {self._row}")
        required = {name for name, parameter in compiled.binds.items() if parameter.required}
        constants = {name: value for name, value in compiled.params.items() if name not in required}
        return _Compiled(str(compiled), names, constants)


def run_plainly(connection: sa.Connection, text: str, parameters: Sequence[Any] = ()) -> Sequence[tuple[Any, ...]]:
    """Hand a text of SQL to the driver; the rows it gives. Raises what SQLAlchemy raises."""
    with _errors_of(connection, text):
        cursor = connection.connection.cursor()
        cursor.execute(text, parameters)
        return [] if cursor.description is None else cursor.fetchall()


@contextmanager
def _errors_of(connection: sa.Connection, text: str) -> Iterator[None]:
    driver = connection.dialect.loaded_dbapi
    try:
        yield
    except driver.Error as error:
        raise sa.exc.DBAPIError.instance(text, None, error, driver.Error, dialect=connection.dialect) from error


def among(connection: sa.Connection, column: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Whether a column is among the numbers of one parameter, `numbers`: one statement for any count of them."""
    if connection.dialect.name == "sqlite":
        each = sa.func.json_each(sa.bindparam("numbers", type_=sa.Text)).table_valued("value")
        return column.in_(sa.select(each.c.value))
    return column == sa.any_(sa.bindparam("numbers", type_=postgresql.ARRAY(sa.BigInteger)))


def numbers_for(connection: sa.Connection, numbers: Sequence[int]) -> Any:
    """The value of that parameter. Raises OverflowError for a number that no row can have."""
    if connection.dialect.name != "sqlite":
        return numbers
    if max(numbers, default=0) > _MOST:  # SQLite would read it as another, broken one
        raise OverflowError(f"a row's number has at most 63 bits, got {max(numbers)}")
    return msgspec.json.encode(numbers).decode()
