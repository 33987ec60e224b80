"""`pillarbox dead`: look at the dead letters, and send them on their way again."""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, TypeVar

import typer

from cli.client import Client, with_client
from cli.failures import CommandFailed, ExitCode
from cli.home import Home
from cli.options import DEFAULT_HOME, HomeOption, JsonOption, duration
from cli.output import counted, plain, print_json, remark, screen, show_time, table
from shared.broker import Broker
from shared.dead_letters import PATIENCE, DeadLetter, read_letters
from shared.dead_letters import redrive as put_back

T = TypeVar("T")

OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="N|MARK|ID", help="Just this one, as `dead list` names it; may be repeated."),
]
BrokerTimeOption = Annotated[
    timedelta,
    typer.Option("--timeout", parser=duration, metavar="TIME", help="How long the broker may take to answer."),
]


def list_letters(
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many.")] = 100,
    home: HomeOption = DEFAULT_HOME,
    timeout: BrokerTimeOption = PATIENCE,
    as_json: JsonOption = False,
) -> None:
    """List the messages that were put aside, oldest first, and why.

    JSON has their bodies, too (base64).
    """
    letters, total = _within(timeout, Home(home), partial(read_letters, limit=limit))
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
    timeout: BrokerTimeOption = PATIENCE,
    as_json: JsonOption = False,
) -> None:
    """Publish dead letters again where they were published first; each leaves the dead letters once it is safe there.

    Without --only, all of them. Exit 1 when one was not taken, or --only names none.
    """
    done = _within(timeout, Home(home), partial(put_back, only=only or []))
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


def _within(patience: timedelta, home: Home, work: Callable[[Broker, timedelta], Coroutine[Any, Any, T]]) -> T:
    """What the broker's answers come to. Raises CommandFailed when one of them does not come in time."""

    async def run(client: Client) -> T:
        try:
            return await work(client.broker, patience)
        except TimeoutError:
            words = f"no answer from the broker at {client.where} within {patience.total_seconds():g} s"
            raise CommandFailed(words, ExitCode.UNREACHABLE) from None

    return with_client(home, run)


def _line(letter: DeadLetter) -> dict[str, str | int]:
    return {"number": letter.number, "mark": letter.mark, "id": letter.message_id, "exchange": letter.exchange}
