"""Mails over HTTP: submit, look for, show, replace."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post, put
from litestar.response import Stream
from msgspec import Meta

from services.console import examples
from services.console.answers import answered
from services.console.described import Answer, Body, described
from services.console.desk import Away, Desk
from services.console.paths import mail_path, whole_id
from services.console.problems import refusal, refusal_of
from services.console.reading import Bodies, Incoming, content_type, read_json, read_query
from services.console.submissions import FINISHED, STRUCTURED, Traced, Wishes, check_addresses, finished, structured
from shared.broker import Message
from shared.commander import NotTaken
from shared.console_accounts import Scope
from shared.contracts.answers import ContentAnswer, ListAnswer, ReplaceAnswer, ReplaceResult, ShowAnswer, Story
from shared.contracts.commands import ListMails, Replace, Show, ShowContent
from shared.contracts.submissions import Submission
from shared.contracts.words import BatchLabel, MailId, StateName
from shared.mail_ids import check_id, new_mail_id
from shared.reading import check_octets
from shared.tracing import context_headers

_BrokerUser = Annotated[str, Meta(max_length=255)]
_Moment = Annotated[datetime, Meta(tz=True)]
_Row = Annotated[int, Meta(ge=0, le=2**63 - 1)]

_TWICE, _ENVELOPE = 2, 4 * 1024 * 1024  # as `shared.reading.check_octets`


class Submitted(msgspec.Struct, frozen=True):
    """The broker has it: it is safe. Whether it can be sent the scheduler judges; else an event `rejected` tells."""

    id: str
    href: str  # where its story is told


class Search(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which mails are listed, newest first: all that is given must match."""

    id: Annotated[MailId | None, Meta(description="just this one", examples=["order-4711"])] = None
    batch: Annotated[
        BatchLabel | None, Meta(description="the label that the client gave them", examples=["orders-2026-11"])
    ] = None
    recipient: Annotated[str | None, Meta(description="an address that they go to", examples=["ann@example.net"])] = (
        None
    )
    sender: Annotated[
        str | None, Meta(description="the reverse-path; empty: the null one", examples=["orders@shop.example"])
    ] = None
    state: Annotated[StateName | None, Meta(description="that of one of their recipients, at least")] = None
    submitted_by: Annotated[
        _BrokerUser | None, Meta(description="the broker's user who submitted them", examples=["shop"])
    ] = None
    since: Annotated[_Moment | None, Meta(description="admitted then or later", examples=["2026-11-23T00:00:00Z"])] = (
        None
    )
    until: Annotated[_Moment | None, Meta(description="admitted before", examples=["2026-11-24T00:00:00Z"])] = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="how many at most")] = 50
    before: Annotated[_Row | None, Meta(description="the `next` of the previous page", examples=[4711])] = None


class OneMail(msgspec.Struct, frozen=True):
    """Which mail, in the path."""

    mail: Annotated[
        MailId,
        Meta(
            description="the mail's id; a slash or a percent sign in it is written `%2F` or `%25`",
            examples=["order-4711"],
        ),
    ]


class Accompanying(Traced, frozen=True):
    """The headers that go with a mail."""

    idempotency_key: Annotated[
        str, Meta(max_length=200, description="becomes the mail's id; absent, one is made", examples=["order-4711"])
    ] = msgspec.field(default="", name="Idempotency-Key")


@post(
    "/mails",
    status_code=202,
    opt=described(
        summary="Submit a mail: answered when the broker has it safely. The same id again makes no second mail.",
        scope=Scope.SUBMIT,
        bodies=(
            *(Body(kind, Submission, examples.SUBMISSION) for kind in STRUCTURED),
            Body(FINISHED, {"type": "string"}, examples.FINISHED),
        ),
        query=Wishes,
        headers=Accompanying,
        answers={202: Answer("the broker has it", Submitted, example=examples.SUBMITTED)},
        problems=(413, 415, 422),
    ),
)
async def submit(request: Incoming, desk: Desk, bodies: Bodies) -> Response[bytes]:
    """Judge, publish, and answer once the broker has confirmed."""
    mail = idempotency_key(request) or new_mail_id()
    message = await _message(request, desk, bodies, mail)
    try:
        for refused in await desk.publish([message]):
            raise NotTaken(refused)
    except (Away, NotTaken) as error:
        # It may be safe all the same: under the same id it stays one mail.
        found = refusal_of(error)
        found.problem = msgspec.structs.replace(found.problem, mail=mail)
        raise found from error
    href = mail_path(mail)
    return answered(Submitted(mail, href), 202, {"Location": href})


async def _message(request: Incoming, desk: Desk, bodies: Bodies, mail: str) -> Message:
    kind = content_type(request)
    max_size = desk.settings.sending.max_size
    if kind not in (*STRUCTURED, FINISHED):
        raise refusal(415, f"got {kind[:80]!r}; takes application/json, application/msgpack or {FINISHED}")
    wishes = read_query(request, Wishes)
    body = await bodies.read(request, most_octets(max_size))
    check_octets(body, max_size)
    trace = context_headers(request.headers.items())
    if kind == FINISHED:
        return finished(body, wishes, mail, trace)
    if wishes != Wishes():
        raise refusal(422, f"parameters go with {FINISHED}; here the body says it", name="invalid")
    return structured(body, kind, mail, trace)


