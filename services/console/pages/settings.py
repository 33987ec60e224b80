"""Settings: the form, what it would change, and then the change; the history."""

from typing import Any

import msgspec
import tomli_w
from litestar import Response, get, post
from litestar.response import Template

from services.console import settings_form
from services.console.callers import caller_of
from services.console.desk import Desk
from services.console.pages.forms import fields, needing
from services.console.pages.showing import Showing
from services.console.problems import refusal
from services.console.reading import Incoming, read_json
from shared.console_accounts import Scope
from shared.contracts.answers import SendersAnswer, SettingsAnswer, SettingsVersion
from shared.contracts.commands import ListSenders, ShowSettings
from shared.refusals import Invalid
from shared.settings import parse_toml
from shared.settings_change import Overtaken, judged
from shared.settings_diff import Change, changes, shown

_HISTORY = 50
_MOST_COMMENT = 500  # characters


class Proposal(msgspec.Struct, frozen=True):
    """A judged document, and what it would change."""

    document: dict[str, Any]
    answer: SettingsAnswer
    comment: str
    restores: int | None = None

    @property
    def changes(self) -> list[Change]:
        """What differs from the settings in force."""
        assert self.answer.current is not None
        return changes(self.answer.current.settings, self.document)


@get("/settings")
async def settings(request: Incoming, desk: Desk, showing: Showing) -> Template:
    """The form."""
    answer = await desk.current()
    return await _form(request, desk, showing, answer, settings_form.shown(_in_force(answer).settings), None)


async def _form(
    request: Incoming,
    desk: Desk,
    showing: Showing,
    answer: SettingsAnswer,
    form: dict[str, str],
    error: Invalid | None,
    comment: str = "",
) -> Template:
    place = settings_form.place(error.field) if error else ""
    senders = (await desk.ask(ListSenders(), SendersAnswer)).senders
    greetings = sorted({(name, address) for sender in senders for address, name in sender.helo.items()})
    return showing.page(
        request, "settings", 422 if error else 200, version=_in_force(answer), next_revision=answer.next_revision,
        form=form, error=error, place=place, comment=comment, greetings=greetings,
    )  # fmt: skip


@post("/settings/review", opt=needing(Scope.SETTINGS), status_code=200)
async def review(request: Incoming, desk: Desk, showing: Showing) -> Template:
    """What the form would change."""
    said = dict(await fields(request))
    answer = await desk.current()
    form = {**dict.fromkeys(settings_form.shown(_in_force(answer).settings), ""), **said}
    comment = said.get("comment", "")[:_MOST_COMMENT]
    try:
        _check_next(answer, said.get("next_revision", ""))
        document = judged(settings_form.meant(_in_force(answer).settings, form))
    except Invalid as refused:
        return await _form(request, desk, showing, answer, form, refused, comment)
    return _proposal(request, showing, Proposal(document, answer, comment))


@get("/settings/document")
async def document(request: Incoming, desk: Desk, showing: Showing) -> Template:
    """All of the settings, as text."""
    answer = await desk.current()
    text = tomli_w.dumps(_in_force(answer).settings)
    return showing.page(
        request, "settings_document", version=_in_force(answer), next_revision=answer.next_revision, text=text,
        error=None, comment="",
    )  # fmt: skip


@post("/settings/document", opt=needing(Scope.SETTINGS), status_code=200)
async def review_document(request: Incoming, desk: Desk, showing: Showing) -> Template:
    """What the text would change."""
    said = await fields(request)
    answer = await desk.current()
    text, comment = said.get("text", ""), said.get("comment", "")[:_MOST_COMMENT]
    try:
        _check_next(answer, said.get("next_revision", ""))
        new = judged(parse_toml(text))
    except Invalid as refused:
        return showing.page(
            request, "settings_document", 422, version=_in_force(answer), next_revision=answer.next_revision,
            text=text, error=refused, comment=comment,
        )  # fmt: skip
    return _proposal(request, showing, Proposal(new, answer, comment))


@post("/settings/save", opt=needing(Scope.SETTINGS), status_code=200)
async def save(request: Incoming, desk: Desk, showing: Showing) -> Response[Any]:
    """Put in force what was looked at."""
    said = await fields(request)
    answer = await desk.current()
    _check_next(answer, said.get("next_revision", ""))
    new = judged(read_json(said.get("document", "").encode(), dict[str, Any]))
    restores = said.get("restores", "")
    version, differences = await desk.put_in_force(
        answer,
        new,
        author=caller_of(request).name,
        comment=said.get("comment", "")[:_MOST_COMMENT],
        restores=int(restores) if restores.isdecimal() and len(restores) < 10 else None,
    )
    words = f"Revision {version.revision} is in force." if differences else "Nothing was changed."
    return showing.go("/settings", words)


@get("/settings/history")
async def history(request: Incoming, desk: Desk, showing: Showing) -> Template:
    """Earlier settings, and what each changed."""
    answer = await desk.current(_HISTORY + 1)
    rows = [
        (version, changes(before.settings, version.settings) if before else [])
        for version, before in zip(answer.history, [*answer.history[1:], None], strict=True)
    ]
    return showing.page(request, "settings_history", rows=rows[:_HISTORY], current=_in_force(answer), shown=shown)


@post("/settings/rollback", opt=needing(Scope.SETTINGS), status_code=200)
async def rollback(request: Incoming, desk: Desk, showing: Showing) -> Template:
    """What bringing a revision back would change."""
    said = (await fields(request)).get("revision", "")
    if not said.isdecimal() or len(said) > 9:
        raise refusal(422, "takes the number of a revision", name="invalid", field="revision")
    former = (await desk.ask(ShowSettings(revision=int(said)), SettingsAnswer)).current
    if former is None:
        raise refusal(404, f"there is no revision {said}")
    proposal = Proposal(judged(former.settings), await desk.current(), f"back to revision {said}", int(said))
    return _proposal(request, showing, proposal)


def _proposal(request: Incoming, showing: Showing, proposal: Proposal) -> Template:
    return showing.page(
        request, "settings_review", proposal=proposal, changes=proposal.changes, shown=shown,
        document=msgspec.json.encode(proposal.document).decode(), version=_in_force(proposal.answer),
    )  # fmt: skip


def _check_next(answer: SettingsAnswer, said: str) -> None:
    if said != str(answer.next_revision):
        raise Overtaken(
            "somebody else changed the settings while you looked at this page; load it again, and look at theirs first"
        )


def _in_force(answer: SettingsAnswer) -> SettingsVersion:
    assert answer.current is not None
    return answer.current


HANDLERS: list[Any] = [settings, review, document, review_document, save, history, rollback]
