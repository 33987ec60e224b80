"""`pillarbox dead`: look at the dead letters, and send them on their way again."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from cli.client import Client, not_taken, with_client
from cli.dead_letters import DeadLetter, is_chosen, read_letter, redriven
from cli.failures import CommandFailed, ExitCode
from cli.home import Home
from cli.options import DEFAULT_HOME, HomeOption, JsonOption, duration
from cli.output import counted, plain, print_json, remark, screen, show_time, table
from shared.broker import Delivery, Peek
from shared.topology import DEAD

T = TypeVar("T")

_CONFIRM_TIME = timedelta(seconds=30)
_AT_ONCE = 500  # held at a time while redriving

OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="N|MARK|ID", help="Just this one, as `dead list` names it; may be repeated."),
]
BrokerTimeOption = Annotated[
    timedelta,
    typer.Option("--timeout", parser=duration, metavar="TIME", help="How long the broker may take to answer."),
]


class Redrive(msgspec.Struct, frozen=True):
    """What became of the dead letters."""

    gone: list[DeadLetter]
    failed: list[tuple[DeadLetter, str]]


def list_letters(
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many.")] = 100,
    home: HomeOption = DEFAULT_HOME,
    timeout: BrokerTimeOption = _CONFIRM_TIME,
    as_json: JsonOption = False,
) -> None:
    """List the messages that were put aside, oldest first, and why.

    JSON has their bodies, too (base64).
    """
    letters, total = with_client(Home(home), lambda client: _letters(client, limit, timeout))
    if as_json:
        print_json({"total": total, "letters": letters})
        return
    columns = ["n", "mark", "published to", "reason", "size", "message id", "died"]
    rows = [
        [str(letter.number), letter.mark, letter.exchange, letter.reason, f"{letter.size:,}", letter.message_id,
         show_time(letter.died) if letter.died else ""]
        for letter in letters
    ]  # fmt: skip
    if rows:
        cells = [[plain(cell) for cell in row] for row in rows]
        screen().print(table(columns, cells, right=["size"], wide=["reason", "message id"]))
    remark(f"{counted(total, 'dead letter')}" + (f", {len(rows)} of them shown" if total > len(rows) else ""))


def redrive(
    only: OnlyOption = None,
    home: HomeOption = DEFAULT_HOME,
    timeout: BrokerTimeOption = _CONFIRM_TIME,
    as_json: JsonOption = False,
) -> None:
    """Publish dead letters again where they were published first; each leaves the dead letters once it is safe there.

    Without --only, all of them. Exit 1 when one was not taken, or --only names none.
    """
    done = with_client(Home(home), lambda client: _redrive(client, only or [], timeout))
    if as_json:
        print_json(
            {
                "redriven": [_line(letter) for letter in done.gone],
                "failed": [{**_line(letter), "why": why} for letter, why in done.failed],
            }
        )
    else:
        for letter, why in done.failed:
            remark(plain(f"{letter.mark}: {why}"))
        remark(f"{counted(len(done.gone), 'dead letter')} published again")
    if only and not done.gone and not done.failed:
        raise CommandFailed(f"no dead letter is named {', '.join(only)}; see `pillarbox dead list`")
    if done.failed:
        raise typer.Exit(1)


async def _letters(client: Client, limit: int, patience: timedelta) -> tuple[list[DeadLetter], int]:
    total = await _within(patience, client, client.broker.count(DEAD))
    async with _held(client, min(limit, total), patience) as peek:
        return [read_letter(number, delivery) for number, delivery in enumerate(peek.deliveries, 1)], total


async def _redrive(client: Client, only: Sequence[str], patience: timedelta) -> Redrive:
    """Go once through what lay there at the start: what dies again meanwhile comes to the end and is left."""
    done = Redrive([], [])
    left = await _within(patience, client, client.broker.count(DEAD))
    # A selection has to see all of the queue at once, as those not chosen go back to its front.
    page = left if only else _AT_ONCE
    while left > 0:
        async with _held(client, min(page, left), patience) as peek:
            letters = [read_letter(number, delivery) for number, delivery in enumerate(peek.deliveries, 1)]
            for letter, delivery in zip(letters, peek.deliveries, strict=True):
                if is_chosen(letter, only):
                    await _redrive_one(client, peek, letter, delivery, done, patience)
            left = 0 if done.failed or not letters else left - len(letters)
    return done


async def _redrive_one(
    client: Client, peek: Peek, letter: DeadLetter, delivery: Delivery, done: Redrive, patience: timedelta
) -> None:
    if not letter.exchange:
        done.failed.append((letter, "nothing tells where it was published; it stays"))
        return
    refused = await client.publish([redriven(letter, delivery)], patience)
    if refused:
        done.failed.append((letter, f"{not_taken(refused[0])}; it stays"))
        return
    # Publish before ack: a crash between the two repeats it, never loses it.
    peek.ack(delivery)
    done.gone.append(letter)


@asynccontextmanager
async def _held(client: Client, limit: int, patience: timedelta) -> AsyncIterator[Peek]:
    peek = await _within(patience, client, client.broker.get(DEAD, limit))
    try:
        yield peek
    finally:
        await peek.close()


async def _within(patience: timedelta, client: Client, answer: Coroutine[Any, Any, T]) -> T:
    """The broker's answer. Raises CommandFailed when it does not come in time."""
    try:
        async with asyncio.timeout(patience.total_seconds()):
            return await answer
    except TimeoutError:
        words = f"no answer from the broker at {client.where} within {patience.total_seconds():g} s"
        raise CommandFailed(words, ExitCode.UNREACHABLE) from None


def _line(letter: DeadLetter) -> dict[str, str | int]:
    return {"number": letter.number, "mark": letter.mark, "id": letter.message_id, "exchange": letter.exchange}
