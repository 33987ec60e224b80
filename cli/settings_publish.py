"""A settings document on its way: judged before it is published, then followed until it is in force."""

import asyncio
import getpass
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from cli.client import Client, not_taken
from cli.failures import CommandFailed, ExitCode, usage
from cli.settings_diff import changes
from shared.broker import Message, Properties
from shared.contracts import SettingsAnswer, SettingsVersion, ShowSettings
from shared.settings import SettingsDocument, change, encode_document, parse_settings, to_document
from shared.topology import SETTINGS

_CONFIRM_TIME = timedelta(seconds=10)
_IN_FORCE_WITHIN_S = 5.0
_ASK_AGAIN_S = 0.05


async def current_settings(client: Client, history: int = 0) -> SettingsAnswer:
    """What is in force, with so many earlier revisions. Raises CommandFailed when there is nothing yet."""
    answer = await client.ask(ShowSettings(history=history), SettingsAnswer)
    if answer.current is None:
        raise CommandFailed("no settings are in force yet; try again in a moment", ExitCode.NO_ANSWER)
    return answer


def in_force(answer: SettingsAnswer) -> SettingsVersion:
    """The document of an answer that has one."""
    assert answer.current is not None
    return answer.current


def with_assignments(document: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """The document with `KEY=VALUE` set, each in turn, and judged as a whole. Raises CommandFailed."""
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise usage(f"got {text!r}; takes KEY=VALUE, such as sending.hold=10m")
        document = change(document, key.strip(), value.strip())
    return judged(document)


def judged(document: dict[str, Any]) -> dict[str, Any]:
    """The whole document, defaults filled in. Raises Invalid, which names the first field that is wrong."""
    return to_document(parse_settings(document))


def author() -> str:
    """Who is at the keyboard."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


async def publish_settings(
    client: Client, answer: SettingsAnswer, document: dict[str, Any], comment: str, restores: int | None = None
) -> SettingsVersion:
    """Publish a judged document for the next revision after `answer`, and wait until it is in force.

    Raises CommandFailed when somebody else was quicker, or the scheduler does not say in time that it is in force.
    """
    wanted = SettingsDocument(
        settings=document, author=author(), comment=comment, restores=restores, revision=answer.next_revision
    )
    message = Message(SETTINGS, "", encode_document(wanted), Properties(content_type="application/json"))
    refused = await client.publish([message], _CONFIRM_TIME)
    if refused:
        raise not_taken(refused[0])
    try:
        async with asyncio.timeout(_IN_FORCE_WITHIN_S):
            return await _in_force_as(client, wanted)
    except TimeoutError:
        raise CommandFailed(
            f"published, but revision {wanted.revision} is not in force after {_IN_FORCE_WITHIN_S:g} s; "
            "`pillarbox settings history` shows whether it comes",
            ExitCode.NO_ANSWER,
        ) from None


async def _in_force_as(client: Client, wanted: SettingsDocument) -> SettingsVersion:
    assert wanted.revision is not None
    while True:
        answer = await client.ask(ShowSettings(), SettingsAnswer)
        if answer.next_revision > wanted.revision:
            return took_effect(answer.current, wanted)
        await asyncio.sleep(_ASK_AGAIN_S)


def took_effect(current: SettingsVersion | None, wanted: SettingsDocument) -> SettingsVersion:
    """The version in force, which must be the wanted one. Raises CommandFailed: another came first."""
    if current is not None and current.revision == wanted.revision:
        # A scheduler of another version may know more fields than this command; those we named must be as we said.
        differing = [found.key for found in changes(wanted.settings, current.settings) if found.old is not None]
        if not differing and (current.author, current.comment) == (wanted.author, wanted.comment):
            return current
    who = f" by {current.author}" if current is not None and current.author else ""
    number = current.revision if current is not None else "none"
    raise CommandFailed(f"not changed: other settings (revision {number}{who}) came first; look at them and try again")
