"""Commands to the scheduler, and its answers: what the command line and the console have in common."""

import asyncio
from datetime import timedelta
from typing import TypeVar

import msgspec

from shared.broker import FULL, Broker, Caller, Refused
from shared.contracts.answers import Answer, Refusal
from shared.contracts.commands import Command
from shared.durations import encode_duration
from shared.refusals import Invalid
from shared.topology import CONTROL

T = TypeVar("T")


class NotAnswered(Exception):
    """The scheduler did not answer in time; the command waits in its queue, or its answer was lost."""


class NotTaken(Exception):
    """The broker refused a message."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.full = refused.reason == FULL  # later it may take it
        self.too_large = "larger than" in refused.reason  # RabbitMQ's words: max_message_size
        self.undeclared = "no exchange" in refused.reason or "no queue takes it" in refused.reason


class Commander:
    """Asks the scheduler over a channel of its own, which is opened with the first question."""

    def __init__(self, broker: Broker, answer_time: timedelta) -> None:
        self._broker = broker
        self._answer_time_s = answer_time.total_seconds()
        self._caller: Caller | None = None

    async def ask(self, command: Command, kind: type[T]) -> T:
        """Publish a command and wait for its answer, which must be of this kind.

        Raises NotTaken, NotAnswered, or Invalid where the scheduler refuses the command.
        """
        try:
            async with asyncio.timeout(self._answer_time_s):
                answer = await self._ask(command)
        except TimeoutError:
            raise NotAnswered(f"no answer from the scheduler within {self._answer_time_s:g} s") from None
        if isinstance(answer, Refusal):
            raise Invalid(answer.field, answer.reason)
        if not isinstance(answer, kind):
            raise Invalid("", f"the scheduler answered with something else: {type(answer).__name__}")
        return answer

    async def _ask(self, command: Command) -> Answer:
        if self._caller is None:
            self._caller = self._broker.caller()
        body = msgspec.json.encode(command, enc_hook=encode_duration)
        said = await self._caller.ask(CONTROL, body, "application/json")
        if isinstance(said, Refused):
            raise NotTaken(said)
        answer: Answer = msgspec.json.decode(said.body, type=Answer)
        return answer
