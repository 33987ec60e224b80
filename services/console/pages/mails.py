"""Mails: looking for them, the story of one, its content, another one in its place, a test mail."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
from litestar import Response, get, post
from litestar.response import Stream, Template

from services.console import mail_view
from services.console.api.mails import Search, message_file, replaced, story
from services.console.desk import Desk
from services.console.mail_view import MailView
from services.console.pages.forms import fields, needing
from services.console.pages.showing import Showing
from services.console.paths import mail_path, whole_id
from services.console.problems import Refusal, refusal
from services.console.reading import Incoming, read_texts
from services.console.submissions import encoded
from shared.commander import NotTaken
from shared.console_accounts import Scope
from shared.contracts.answers import ContentAnswer, ListAnswer
from shared.contracts.commands import ListMails, ShowContent
from shared.contracts.submissions import Submission
from shared.contracts.words import StateName
from shared.durations import Duration
from shared.mail_ids import new_mail_id
from shared.refusals import Invalid
from shared.tracing import context_headers

STATES = get_args(StateName)

_FIELDS = ("recipient", "sender", "batch", "state", "id", "since", "until")
_SHOWN = 64 * 1024  # octets of the raw message on the page
_ADMITTED_WITHIN_S = 3.0
_LOOK_AGAIN_S = 0.05
_OPEN = {"held", "releasing", "released", "claimed", "deferred", "in_doubt"}


@get("/mails")
async def search(request: Incoming, desk: Desk, showing: Showing) -> Template:
    """The form, and what it found."""
    asked = {name: request.query_params.get(name, "").strip() for name in _FIELDS}
    before = request.query_params.get("before", "")
    error: Invalid | None = None
    answer = ListAnswer(mails=[], next=None)
    try:
        answer = await desk.ask(to_command(asked, before), ListAnswer)
    except Invalid as refused:
        error = refused
    return showing.page(
        request, "mails", asked=asked, mails=answer.mails, next=answer.next, states=STATES, error=error, before=before
    )


def to_command(asked: Mapping[str, str], before: str) -> ListMails:
    """The search that a form asks for; empty fields ask for nothing. Raises Invalid."""
    given = {name: value for name, value in asked.items() if value}
    for name in ("since", "until"):  # a date field has no zone: the page says that it takes UTC
        if given.get(name):
            given[name] = _in_utc(given[name], name)
    if before:
        given["before"] = before
    return ListMails(**msgspec.structs.asdict(read_texts(given, Search)))


def _in_utc(text: str, name: str) -> str:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise Invalid(name, f"got {text[:80]!r}; takes a date and time") from error
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()


# ---------------------------------------------------------------------------------------------------------
# One mail


@get("/mails/{mail:str}")
async def show(mail: str, request: Incoming, desk: Desk, showing: Showing) -> Template:
    """The story."""
    known = await story(desk, whole_id(mail))
    seen, size = await _seen(desk, known.id)
    return showing.page(request, "mail", story=known, view=seen, size=size, shown=mail_view.MOST_OCTETS, **_can(known))


@get("/mails/{mail:str}/live")
async def live(mail: str, request: Incoming, desk: Desk, showing: Showing) -> Template:
    """The part of it that changes."""
    known = await story(desk, whole_id(mail))
    return showing.page(request, "mail_live", story=known, **_can(known))


def _can(known: Any) -> dict[str, bool]:
    states = {each.state for each in known.recipients}
    return {
        "open": bool(states & _OPEN),
        "retractable": bool(states & (_OPEN - {"claimed"})),
        "releasable": bool(states & {"held", "deferred"}),
        "doubtful": any(each.in_doubt and each.state in _OPEN for each in known.recipients),
    }


async def _seen(desk: Desk, mail: str) -> tuple[MailView | None, int]:
    """What there is to see of its content, and its size; None where it is no longer kept, or too large."""
    answer = await desk.ask(ShowContent(id=mail), ContentAnswer)
    if answer.content is None or answer.size > mail_view.MOST_OCTETS:
        return None, answer.size
    return await asyncio.to_thread(mail_view.view, answer.content), answer.size


@get("/mails/{mail:str}/rendered")
async def rendered(mail: str, desk: Desk) -> Response[bytes]:
    """For the frame: the mail as its reader would see it, but for what it would load."""
    seen, _ = await _seen(desk, whole_id(mail))
    if seen is None:
        raise refusal(404, "its content is no longer kept, or too large to be shown")
    headers = {
        "Content-Security-Policy": mail_view.POLICY,
        "X-Frame-Options": "SAMEORIGIN",
        "X-DNS-Prefetch-Control": "off",  # asking for a name tells its owner, too
    }
    page = await asyncio.to_thread(mail_view.document, seen)
    return Response(page, media_type="text/html", headers=headers)


@get("/mails/{mail:str}/raw")
async def raw(mail: str, request: Incoming, desk: Desk, showing: Showing) -> Template:
    """The octets, as far as a page can hold them."""
    wanted = whole_id(mail)
    answer = await desk.ask(ShowContent(id=wanted, limit=_SHOWN), ContentAnswer)
    if answer.content is None:
        raise refusal(404, "there is no such mail, or all of it is final: its content is no longer kept")
    text = answer.content.decode("utf-8", "backslashreplace")
    return showing.page(request, "raw", id=wanted, text=text, size=answer.size, most=_SHOWN)


@get("/mails/{mail:str}/download")
async def download(mail: str, desk: Desk) -> Stream:
    """The message as a file."""
    return await message_file(desk, whole_id(mail))


# ---------------------------------------------------------------------------------------------------------
# Writing one


def to_submission(form: Mapping[str, str]) -> Submission:
    """What a form says, as a submission. Raises Invalid."""
    hold = form.get("hold", "")
    try:
        held = Duration.parse(hold) if hold else None
    except ValueError as error:
        raise Invalid("hold", f"got {hold[:80]!r}; {error}") from error
    return Submission(
        from_=form.get("from", ""),
        to=[part.strip() for part in form.get("to", "").splitlines() if part.strip()],
        subject=form.get("subject", ""),
        text=form.get("text", ""),
        hold=held,
        batch=form.get("batch", "")[:200],
    )


@get("/test-mail", opt=needing(Scope.SUBMIT))
async def test_mail(request: Incoming, showing: Showing) -> Template:
    """The form of a test mail."""
    now = datetime.now(UTC)
    form = {
        "from": "", "to": "", "hold": "", "subject": f"Test of {now:%Y-%m-%d %H:%M} UTC",
        "text": "This mail was sent from Pillarbox's page, to try the way it takes.\n",
    }  # fmt: skip
    return showing.page(request, "test_mail", form=form, error=None)


@post("/test-mail", opt=needing(Scope.SUBMIT), status_code=200)
async def send_test_mail(request: Incoming, desk: Desk, showing: Showing) -> Response[Any]:
    """Submit it, and show its story."""
    form = {"from": "", "to": "", "hold": "", "subject": "", "text": "", **await fields(request)}
    mail = new_mail_id()
    try:
        message = encoded(to_submission(form), mail, context_headers(request.headers.items()))
    except Invalid as refused:
        return showing.page(request, "test_mail", 422, form=form, error=refused)
    for refused_message in await desk.publish([message]):
        raise NotTaken(refused_message)
    await _admitted(desk, mail)
    return showing.go(mail_path(mail, "/mails/"), "The mail was submitted.")


async def _admitted(desk: Desk, mail: str) -> None:
    """Wait a moment for the scheduler: the story is there when it has admitted the mail."""
    try:
        async with asyncio.timeout(_ADMITTED_WITHIN_S):
            while True:
                try:
                    await story(desk, mail)
                    return
                except Refusal:
                    await asyncio.sleep(_LOOK_AGAIN_S)
    except TimeoutError:
        return


@get("/mails/{mail:str}/replace", opt=needing(Scope.OPERATE))
async def replacing(mail: str, request: Incoming, desk: Desk, showing: Showing) -> Template:
    """The form, with what the mail says now."""
    known = await story(desk, whole_id(mail))
    seen, _ = await _seen(desk, known.id)
    headers = dict(seen.headers) if seen else {}
    form = {
        "from": headers.get("From", known.sender),
        "to": "\n".join(each.address for each in known.recipients),
        "subject": headers.get("Subject", known.subject),
        "text": seen.text if seen else "",
        "hold": "",
    }
    more = bool(seen and (seen.attachments or seen.html))
    return showing.page(request, "replace", id=known.id, form=form, error=None, more=more)


@post("/mails/{mail:str}/replace", opt=needing(Scope.OPERATE), status_code=200)
async def replace(mail: str, request: Incoming, desk: Desk, showing: Showing) -> Response[Any]:
    """Put the new one in its place."""
    wanted = whole_id(mail)
    form = {"from": "", "to": "", "hold": "", "subject": "", "text": "", **await fields(request)}
    try:
        await replaced(desk, wanted, to_submission(form))
    except Invalid as refused:
        error = Invalid(refused.field.removeprefix("submission."), refused.reason)
        return showing.page(request, "replace", 422, id=wanted, form=form, error=error, more=False)
    return showing.go(mail_path(wanted, "/mails/"), "The new content stands in its place; its hold starts anew.")


HANDLERS: list[Any] = [
    search, show, live, rendered, raw, download, test_mail, send_test_mail, replacing, replace,
]  # fmt: skip
