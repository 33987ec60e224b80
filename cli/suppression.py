"""`pillarbox suppression`: the addresses that no mail goes to."""

import csv
import itertools
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Annotated, TypeVar

import typer

from cli.client import ANSWER_TIME, Client, with_client
from cli.failures import CommandFailed
from cli.home import Home
from cli.options import DEFAULT_HOME, HomeOption, JsonOption, TimeoutOption
from cli.output import brief_time, plain, print_json, print_json_line, remark, screen, table
from cli.settings_publish import author
from shared.contracts.answers import (
    RefusedAddress,
    SuppressionLine,
    SuppressionsAdded,
    SuppressionsAnswer,
    SuppressionsRemoved,
)
from shared.contracts.commands import AddSuppressions, ListSuppressions, RemoveSuppressions, SuppressedAddress
from shared.refusals import Invalid
from shared.suppression_file import COLUMNS, entry_of, portions, read_entries, row_of, why

T = TypeVar("T")

_AT_ONCE = 1000  # addresses in one command

AddressesArgument = Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="One address or several.")]


def list_entries(
    address: Annotated[str | None, typer.Option("--address", help="Just this one.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 50,
    after: Annotated[str, typer.Option("--after", help="Those behind this address.")] = "",
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """List the addresses that no mail goes to: since when, until when, who or what put them there."""
    command = ListSuppressions(address=address, after=after, limit=limit)
    answer = with_client(Home(home), lambda client: client.ask(command, SuppressionsAnswer), timeout)
    if as_json:
        print_json(answer)
        return
    if answer.entries:
        now = datetime.now(UTC)
        rows = [[plain(cell) for cell in _row(entry, now)] for entry in answer.entries]
        screen().print(table(["address", "since", "until", "by", "why"], rows, wide=["address", "why"]))
    else:
        remark("no such address is on the list" if address else "nobody is on the list")
    if answer.next:
        remark(f"there are more: --after {plain(answer.next)}")


def add(
    addresses: AddressesArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why.")] = "",
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """Put addresses on the list, until somebody removes them. Exit 1 when one of them is no address."""
    entries = [SuppressedAddress(address=address, reason=reason) for address in addresses]
    _show_added(_add_all(Home(home), entries, timeout), as_json)


def remove(
    addresses: AddressesArgument,
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """Take addresses off the list. Exit 1 when one of them was not on it."""

    async def ask(client: Client) -> list[SuppressionsRemoved]:
        return [
            await client.ask(RemoveSuppressions(addresses=list(part)), SuppressionsRemoved)
            for part in _parts(addresses)
        ]

    answers = with_client(Home(home), ask, timeout)
    unknown = [address for answer in answers for address in answer.unknown]
    removed = sum(answer.removed for answer in answers)
    if as_json:
        print_json({"removed": removed, "unknown": unknown})
    else:
        remark(f"{removed} removed")
        for address in unknown:
            remark(f"{plain(address)}: was not on the list")
    if unknown:
        raise typer.Exit(1)


def import_entries(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file, or - for standard input.")],
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """Put the addresses of a file on the list: CSV (a line an address; behind a comma the reason) or JSON lines.

    A first CSV line that begins with "address" names the columns. What `export` has written comes back as it was: since
    when, until when, by whom and why. Exit 1 when a line holds no address; the others are added.
    """
    try:
        with _opened(file) as lines:
            added = _add_all(Home(home), read_entries(lines), timeout)
    except Invalid as refused:
        raise CommandFailed(str(refused)) from refused
    _show_added(added, as_json)


def export_entries(
    home: HomeOption = DEFAULT_HOME, timeout: TimeoutOption = ANSWER_TIME, as_json: JsonOption = False
) -> None:
    """Print the whole list as CSV, or as JSON lines with --json; `import` reads both, and nothing is lost."""

    async def print_all(client: Client) -> None:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        if not as_json:
            writer.writerow(COLUMNS)
        async for line in _pages(client):
            entry = entry_of(line)
            if as_json:
                print_json_line(entry)
            else:
                writer.writerow(row_of(entry))

    with_client(Home(home), print_all, timeout)


# ---------------------------------------------------------------------------------------------------------


async def _pages(client: Client) -> AsyncIterator[SuppressionLine]:
    after: str | None = ""
    while after is not None:
        page = await client.ask(ListSuppressions(after=after, limit=_AT_ONCE), SuppressionsAnswer)
        for entry in page.entries:
            yield entry
        after = page.next


def _add_all(home: Home, entries: Iterable[SuppressedAddress], timeout: timedelta) -> SuppressionsAdded:
    """Add them, a thousand at a time: a large file is never in memory as a whole."""

    async def ask(client: Client) -> SuppressionsAdded:
        added, refused = 0, list[RefusedAddress]()
        for part in portions(entries):
            answer = await client.ask(AddSuppressions(entries=part, author=author()), SuppressionsAdded)
            added, refused = added + answer.added, refused + answer.refused
        return SuppressionsAdded(added=added, refused=refused)

    return with_client(home, ask, timeout)


def _show_added(done: SuppressionsAdded, as_json: bool) -> None:
    if as_json:
        print_json({"added": done.added, "refused": done.refused})
    else:
        remark("1 address added" if done.added == 1 else f"{done.added:,} addresses added")
        for one in done.refused:
            remark(f"{plain(one.address)}: {plain(one.reason)}")
    if done.refused:
        raise typer.Exit(1)


def _parts(items: Iterable[T]) -> Iterator[Sequence[T]]:
    iterator = iter(items)
    while part := list(itertools.islice(iterator, _AT_ONCE)):
        yield part


@contextmanager
def _opened(file: Path) -> Iterator[IO[str]]:
    if str(file) == "-":
        yield sys.stdin
        return
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            yield lines
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{file} can not be read: {error}") from error


def _row(entry: SuppressionLine, now: datetime) -> list[str]:
    until = brief_time(entry.until, now) if entry.until else "removed"
    by = entry.author or (f"mail {entry.mail}" if entry.mail else "")
    return [entry.address, brief_time(entry.since, now), until, by, why(entry)]
