"""The suppression list as a file: CSV or JSON lines. What is written can be read again, and is the same then."""

import csv
import itertools
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from shared.contracts.answers import SuppressionLine
from shared.contracts.commands import SuppressedAddress
from shared.contracts.words import BounceClass
from shared.refusals import UNREADABLE, Invalid

COLUMNS = SuppressedAddress.__struct_fields__
_USUAL = ("address", "reason")  # of a file that does not name its columns
_AT_ONCE = 1000  # addresses in one command
_OCTETS_AT_ONCE = 1024 * 1024  # of a command, which takes 4 MiB
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


def read_entries(lines: Iterable[str]) -> Iterator[SuppressedAddress]:
    """The entries of a file in either form; fields that it does not know are passed over.

    Raises Invalid, which names the line.
    """
    left = iter(lines)
    for number, line in enumerate(left, start=1):
        if line.strip():
            every = itertools.chain([line], left)
            yield from (_json_lines if line.lstrip().startswith("{") else _csv)(every, number)


def portions(entries: Iterable[SuppressedAddress]) -> Iterator[list[SuppressedAddress]]:
    """The entries by as many as one command takes."""
    part: list[SuppressedAddress] = []
    size = 0
    for entry in entries:
        octets = len(msgspec.json.encode(entry))
        if part and (len(part) == _AT_ONCE or size + octets > _OCTETS_AT_ONCE):
            yield part
            part, size = [], 0
        part.append(entry)
        size += octets
    if part:
        yield part


def why(entry: SuppressionLine) -> str:
    """What put an address on the list, in words."""
    said = " ".join(part for part in (str(entry.code or ""), entry.enhanced, entry.reply.replace("\n", " ")) if part)
    return ": ".join(part for part in (entry.bounce_class, said) if part)


def _json_lines(lines: Iterator[str], first: int) -> Iterator[SuppressedAddress]:
    for number, line in enumerate(lines, start=first):
        if not line.strip():
            continue
        try:
            found = msgspec.json.decode(line, type=dict[str, Any])
        except UNREADABLE as error:
            raise Invalid(f"line {number}", f"{error}; takes JSON with an address") from error
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
        raise Invalid(where, f"{error}; takes an address, and perhaps a comma and a reason") from error


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
        raise Invalid(f"line {number}", f"{error}; takes an address, and the columns of `export`") from error
