"""The suppression list as a file: CSV with an address and a reason, or JSON lines."""

import csv
from collections.abc import Iterable, Iterator

import msgspec

from shared.contracts import SuppressedAddress, SuppressionLine
from shared.refusals import Invalid

COLUMNS = ("address", "reason")

_MOST_REASON = 500  # characters, as the command takes


class _Line(msgspec.Struct, frozen=True):
    """A line of a file of JSON lines; what else an export writes there is passed over."""

    address: str
    reason: str = ""


def read_entries(lines: Iterable[str]) -> Iterator[SuppressedAddress]:
    """The entries of a file, whose first CSV line may name the columns. Raises Invalid that names the line."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        entry = _from_json(line, number) if line.lstrip().startswith("{") else _from_csv(line, number)
        if not (number == 1 and entry.address.strip().lower() == COLUMNS[0]):
            yield entry


def _from_json(line: str, number: int) -> SuppressedAddress:
    try:
        found = msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise Invalid(f"line {number}", f"{error}; takes JSON with an address") from error
    return SuppressedAddress(address=found.address, reason=found.reason[:_MOST_REASON])


def _from_csv(line: str, number: int) -> SuppressedAddress:
    try:
        address, reason, *_ = [*next(csv.reader([line])), ""]
    except csv.Error as error:
        raise Invalid(f"line {number}", f"{error}; takes an address, and perhaps a comma and a reason") from error
    return SuppressedAddress(address=address, reason=reason.strip()[:_MOST_REASON])


def why(entry: SuppressionLine) -> str:
    """What put an address on the list, in words."""
    said = " ".join(part for part in (str(entry.code or ""), entry.enhanced, entry.reply.replace("\n", " ")) if part)
    return ": ".join(part for part in (entry.bounce_class, said) if part)
