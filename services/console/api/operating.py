"""What operators do over HTTP to mails that have been submitted, and the dead letters."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get, post
from msgspec import Meta

from services.console import examples
from services.console.answers import answered
from services.console.described import Answer, Body, described
from services.console.desk import Desk
from services.console.looking import Looks
from services.console.reading import Bodies, Incoming, read_json, read_query
from shared.console_accounts import Scope
from shared.contracts.answers import CloseAnswer, ReleaseAnswer, ResendAnswer, RetractAnswer, SendersAnswer, SitesAnswer
from shared.contracts.commands import Close, ListSenders, ListSites, Release, Resend, Retract, Selector
from shared.dead_letters import DeadLetter
from shared.stages import Sample

_MOST_SHOWN = 64 * 1024  # octets of a dead letter


async def _selected(request: Incoming, bodies: Bodies) -> dict[str, Any]:
    return msgspec.structs.asdict(read_json(await bodies.read(request), Selector))


def _selecting(summary: str, kind: type, example: Any) -> dict[str, Any]:
    return described(
        summary=summary,
        scope=Scope.OPERATE,
        bodies=(Body("application/json", Selector, examples.SELECTOR),),
        answers={200: Answer("what was done, per mail", kind, example=example)},
        problems=(413, 422),
    )


@post(
    "/retract",
    status_code=200,
    opt=_selecting(
        "Take mails back: by id, batch or recipient; what is given must match. It can not be undone.",
        RetractAnswer,
        examples.RETRACTED,
    ),
)
async def retract(request: Incoming, desk: Desk, bodies: Bodies) -> Response[bytes]:
    """Retract."""
    return answered(await desk.ask(Retract(**await _selected(request, bodies)), RetractAnswer))


@post(
    "/release",
    status_code=200,
    opt=_selecting("Send held or deferred mails now.", ReleaseAnswer, examples.RELEASED),
)
async def release(request: Incoming, desk: Desk, bodies: Bodies) -> Response[bytes]:
    """Release."""
    return answered(await desk.ask(Release(**await _selected(request, bodies)), ReleaseAnswer))


@post(
    "/resend",
    status_code=200,
    opt=_selecting("Send mails again that wait in doubt: a second copy may arrive.", ResendAnswer, examples.RESENT),
)
async def resend(request: Incoming, desk: Desk, bodies: Bodies) -> Response[bytes]:
    """Resend."""
    return answered(await desk.ask(Resend(**await _selected(request, bodies)), ResendAnswer))


@post(
    "/close",
    status_code=200,
    opt=_selecting("Let mails that are in doubt count as delivered.", CloseAnswer, examples.CLOSED),
)
async def close(request: Incoming, desk: Desk, bodies: Bodies) -> Response[bytes]:
    """Close."""
    return answered(await desk.ask(Close(**await _selected(request, bodies)), CloseAnswer))


# ---------------------------------------------------------------------------------------------------------


@get(
    "/stats",
    opt=described(
        summary="What waits in which stage, how fast it moves, and how long it takes.",
        scope=Scope.READ,
        answers={200: Answer("one look", Sample, example=examples.STATS)},
    ),
)
async def stats(looks: Looks) -> Response[bytes]:
    """The last look, or a new one."""
    sample, _ = await looks.latest()
    return answered(sample)


class _Sites(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    all: Annotated[Literal["true", "false"], Meta(description="`true`: those that were used lately and work, too")] = (
        "false"
    )


@get(
    "/sites",
    opt=described(
        summary="The sites that are out of reach or paused: since when, why, when one connection is tried next.",
        scope=Scope.READ,
        query=_Sites,
        problems=(422,),
        answers={200: Answer("those that are down, or all", SitesAnswer, example=examples.SITES)},
    ),
)
async def sites(request: Incoming, desk: Desk) -> Response[bytes]:
    """Sites that are down, or all that were used lately."""
    every = read_query(request, _Sites).all == "true"
    return answered(await desk.ask(ListSites(all=every), SitesAnswer))


@get(
    "/senders",
    opt=described(
        summary="The senders that run.",
        scope=Scope.READ,
        answers={200: Answer("those seen in the last minute", SendersAnswer, example=examples.SENDERS)},
    ),
)
async def senders(desk: Desk) -> Response[bytes]:
    """Senders that run."""
    return answered(await desk.ask(ListSenders(), SendersAnswer))


# ---------------------------------------------------------------------------------------------------------


class _Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=100, description="how many at most")] = 50


class DeadLetters(msgspec.Struct, frozen=True):
    """Messages that were put aside, oldest first; of large ones the body is left out."""

    total: int
    letters: list[DeadLetter]


class Chosen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters: by number, mark or message id; none named: all."""

    only: Annotated[list[Annotated[str, Meta(min_length=1, max_length=255)]], Meta(max_length=1000)] = []


class Failed(msgspec.Struct, frozen=True):
    """A dead letter that stays, and why."""

    mark: str
    message_id: str
    why: str


class Redriven(msgspec.Struct, frozen=True):
    """What became of them."""

    redriven: list[str]  # marks
    failed: list[Failed]


@get(
    "/dead-letters",
    opt=described(
        summary="The messages that were put aside, and why.",
        scope=Scope.READ,
        query=_Page,
        answers={200: Answer("the oldest", DeadLetters, example=examples.DEAD_LETTERS)},
        problems=(422,),
    ),
)
async def dead_letters(request: Incoming, desk: Desk) -> Response[bytes]:
    """A page of them."""
    letters, total = await desk.dead_letters(read_query(request, _Page).limit)
    return answered(DeadLetters(total, [_shown(letter) for letter in letters]))


def _shown(letter: DeadLetter) -> DeadLetter:
    return letter if letter.size <= _MOST_SHOWN else msgspec.structs.replace(letter, body=b"")


@post(
    "/dead-letters/redrive",
    status_code=200,
    opt=described(
        summary="Publish dead letters again where they were published first.",
        scope=Scope.OPERATE,
        bodies=(Body("application/json", Chosen, {"only": ["1f0c22ab"]}),),
        answers={200: Answer("what became of them", Redriven, example=examples.REDRIVEN)},
        problems=(413, 422),
    ),
)
async def redrive(request: Incoming, desk: Desk, bodies: Bodies) -> Response[bytes]:
    """Redrive."""
    chosen = read_json(await bodies.read(request), Chosen)
    done = await desk.redrive(chosen.only)
    failed = [Failed(letter.mark, letter.message_id, why) for letter, why in done.failed]
    return answered(Redriven([letter.mark for letter in done.gone], failed))


HANDLERS: list[Any] = [retract, release, resend, close, stats, sites, senders, dead_letters, redrive]
