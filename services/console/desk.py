"""The console's dealings with the broker: mails in, commands and their answers, settings."""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from shared.broker import Broker, Message, Refused
from shared.commander import Commander, NotTaken
from shared.contracts.answers import SettingsAnswer, SettingsVersion
from shared.contracts.commands import Command
from shared.dead_letters import DeadLetter, Redrive, read_letters, redrive
from shared.settings import Settings, SettingsDocument
from shared.settings_change import current_settings, settings_message, until_in_force
from shared.settings_diff import Change, changes
from shared.settings_feed import SettingsFeed

log = structlog.get_logger()

T = TypeVar("T")

_CONFIRM_WITHIN = timedelta(seconds=10)
_LETTERS_WITHIN, _REDRIVE_WITHIN = timedelta(seconds=20), timedelta(seconds=120)
_ANSWER_TIME = timedelta(seconds=15)  # a batch of a hundred thousand is taken back in that time


class Away(Exception):
    """The broker did not confirm, or answer, in time."""


class Desk:
    """What the API and the page have done for them."""

    def __init__(self, broker: Broker, feed: SettingsFeed) -> None:
        self.broker = broker
        self.commander = Commander(broker, _ANSWER_TIME)
        self._feed = feed
        self._letters = asyncio.Lock()  # whoever looks at dead letters holds them meanwhile: others would not see them

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self._feed.settings

    async def ask(self, command: Command, kind: type[T]) -> T:
        """Give a command. Raises NotTaken, NotAnswered, or Invalid where it is refused."""
        return await self.commander.ask(command, kind)

    async def publish(self, messages: Sequence[Message]) -> list[Refused]:
        """Publish and wait for the confirms; returns what was not taken. Raises Away."""
        return await within(_CONFIRM_WITHIN, self.broker.publisher.publish(messages))

    async def current(self, history: int = 0) -> SettingsAnswer:
        """The settings in force, with so many earlier revisions. Raises NotAnswered where there are none yet."""
        return await current_settings(self.commander, history)

    async def put_in_force(
        self,
        answer: SettingsAnswer,
        document: dict[str, Any],
        *,
        author: str,
        comment: str,
        restores: int | None = None,
    ) -> tuple[SettingsVersion, list[Change]]:
        """Publish a judged document as the next revision after `answer`, and wait until it is in force.

        What changes nothing is not published. Raises Overtaken, NotTaken, Away, NotAnswered.
        """
        assert answer.current is not None
        differences = changes(answer.current.settings, document)
        if not differences:
            return answer.current, []
        wanted = SettingsDocument(
            settings=document, author=author, comment=comment, restores=restores, revision=answer.next_revision
        )
        for refused in await self.publish([settings_message(wanted)]):
            raise NotTaken(refused)
        version = await until_in_force(self.commander, wanted)
        log.info("settings_changed", revision=version.revision, author=author, fields=len(differences))
        return version, differences

    async def dead_letters(self, limit: int) -> tuple[list[DeadLetter], int]:
        """So many dead letters, oldest first, and how many there are. Raises Away."""
        async with self._letters:
            return await within(_LETTERS_WITHIN, read_letters(self.broker, _LETTERS_WITHIN, limit=limit))

    async def redrive(self, only: Sequence[str]) -> Redrive:
        """Publish dead letters again, all or those chosen. Raises Away."""
        async with self._letters:
            done = await within(_REDRIVE_WITHIN, redrive(self.broker, _REDRIVE_WITHIN, only=only))
        log.info("dead_letters_redriven", letters=len(done.gone), failed=len(done.failed))
        return done


async def within(time: timedelta, answer: Awaitable[T]) -> T:
    """What the broker says. Raises Away when that time is over."""
    try:
        async with asyncio.timeout(time.total_seconds()):
            return await answer
    except TimeoutError:
        raise Away(f"the broker is away, or busy: it said nothing for {time.total_seconds():g} s") from None
