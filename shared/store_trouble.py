"""What it means that the mail store does not do as it is told: wait, or give up. Pure.

What is not known to be for good is worth another try: a worker that ends loses nothing either, but says less.
"""

import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import sqlalchemy as sa


class Ailment(msgspec.Struct, frozen=True):
    """What is wrong with the store."""

    passes: bool  # it may be mended while we wait
    cure: str  # for the operator


class StoreFailed(Exception):
    """The store can not be used; the message says why."""

    def __init__(self, reason: str, cure: str) -> None:
        super().__init__(reason)
        self.cure = cure


class StoreAway(StoreFailed):
    """Not now; it may be mended while we wait."""


class StoreUnusable(StoreFailed):
    """Not until somebody does something, and that takes longer than one waits for."""


_FULL = Ailment(True, "make room on its disk")
_LOCKED = Ailment(True, "find the program that keeps it locked")
_OUT_OF_REACH = Ailment(True, "start the database server, or mend the way to it")
_NOT_MADE = Ailment(True, "start a scheduler, which creates the tables")
_FAILING = Ailment(True, "look at its disk, its folder, its log and the limits of this process")
_READ_ONLY = Ailment(False, "let this user write to the file and its folder")
_BROKEN = Ailment(False, "stop all workers and restore it from a backup: docs/operations.md")

_SQLITE: Mapping[int, Ailment] = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_IOERR: _FAILING,
    sqlite3.SQLITE_CANTOPEN: _FAILING,
    sqlite3.SQLITE_NOMEM: _FAILING,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_CORRUPT: _BROKEN,
    sqlite3.SQLITE_NOTADB: _BROKEN,
}
# The statement is at fault, or what it brings.
_STATEMENT = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
}
# By SQLSTATE, the longest that fits (PostgreSQL's documentation, appendix A).
_POSTGRESQL: Mapping[str, Ailment] = {
    "53100": _FULL,
    "53": _OUT_OF_REACH,  # too many connections, no memory
    "08": _OUT_OF_REACH,
    "57P": _OUT_OF_REACH,  # it stops, or is not up yet
    "25006": _OUT_OF_REACH,  # a standby: the other one is meant
    "55P03": _LOCKED,
    "57014": _LOCKED,  # a time limit of the server's
    "40": _LOCKED,
    "42P01": _NOT_MADE,
    "42501": Ailment(False, "give this user the rights on the tables"),
    "58": _FAILING,
    "XX001": _BROKEN,
    "XX002": _BROKEN,
}
_TOO_MUCH = "54"  # a statement that is more than the server takes


def explained(error: "sa.exc.DBAPIError") -> Exception:
    """The error as StoreAway or StoreUnusable; itself where it is a fault of ours."""
    ailment = diagnose(error)
    if ailment is None:
        return error
    return (StoreAway if ailment.passes else StoreUnusable)(str(error.orig).strip().partition("\n")[0], ailment.cure)


def diagnose(error: "sa.exc.DBAPIError") -> Ailment | None:
    """What is wrong with the store; None where it is the statement."""
    # Imported here: resolvers, gateways and consoles have no store, and would be half as quick to start.
    import sqlalchemy as sa

    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        if str(cause).startswith("no such table"):
            return _NOT_MADE
        code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest of it is detail
        return _SQLITE.get(code, None if code in _STATEMENT else _FAILING)
    of_the_server = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.InternalError)
    state = getattr(cause, "sqlstate", None)
    if state is None or error.connection_invalidated:  # what happens to connections has no state
        return _OUT_OF_REACH if of_the_server else None
    known = [start for start in _POSTGRESQL if state.startswith(start)]
    if known:
        return _POSTGRESQL[max(known, key=len)]
    return _FAILING if of_the_server and not state.startswith(_TOO_MUCH) else None
