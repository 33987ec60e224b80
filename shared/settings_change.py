"""A settings document on its way: judged before it is published, then followed until it is in force."""

import asyncio
from typing import Any

from shared.broker import Message, Properties
from shared.commander import Commander, NotAnswered
from shared.contracts.answers import SettingsAnswer, SettingsVersion
from shared.contracts.commands import ShowSettings
from shared.settings import SettingsDocument, encode_document, parse_settings, to_document
from shared.settings_diff import changes
from shared.topology import SETTINGS

_IN_FORCE_WITHIN_S = 5.0
_ASK_AGAIN_S = 0.05


class Overtaken(Exception):
    """Somebody else's settings came first; these change nothing."""


def judged(document: dict[str, Any]) -> dict[str, Any]:
    """The whole document, defaults filled in. Raises Invalid, which names the first field that is wrong."""
    return to_document(parse_settings(document))


async def current_settings(commander: Commander, history: int = 0) -> SettingsAnswer:
    """What is in force, with so many earlier revisions. Raises NotAnswered also when there is nothing yet."""
    answer = await commander.ask(ShowSettings(history=history), SettingsAnswer)
    if answer.current is None:
        raise NotAnswered("no settings are in force yet")
    return answer


def settings_message(document: SettingsDocument) -> Message:
    """The message that brings a judged document to every worker."""
    return Message(SETTINGS, "", encode_document(document), Properties(content_type="application/json"))


async def until_in_force(commander: Commander, wanted: SettingsDocument) -> SettingsVersion:
    """Wait until a published document for a revision is in force. Raises Overtaken, or NotAnswered after 5 s."""
    assert wanted.revision is not None
    try:
        async with asyncio.timeout(_IN_FORCE_WITHIN_S):
            while True:
                answer = await commander.ask(ShowSettings(), SettingsAnswer)
                if answer.next_revision > wanted.revision:
                    return took_effect(answer.current, wanted)
                await asyncio.sleep(_ASK_AGAIN_S)
    except TimeoutError:
        raise NotAnswered(
            f"published, but revision {wanted.revision} is not in force after {_IN_FORCE_WITHIN_S:g} s"
        ) from None


def took_effect(current: SettingsVersion | None, wanted: SettingsDocument) -> SettingsVersion:
    """The version in force, which must be the wanted one. Raises Overtaken: another came first."""
    if current is not None and current.revision == wanted.revision:
        # A scheduler of another version may know more fields than we do; those we named must be as we said.
        differing = [found.key for found in changes(wanted.settings, current.settings) if found.old is not None]
        if not differing and (current.author, current.comment) == (wanted.author, wanted.comment):
            return current
    who = f" by {current.author}" if current is not None and current.author else ""
    number = current.revision if current is not None else "none"
    raise Overtaken(f"not changed: other settings (revision {number}{who}) came first; look at them and try again")
