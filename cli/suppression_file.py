"""The suppression list as a file: CSV or JSON lines. What is written can be read again, and is the same then."""

import csv
import itertools
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any

import msgspec

from cli.failures import CommandFailed
from shared.contracts import BounceClass, SuppressedAddress, SuppressionLine

COLUMNS = SuppressedAddress.__struct_fields__
_USUAL = ("address", "reason")  # of a file that does not name its columns
_MOST_REASON = 32 * 1024  # characters, as the contract has it


def entry_of(line: SuppressionLine) -> SuppressedAddress:
    """What puts the address on a list again just as it was."""
    return SuppressedAddress(
        address=line.address,
        reason=line.reply,
        author=line.author,
        since=line.since,
        until=line.until,
        bounce_class=BounceClass(line.bounce_class) if line.bounce_class else None,
        code=line.code,
        enhanced=line.enhanced,
        mail=line.mail,
    )


def row_of(entry: SuppressedAddress) -> list[str]:
    """The entry as a line of CSV."""
    values = (getattr(entry, column) for column in COLUMNS)
    return [
        "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value) for value in values
    ]


def read_entries(lines: IO[str]) -> Iterator[SuppressedAddress]:
    """The entries of a file in either form; fields that it does not know are passed over.

    Raises CommandFailed, which names the line.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            every = itertools.chain([line], lines)
            yield from (_json_lines if line.lstrip().startswith("{") else _csv)(every, number)


def _json_lines(lines: Iterator[str], first: int) -> Iterator[SuppressedAddress]:
    for number, line in enumerate(lines, start=first):
        if not line.strip():
            continue
        try:
            found = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise CommandFailed(f"line {number}: {error}; takes JSON with an address") from error
        yield _entry(found, number)


def _csv(lines: Iterator[str], first: int) -> Iterator[SuppressedAddress]:
    """A reply may have line ends, so a row may have several lines."""
    reader = csv.reader(lines)
    columns: tuple[str, ...] = ()
    try:
        for row in reader:
            if not columns:
                names = [name.strip().lower() for name in row]
                columns = tuple(names) if names[0] == _USUAL[0] else _USUAL
                if columns is not _USUAL:
                    continue
            if "".join(row).strip():
                yield _entry(_cells(columns, row), first - 1 + reader.line_num)
    except csv.Error as error:
        where = f"line {first - 1 + reader.line_num}"
        raise CommandFailed(f"{where}: {error}; takes an address, and perhaps a comma and a reason") from error


def _cells(columns: tuple[str, ...], row: list[str]) -> dict[str, Any]:
    """What the cells say; an empty author is one: a server's reply."""
    found = dict(zip(columns, row, strict=False))
    return {name: text for name, text in found.items() if text or name in ("address", "author")}


def _entry(found: dict[str, Any], number: int) -> SuppressedAddress:
    known = {name: value for name, value in found.items() if name in COLUMNS}
    if isinstance(reason := known.get("reason"), str):
        known["reason"] = reason[:_MOST_REASON]
    try:
        return msgspec.convert(known, SuppressedAddress, strict=False)
    except msgspec.ValidationError as error:
        raise CommandFailed(f"line {number}: {error}; takes an address, and the columns of `export`") from error
