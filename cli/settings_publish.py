"""Settings from the command line: who changes them, and what goes wrong in words for people."""

import getpass
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from cli.client import Client, not_taken
from cli.failures import CommandFailed, ExitCode, usage
from shared.commander import NotAnswered
from shared.contracts.answers import SettingsAnswer, SettingsVersion
from shared.contracts.commands import ShowSettings
from shared.settings import SettingsDocument, change
from shared.settings_change import Overtaken, judged, settings_message, until_in_force

_CONFIRM_TIME = timedelta(seconds=10)


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
    for key, value in pairs_of(assignments):
        document = change(document, key, value)
    return judged(document)


def pairs_of(assignments: Sequence[str]) -> list[tuple[str, str]]:
    """Keys and values. Raises CommandFailed for what is not `KEY=VALUE`."""
    pairs = []
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise usage(f"got {text!r}; takes KEY=VALUE, such as sending.hold=10m")
        pairs.append((key.strip(), value.strip()))
    return pairs


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
    if refused := await client.publish([settings_message(wanted)], _CONFIRM_TIME):
        raise not_taken(refused[0])
    try:
        return await until_in_force(client.commander, wanted)
    except Overtaken as overtaken:
        raise CommandFailed(str(overtaken)) from overtaken
    except NotAnswered as silence:
        raise CommandFailed(
            f"{silence}; `pillarbox settings history` shows whether it comes", ExitCode.NO_ANSWER
        ) from None
