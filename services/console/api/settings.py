"""The settings over HTTP: read, change, history, rollback."""

from typing import Annotated, Any

import msgspec
from litestar import Response, get, patch, post, put
from msgspec import Meta

from services.console import examples
from services.console.answers import answered
from services.console.callers import caller_of
from services.console.described import Answer, Body, described
from services.console.desk import Desk
from services.console.problems import refusal
from services.console.reading import Bodies, Incoming, read_json, read_query
from shared.addresses import refuse_control_characters
from shared.console_accounts import Scope
from shared.contracts.answers import SettingsAnswer, SettingsVersion
from shared.contracts.commands import ShowSettings
from shared.contracts.words import Revision
from shared.refusals import Invalid
from shared.settings import with_field
from shared.settings_change import Overtaken, judged
from shared.settings_diff import Change

Comment = Annotated[str, Meta(max_length=500)]


class Which(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which settings."""

    revision: Annotated[
        Revision | None, Meta(description="a revision of before; absent: those in force", examples=[3])
    ] = None


class HowMany(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the history."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="how many at most")] = 20


class NewSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole document; fields that are absent take their defaults."""

    settings: dict[str, Any]
    comment: Comment = ""
    next_revision: Revision | None = None  # as `GET` said it: refused when somebody else's came meanwhile


class ChangedFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some fields by their dotted names; null takes one away, so that its default holds."""

    changes: Annotated[dict[str, Any], Meta(min_length=1, max_length=1000)]
    comment: Comment = ""
    next_revision: Revision | None = None


class Rollback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An earlier revision whose settings come back."""

    revision: Revision
    comment: Comment = ""


class SettingsChanged(msgspec.Struct, frozen=True):
    """What is in force now, and the fields that differ from before; none: nothing changed."""

    version: SettingsVersion
    changes: list[Change]


class History(msgspec.Struct, frozen=True):
    """Documents that were accepted, newest first."""

    history: list[SettingsVersion]


def _changing(summary: str, kind: type, example: Any, *more: int) -> dict[str, Any]:
    return described(
        summary=summary,
        scope=Scope.SETTINGS,
        bodies=(Body("application/json", kind, example),),
        answers={200: Answer("in force", SettingsChanged, example=examples.SETTINGS_CHANGED)},
        problems=(409, 413, 422, *more),
    )


@get(
    "/settings",
    opt=described(
        summary="The settings in force, or those of a revision.",
        scope=Scope.READ,
        query=Which,
        answers={200: Answer("the document", SettingsAnswer, example=examples.SETTINGS)},
        problems=(404, 422),
    ),
)
async def get_settings(request: Incoming, desk: Desk) -> Response[bytes]:
    """Show settings."""
    revision = read_query(request, Which).revision
    answer = await desk.ask(ShowSettings(revision=revision), SettingsAnswer)
    if answer.current is None:
        raise refusal(404, f"there is no revision {revision}: refused when it came, or never published")
    return answered(answer)


@get(
    "/settings/history",
    opt=described(
        summary="The settings that were accepted, newest first.",
        scope=Scope.READ,
        query=HowMany,
        answers={200: Answer("documents", History, example=examples.HISTORY)},
        problems=(422,),
    ),
)
async def history(request: Incoming, desk: Desk) -> Response[bytes]:
    """Show earlier settings."""
    limit = read_query(request, HowMany).limit
    return answered(History((await desk.ask(ShowSettings(history=limit), SettingsAnswer)).history))


@put("/settings", opt=_changing("Put a whole document in force.", NewSettings, examples.NEW_SETTINGS))
async def put_settings(request: Incoming, desk: Desk, bodies: Bodies) -> Response[bytes]:
    """Replace all settings."""
    new = read_json(await bodies.read(request), NewSettings)
    answer = await _expected(desk, new.next_revision)
    return await _changed(request, desk, answer, _judged(new.settings, "settings"), new.comment)


@patch("/settings", opt=_changing("Change some fields.", ChangedFields, examples.CHANGED_FIELDS))
async def patch_settings(request: Incoming, desk: Desk, bodies: Bodies) -> Response[bytes]:
    """Change fields."""
    new = read_json(await bodies.read(request), ChangedFields)
    answer = await _expected(desk, new.next_revision)
    assert answer.current is not None
    document = answer.current.settings
    for key, value in new.changes.items():
        document = with_field(document, key, value)
    return await _changed(request, desk, answer, _judged(document, "changes"), new.comment)


@post(
    "/settings/rollback",
    status_code=200,
    opt=_changing("Bring the settings of an earlier revision back, as a new one.", Rollback, {"revision": 3}, 404),
)
async def rollback(request: Incoming, desk: Desk, bodies: Bodies) -> Response[bytes]:
    """Roll back."""
    wanted = read_json(await bodies.read(request), Rollback)
    former = (await desk.ask(ShowSettings(revision=wanted.revision), SettingsAnswer)).current
    if former is None:
        raise refusal(404, f"there is no revision {wanted.revision}: refused when it came, or never published")
    comment = wanted.comment or f"back to revision {wanted.revision}"
    answer = await desk.current()
    return await _changed(request, desk, answer, judged(former.settings), comment, restores=wanted.revision)


async def _expected(desk: Desk, next_revision: int | None) -> SettingsAnswer:
    answer = await desk.current()
    if next_revision not in (None, answer.next_revision):
        raise Overtaken(
            f"the next revision is {answer.next_revision}, not {next_revision}: somebody else changed the settings "
            "meanwhile; look at theirs and try again"
        )
    return answer


async def _changed(
    request: Incoming,
    desk: Desk,
    answer: SettingsAnswer,
    document: dict[str, Any],
    comment: str,
    restores: int | None = None,
) -> Response[bytes]:
    try:
        refuse_control_characters(comment)
    except ValueError as error:
        raise Invalid("comment", str(error)) from error
    author = caller_of(request).name
    version, differences = await desk.put_in_force(answer, document, author=author, comment=comment, restores=restores)
    return answered(SettingsChanged(version, differences))


def _judged(document: dict[str, Any], field: str) -> dict[str, Any]:
    try:
        return judged(document)
    except Invalid as refused:
        raise Invalid(f"{field}.{refused.field}".rstrip("."), refused.reason) from refused


HANDLERS: list[Any] = [get_settings, history, put_settings, patch_settings, rollback]
