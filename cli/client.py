"""The broker as commands use it: with patience of some seconds, commands with their answers, publishing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from cli.failures import CommandFailed, ExitCode
from cli.home import Home, find_broker
from cli.output import encode_hook
from shared import topology
from shared.broker import FULL, Broker, Caller, Message, Refused
from shared.contracts import Answer, Command, Refusal
from shared.environment import user_of, without_password
from shared.topology import CONTROL

T = TypeVar("T")

PATIENCE = timedelta(seconds=5)  # for the connection
ANSWER_TIME = timedelta(seconds=10)
_DECLARE_TIME_S = 60.0  # streams of a broker that has just started come back one by one


class Client:
    """A connection to the broker, for the length of one command."""

    def __init__(self, broker: Broker, url: str, answer_time: timedelta) -> None:
        self.broker = broker
        self.where = without_password(url)
        self.user = user_of(url)
        self._answer_time_s = answer_time.total_seconds()
        self._caller: Caller | None = None

    async def ask(self, command: Command, kind: type[T]) -> T:
        """Publish a command and wait for its answer, which must be of this kind.

        Raises CommandFailed: the scheduler refuses, or does not answer in time.
        """
        try:
            async with asyncio.timeout(self._answer_time_s):
                answer = await self._ask(command)
        except TimeoutError:
            raise CommandFailed(
                f"no answer from the scheduler within {self._answer_time_s:g} s: is it running? "
                "The command waits in its queue and is carried out when it comes back",
                ExitCode.NO_ANSWER,
            ) from None
        if isinstance(answer, Refusal):
            raise CommandFailed(f"{answer.field}: {answer.reason}" if answer.field else answer.reason)
        if not isinstance(answer, kind):
            raise CommandFailed(f"the scheduler answered with something else: {type(answer).__name__}")
        return answer

    async def _ask(self, command: Command) -> Answer:
        if self._caller is None:
            self._caller = self.broker.caller()
        body = msgspec.json.encode(command, enc_hook=encode_hook)
        said = await self._caller.ask(CONTROL, body, "application/json")
        if isinstance(said, Refused):
            raise not_taken(said)
        answer: Answer = msgspec.json.decode(said.body, type=Answer)
        return answer

    async def publish(self, messages: list[Message], time_limit: timedelta) -> list[Refused]:
        """Publish with confirms. Raises CommandFailed when they do not come in time."""
        try:
            async with asyncio.timeout(time_limit.total_seconds()):
                return await self.broker.publisher.publish(messages)
        except TimeoutError:
            short_of = self.broker.publisher.blocked_by
            why = f"it takes nothing now, being {short_of}" if short_of else "the connection is lost, or it is busy"
            raise CommandFailed(
                f"no confirm from the broker at {self.where} within {time_limit.total_seconds():g} s: {why}; "
                "what was not confirmed may be sent again under the same id",
                ExitCode.UNREACHABLE,
            ) from None


async def declare_topology(broker: Broker) -> None:
    """Declare the exchanges and queues. Raises CommandFailed when some can not be reached in time."""
    try:
        async with asyncio.timeout(_DECLARE_TIME_S):
            await topology.declare(broker)
    except TimeoutError:
        raise CommandFailed(
            f"some queues can not be reached after {_DECLARE_TIME_S:g} s; the broker's log tells why",
            ExitCode.UNREACHABLE,
        ) from None


def not_taken(refused: Refused) -> CommandFailed:
    """The broker refused a message, in words."""
    missing = "no exchange" in refused.reason or "no queue takes it" in refused.reason
    hint = "; declare the topology with `pillarbox setup`" if missing else ""
    if refused.reason == FULL:
        return CommandFailed(
            f"not taken, send it again later: {refused.reason}; does the scheduler run?", ExitCode.FULL
        )
    return CommandFailed(f"the broker did not take it: {refused.reason}{hint}")


@asynccontextmanager
async def connected(home: Home, answer_time: timedelta = ANSWER_TIME) -> AsyncIterator[Client]:
    """Connect to the broker of this home or environment. Raises BrokerUnreachable or BrokerRefused."""
    url = find_broker(home)
    broker = Broker(url, "command", patience_s=PATIENCE.total_seconds())
    await broker.start()
    try:
        yield Client(broker, url, answer_time)
    finally:
        await broker.close()


def with_client(
    home: Home, work: Callable[[Client], Coroutine[Any, Any, T]], answer_time: timedelta = ANSWER_TIME
) -> T:
    """Run one command's work over a connection of its own."""

    async def run() -> T:
        async with connected(home, answer_time) as client:
            return await work(client)

    return asyncio.run(run())
