"""The suppression list, and the dead letters."""

from typing import Any

from litestar import Response, get, post
from litestar.datastructures import UploadFile
from litestar.response import Stream, Template

from services.console.api.suppression import add_entries, exported, read_file
from services.console.callers import caller_of
from services.console.desk import Desk
from services.console.pages.forms import chosen, fields, needing
from services.console.pages.showing import Showing
from services.console.problems import refusal
from services.console.reading import Incoming
from shared.console_accounts import Scope
from shared.contracts.answers import SuppressionsAdded, SuppressionsAnswer, SuppressionsRemoved
from shared.contracts.commands import ListSuppressions, RemoveSuppressions, SuppressedAddress
from shared.dead_letters import DeadLetter
from shared.refusals import Invalid
from shared.suppression_file import why

_SHOWN = 50
_BEGINNING = 4096  # octets of a dead letter on the page


@get("/suppression")
async def suppression(request: Incoming, desk: Desk, showing: Showing) -> Template:
    """The list, or one address of it."""
    return await _suppression(request, desk, showing, None)


async def _suppression(
    request: Incoming, desk: Desk, showing: Showing, error: Invalid | None, address: str = "", reason: str = ""
) -> Template:
    wanted, after = (request.query_params.get(name, "").strip() for name in ("address", "after"))
    command = ListSuppressions(address=wanted or None, after=after, limit=_SHOWN)
    answer = await desk.ask(command, SuppressionsAnswer)
    return showing.page(
        request, "suppression", 422 if error else 200, entries=answer.entries, next=answer.next, wanted=wanted,
        after=after, why=why, error=error, address=address, reason=reason,
    )  # fmt: skip


@post("/suppression/add", opt=needing(Scope.OPERATE), status_code=200)
async def add(request: Incoming, desk: Desk, showing: Showing) -> Response[Any]:
    """Put an address there."""
    said = await fields(request)
    address, reason = said.get("address", ""), said.get("reason", "")[:500]
    done = await add_entries(desk, [SuppressedAddress(address=address, reason=reason)], caller_of(request).name)
    if done.refused:
        return await _suppression(request, desk, showing, Invalid("address", done.refused[0].reason), address, reason)
    return showing.go("/suppression", f"No mail goes to {address} any more.")


@post("/suppression/remove", opt=needing(Scope.OPERATE), status_code=200)
async def remove(request: Incoming, desk: Desk, showing: Showing) -> Response[Any]:
    """Take addresses off."""
    addresses = await chosen(request, "address")
    if not addresses:
        return showing.go("/suppression", "Nothing was chosen.")
    done = await desk.ask(RemoveSuppressions(addresses=addresses[:1000]), SuppressionsRemoved)
    return showing.go("/suppression", f"{_counted(done.removed, 'address', 'addresses')} taken off the list.")


@post("/suppression/import", opt=needing(Scope.OPERATE), status_code=200)
async def import_file(request: Incoming, desk: Desk, showing: Showing) -> Response[Any]:
    """Add the addresses of a file."""
    upload = (await request.form()).get("file")
    if not isinstance(upload, UploadFile) or not upload.filename:
        return showing.go("/suppression", "No file was chosen.")
    try:
        done = await add_entries(desk, read_file(await upload.read()), caller_of(request).name)
    except Invalid as refused:
        return await _suppression(request, desk, showing, Invalid("file", str(refused)))
    return showing.go("/suppression", _added(done))


def _added(done: SuppressionsAdded) -> str:
    words = f"{_counted(done.added, 'address', 'addresses')} added."
    if not done.refused:
        return words
    first = done.refused[0]
    return f"{words} {len(done.refused):,} refused, the first: {first.address[:80]}: {first.reason}"


@get("/suppression/file")
async def export(request: Incoming, desk: Desk) -> Stream:
    """The whole list."""
    return await exported(desk, "jsonl" if request.query_params.get("format") == "jsonl" else "csv")


# ---------------------------------------------------------------------------------------------------------


@get("/dead-letters")
async def dead_letters(request: Incoming, desk: Desk, showing: Showing) -> Template:
    """What was put aside, and why."""
    letters, total = await desk.dead_letters(_SHOWN)
    return showing.page(request, "dead_letters", letters=letters, total=total, beginning=beginning)


@post("/dead-letters/redrive", opt=needing(Scope.OPERATE), status_code=200)
async def redrive(request: Incoming, desk: Desk, showing: Showing) -> Response[Any]:
    """Publish them again."""
    marks = await chosen(request, "mark")
    if not marks:
        raise refusal(422, "no dead letter was chosen: go back, and tick one at least", name="invalid")
    done = await desk.redrive(marks)
    words = f"{_counted(len(done.gone), 'dead letter', 'dead letters')} published again."
    if done.failed:
        words += f" {len(done.failed):,} stayed: {done.failed[0][1]}"
    return showing.go("/dead-letters", words)


def beginning(letter: DeadLetter) -> str:
    """The first of its octets."""
    return letter.body[:_BEGINNING].decode("utf-8", "backslashreplace")


def _counted(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


HANDLERS: list[Any] = [suppression, add, remove, import_file, export, dead_letters, redrive]
