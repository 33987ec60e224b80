"""The broker as commands use it: with patience of some seconds, commands with their answers, publishing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

from cli.failures import CommandFailed, ExitCode
from cli.home import Home, find_broker
from shared import topology
from shared.broker import Broker, Message, Refused
from shared.commander import Commander, NotAnswered, NotTaken
from shared.contracts.commands import Command
from shared.environment import user_of, without_password
from shared.refusals import Invalid

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
        self.commander = Commander(broker, answer_time)

    async def ask(self, command: Command, kind: type[T]) -> T:
        """Publish a command and wait for its answer, which must be of this kind.

        Raises CommandFailed: the scheduler refuses, or does not answer in time.
        """
        try:
            return await self.commander.ask(command, kind)
        except Invalid as refused:
            raise CommandFailed(str(refused)) from refused
        except NotTaken as refused:
            raise not_taken(refused) from refused
        except NotAnswered as silence:
            raise CommandFailed(
                f"{silence}: is it running? The command waits in its queue and is carried out when it comes back",
                ExitCode.NO_ANSWER,
            ) from None

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


def not_taken(refused: Refused | NotTaken) -> CommandFailed:
    """The broker refused a message, in words."""
    refusal = NotTaken(refused) if isinstance(refused, Refused) else refused
    if refusal.full:
        return CommandFailed(f"not taken, send it again later: {refusal}; does the scheduler run?", ExitCode.FULL)
    hint = "; declare the topology with `pillarbox setup`" if refusal.undeclared else ""
    return CommandFailed(f"the broker did not take it: {refusal}{hint}")


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
