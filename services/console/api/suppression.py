"""The suppression list over HTTP."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get, post
from litestar.response import Stream
from msgspec import Meta

from services.console import examples
from services.console.answers import answered, encode
from services.console.callers import caller_of
from services.console.described import Answer, Body, described
from services.console.desk import Desk
from services.console.problems import refusal
from services.console.reading import Bodies, Incoming, content_type, read_json, read_query
from shared.console_accounts import Scope
from shared.contracts.answers import (
    RefusedAddress,
    SuppressionLine,
    SuppressionsAdded,
    SuppressionsAnswer,
    SuppressionsRemoved,
)
from shared.contracts.commands import AddSuppressions, ListSuppressions, RemoveSuppressions, SuppressedAddress
from shared.refusals import Invalid
from shared.suppression_file import COLUMNS, entry_of, portions, read_entries, row_of

_AT_ONCE = 1000  # addresses in one command
_MOST_IMPORT = 64 * 1024 * 1024  # octets: a million addresses
_FILES = ("text/csv", "application/jsonl")
_EXPORTED = f"{','.join(COLUMNS)}\nann@example.net,asked us to,ada,2026-03-01T09:30:00+00:00,,,0,,\n"


class Listing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which entries."""

    address: Annotated[str | None, Meta(description="just this one", examples=["ann@example.net"])] = None
    after: Annotated[str, Meta(description="the `next` of the previous page", examples=["ann@example.net"])] = ""
    limit: Annotated[int, Meta(ge=1, le=1000, description="how many at most")] = 50


class NewEntries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Addresses that no mail is to go to."""

    entries: Annotated[list[SuppressedAddress], Meta(min_length=1, max_length=1000)]


class Addresses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Addresses to take off the list."""

    addresses: Annotated[list[str], Meta(min_length=1, max_length=1000)]


class Format(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the list is written."""

    format: Annotated[
        Literal["csv", "jsonl"], Meta(description="CSV with a line of names, or an object of JSON in each line")
    ] = "csv"


@get(
    "/suppression",
    opt=described(
        summary="The addresses that no mail goes to, in the order of the alphabet.",
        scope=Scope.READ,
        query=Listing,
        answers={200: Answer("a page; `next` goes into `after`", SuppressionsAnswer, example=examples.SUPPRESSIONS)},
        problems=(422,),
    ),
)
async def listing(request: Incoming, desk: Desk) -> Response[bytes]:
    """A page of the list."""
    asked = read_query(request, Listing)
    return answered(await desk.ask(ListSuppressions(**msgspec.structs.asdict(asked)), SuppressionsAnswer))


@post(
    "/suppression",
    status_code=200,
    opt=described(
        summary="Put addresses on the list, until somebody removes them.",
        scope=Scope.OPERATE,
        bodies=(Body("application/json", NewEntries, examples.NEW_SUPPRESSIONS),),
        answers={
            200: Answer("how many are there now, and what is no address", SuppressionsAdded, example=examples.ADDED)
        },
        problems=(413, 422),
    ),
)
async def add(request: Incoming, desk: Desk, bodies: Bodies) -> Response[bytes]:
    """Add addresses."""
    new = read_json(await bodies.read(request), NewEntries)
    return answered(await add_entries(desk, new.entries, caller_of(request).name))


@post(
    "/suppression/remove",
    status_code=200,
    opt=described(
        summary="Take addresses off the list.",
        scope=Scope.OPERATE,
        bodies=(Body("application/json", Addresses, {"addresses": ["ann@example.net"]}),),
        answers={200: Answer("how many were there", SuppressionsRemoved, example=examples.REMOVED)},
        problems=(413, 422),
    ),
)
async def remove(request: Incoming, desk: Desk, bodies: Bodies) -> Response[bytes]:
    """Remove addresses."""
    asked = read_json(await bodies.read(request), Addresses)
    return answered(await desk.ask(RemoveSuppressions(addresses=asked.addresses), SuppressionsRemoved))


@post(
    "/suppression/import",
    status_code=200,
    opt=described(
        summary="Put the addresses of a file on the list: JSON lines, or CSV with an address and behind a comma the "
        "reason, or with the columns of `export`.",
        scope=Scope.OPERATE,
        bodies=(
            Body(_FILES[0], {"type": "string"}, "ann@example.net,asked us to\n"),
            Body(_FILES[1], {"type": "string"}, '{"address": "ann@example.net"}\n'),
        ),
        answers={
            200: Answer("how many are there now, and what is no address", SuppressionsAdded, example=examples.ADDED)
        },
        problems=(413, 415, 422),
    ),
)
async def import_file(request: Incoming, desk: Desk, bodies: Bodies) -> Response[bytes]:
    """Add the addresses of a file."""
    if content_type(request) not in _FILES:
        raise refusal(415, f"takes {' or '.join(_FILES)}")
    body = await bodies.read(request, _MOST_IMPORT)
    return answered(await add_entries(desk, read_file(body), caller_of(request).name))


def read_file(body: bytes) -> Iterable[SuppressedAddress]:
    """The entries of an uploaded file. Raises Invalid."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid("", "is no text in UTF-8") from error
    return read_entries(io.StringIO(text, newline=""))


async def add_entries(desk: Desk, entries: Iterable[SuppressedAddress], author: str) -> SuppressionsAdded:
    """Add them, as many at a time as a command takes."""
    added, refused = 0, list[RefusedAddress]()
    for part in portions(entries):
        answer = await desk.ask(AddSuppressions(entries=part, author=author), SuppressionsAdded)
        added, refused = added + answer.added, (refused + answer.refused)[:_AT_ONCE]
    return SuppressionsAdded(added=added, refused=refused)


@get(
    "/suppression/export",
    opt=described(
        summary="The whole list as a file, which `import` reads: it comes back as it was.",
        scope=Scope.READ,
        query=Format,
        answers={200: Answer("the list", {"type": "string"}, "text/csv", _EXPORTED, _FILES[1])},
        problems=(422,),
    ),
)
async def export(request: Incoming, desk: Desk) -> Stream:
    """The list, page by page."""
    return await exported(desk, read_query(request, Format).format)


async def exported(desk: Desk, form: Literal["csv", "jsonl"]) -> Stream:
    """The whole list as a file."""
    first = await desk.ask(ListSuppressions(limit=_AT_ONCE), SuppressionsAnswer)  # what fails fails before the file
    media_type = _FILES[0] if form == "csv" else _FILES[1]
    headers = {"Content-Disposition": f'attachment; filename="suppression.{form}"'}
    return Stream(_written(desk, first, _csv if form == "csv" else _jsonl), media_type=media_type, headers=headers)


async def _written(desk: Desk, page: SuppressionsAnswer, write: Any) -> AsyncIterator[bytes]:
    if write is _csv:
        yield _row(COLUMNS)
    while True:
        yield b"".join(write(entry) for entry in page.entries)
        if not page.next:
            return
        page = await desk.ask(ListSuppressions(after=page.next, limit=_AT_ONCE), SuppressionsAnswer)


def _csv(entry: SuppressionLine) -> bytes:
    return _row(row_of(entry_of(entry)))


def _jsonl(entry: SuppressionLine) -> bytes:
    return encode(entry_of(entry)) + b"\n"


def _row(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


HANDLERS: list[Any] = [listing, add, remove, import_file, export]