def idempotency_key(request: Incoming) -> str:
    """The id that the client chose, "" for none; in quotes, as the draft of the header has it, or without."""
    # Headers come as Latin-1; ids are UTF-8, and what is none is no id.
    given = request.headers.get("idempotency-key", "").strip().encode("latin-1").decode("utf-8", "replace")
    if len(given) > 1 and given[0] == given[-1] == '"':
        given = given[1:-1]
    return check_id(given, "Idempotency-Key") if given else ""


def most_octets(max_size: int) -> int:
    """Of a request that carries a mail: as much as the scheduler takes."""
    return _TWICE * max_size + _ENVELOPE


@get(
    "/mails",
    opt=described(
        summary="Look for mails, newest first.",
        scope=Scope.READ,
        query=Search,
        answers={200: Answer("a page; `next` goes into `before`", ListAnswer, example=examples.MAILS)},
        problems=(422,),
    ),
)
async def search(request: Incoming, desk: Desk) -> Response[bytes]:
    """A page of mails."""
    asked = read_query(request, Search)
    return answered(await desk.ask(ListMails(**msgspec.structs.asdict(asked)), ListAnswer))


@get(
    "/mails/{mail:str}",
    opt=described(
        summary="The whole story of a mail, and why it waits.",
        scope=Scope.READ,
        path=OneMail,
        answers={200: Answer("its story", Story, example=examples.STORY)},
        problems=(404, 422),
    ),
)
async def show(mail: str, desk: Desk) -> Response[bytes]:
    """One mail."""
    return answered(await story(desk, whole_id(mail)))


async def story(desk: Desk, mail: str) -> Story:
    """The story of a mail. Raises Refusal (404)."""
    answer = await desk.ask(Show(id=check_id(mail, "id")), ShowAnswer)
    if answer.mail is None:
        raise refusal(404, "there is no such mail: never admitted, or forgotten after the setting `history`")
    return answer.mail


@get(
    "/mails/{mail:str}/content",
    opt=described(
        summary="The mail itself, as it is stored, as long as some of it is not final.",
        scope=Scope.READ,
        path=OneMail,
        answers={200: Answer("the message", {"type": "string"}, FINISHED, examples.FINISHED)},
        problems=(404, 422),
    ),
)
async def content(mail: str, desk: Desk) -> Stream:
    """The octets, part by part."""
    return await message_file(desk, whole_id(mail))


async def message_file(desk: Desk, mail: str) -> Stream:
    """A mail's content as a file. Raises Refusal (404) where it is not kept."""
    wanted = check_id(mail, "id")
    first = await desk.ask(ShowContent(id=wanted), ContentAnswer)
    if first.content is None:
        raise refusal(404, "there is no such mail, or all of it is final: its content is no longer kept")
    name = {"Content-Disposition": 'attachment; filename="mail.eml"', "Content-Length": str(first.size)}
    return Stream(_parts(desk, wanted, first.content, first.size), media_type=FINISHED, headers=name)


async def _parts(desk: Desk, mail: str, first: bytes, size: int) -> AsyncIterator[bytes]:
    yield first
    sent = len(first)
    while sent < size:
        part = (await desk.ask(ShowContent(id=mail, offset=sent), ContentAnswer)).content
        if not part:  # it became final meanwhile: the length that was promised tells that this is not all
            return
        yield part
        sent += len(part)


@put(
    "/mails/{mail:str}",
    opt=described(
        summary="Put another mail in the place of one that no sender has yet; its id stays, its hold starts anew.",
        scope=Scope.OPERATE,
        path=OneMail,
        bodies=(Body("application/json", Submission, examples.SUBMISSION),),
        answers={200: Answer("the new one stands in its place", ReplaceAnswer, example=examples.REPLACED)},
        problems=(404, 409, 413, 422),
    ),
)
async def replace(mail: str, request: Incoming, desk: Desk, bodies: Bodies) -> Response[bytes]:
    """Replace a mail."""
    submission = read_json(await bodies.read(request, most_octets(desk.settings.sending.max_size)), Submission)
    check_addresses(submission)
    return answered(await replaced(desk, whole_id(mail), submission))


async def replaced(desk: Desk, mail: str, submission: Submission) -> ReplaceAnswer:
    """Give the command. Raises Refusal where it is too late (409), or there is no such mail (404)."""
    command = Replace(id=check_id(mail, "id"), submission=submission)
    answer = await desk.ask(command, ReplaceAnswer)
    match answer.result:
        case ReplaceResult.REPLACED:
            return answer
        case ReplaceResult.UNKNOWN:
            raise refusal(404, answer.detail)
        case result:
            raise refusal(409, answer.detail, name=result.value.replace("_", "-"))


HANDLERS: list[Any] = [submit, search, show, content, replace]
