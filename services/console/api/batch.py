"""Many mails in one request: a line of JSON each, answered by a line each, while they come."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from litestar.connection import Request
from litestar.handlers import asgi
from litestar.types import Receive, Send
from litestar.types import Scope as AsgiScope

from services.console import examples
from services.console.answers import encode
from services.console.api.mails import most_octets
from services.console.api.streams import Answering, lines, only
from services.console.described import Answer, Body, described
from services.console.desk import Away, Desk
from services.console.problems import Problem, Refusal, refusal, refusal_of
from services.console.reading import content_type, read_json
from services.console.submissions import Traced, encoded
from shared.broker import Message
from shared.commander import NotTaken
from shared.console_accounts import Scope
from shared.contracts.submissions import Submission
from shared.contracts.words import MailId
from shared.mail_ids import check_id, new_mail_id
from shared.reading import check_octets
from shared.refusals import Invalid
from shared.tracing import context_headers

MEDIA_TYPE = "application/jsonl"

# In flight at a time. Few enough that answers follow soon, and octets as many as a mail may have.
_AT_ONCE = 500
_OCTETS_AT_ONCE = 8 * 1024 * 1024
_PAUSE_S = 0.02  # of a client, after which it gets the answers to what it has sent: perhaps it waits for them
_MOST_LINES = 100_000  # answers are kept while the client only sends


class BatchLine(Submission, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A submission, with its id."""

    id: MailId | None = None


class LineAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a line: the id of a mail that the broker has safely, or why there is none."""

    line: int  # from 1
    status: int  # 202, or that of the problem
    id: str = ""
    problem: Problem | None = None


class _Parcel(msgspec.Struct, frozen=True):
    line: int
    mail: str
    message: Message


class Batches:
    """Takes batches; `HANDLER` is made of it, as ASGI handlers get nothing injected."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def take(self, trace: Mapping[str, str], receive: Receive, send: Send) -> None:
        """Answer a request that belongs to a trace, or to none."""
        answering = Answering(send)
        answers: asyncio.Queue[LineAnswer | None] = asyncio.Queue()
        # Many clients read nothing before they have sent everything: reading may not wait for what they have not read.
        reading = asyncio.create_task(self._read(trace, receive, answers))
        await answering.begin(MEDIA_TYPE)
        try:
            while (answer := await answers.get()) is not None:
                await answering.write(encode(answer) + b"\n")
            await answering.end()
        finally:
            reading.cancel()

    async def _read(
        self, trace: Mapping[str, str], receive: Receive, answers: asyncio.Queue[LineAnswer | None]
    ) -> None:
        try:
            async for parcels in self._chunks(trace, receive, answers):
                for answer in await self._publish(parcels):
                    answers.put_nowait(answer)
        except Refusal as refused:
            answers.put_nowait(LineAnswer(line=0, status=refused.problem.status, problem=refused.problem))
        finally:
            answers.put_nowait(None)

    async def _chunks(
        self, trace: Mapping[str, str], receive: Receive, answers: asyncio.Queue[LineAnswer | None]
    ) -> AsyncIterator[list[_Parcel]]:
        most = most_octets(self._desk.settings.sending.max_size)
        chunk: list[_Parcel] = []
        octets, number = 0, 0
        async for some in lines(receive, most, _PAUSE_S):
            if not some and chunk:
                yield chunk
                chunk, octets = [], 0
            for line in some:
                number += 1
                if number > _MOST_LINES:
                    raise refusal(413, f"takes at most {_MOST_LINES} lines", name="too-large")
                if not line.strip():
                    continue
                parcel = self._judged(number, line, trace)
                if isinstance(parcel, LineAnswer):
                    answers.put_nowait(parcel)
                    continue
                chunk.append(parcel)
                octets += len(line)
                if len(chunk) >= _AT_ONCE or octets >= _OCTETS_AT_ONCE:
                    yield chunk
                    chunk, octets = [], 0
        if chunk:
            yield chunk

    def _judged(self, number: int, line: bytes, trace: Mapping[str, str]) -> _Parcel | LineAnswer:
        try:
            return self._parcel(number, line, trace)
        except Invalid as refused:
            problem = refusal_of(refused).problem
            return LineAnswer(line=number, status=problem.status, problem=problem)

    def _parcel(self, number: int, line: bytes, trace: Mapping[str, str]) -> _Parcel:
        check_octets(line, self._desk.settings.sending.max_size)
        read = read_json(line, BatchLine)
        fields = {name: getattr(read, name) for name in Submission.__struct_fields__}
        mail = check_id(read.id, "id") if read.id else new_mail_id()
        return _Parcel(number, mail, encoded(Submission(**fields), mail, trace))

    async def _publish(self, parcels: list[_Parcel]) -> list[LineAnswer]:
        try:
            refused = {id(one.message): one for one in await self._desk.publish([each.message for each in parcels])}
        except Away as away:
            return [_answer(parcel, refusal_of(away)) for parcel in parcels]
        return [
            _answer(parcel, refusal_of(NotTaken(found)) if (found := refused.get(id(parcel.message))) else None)
            for parcel in parcels
        ]


def _answer(parcel: _Parcel, refused: Refusal | None) -> LineAnswer:
    if refused is None:
        return LineAnswer(line=parcel.line, status=202, id=parcel.mail)
    return LineAnswer(line=parcel.line, status=refused.problem.status, id=parcel.mail, problem=refused.problem)


def batch_handler(desk: Desk) -> Any:
    """The handler of `POST /batch`."""
    batches = Batches(desk)

    @asgi(
        "/batch",
        copy_scope=False,
        opt=described(
            summary="Submit many mails, a line of JSON each; each is answered by a line, in the order of their fate.",
            scope=Scope.SUBMIT,
            bodies=(Body(MEDIA_TYPE, {"type": "string"}, examples.BATCH, BatchLine),),
            headers=Traced,
            answers={
                200: Answer("a line per mail", {"type": "string"}, MEDIA_TYPE, examples.BATCH_ANSWER, each=LineAnswer)
            },
            method="POST",
            problems=(415,),
        ),
    )
    async def batch(scope: AsgiScope, receive: Receive, send: Send) -> None:
        only("POST", scope)
        request: Request[Any, Any, Any] = Request(scope)
        if content_type(request) != MEDIA_TYPE:
            raise refusal(415, f"takes {MEDIA_TYPE}")
        await batches.take(context_headers(request.headers.items()), receive, send)

    return batch
