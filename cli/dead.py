"""`pillarbox dead`: look at the dead letters, and send them on their way again."""

from typing import Annotated

import typer

from cli.client import with_client
from cli.failures import CommandFailed
from cli.home import Home
from cli.options import DEFAULT_HOME, HomeOption, JsonOption
from cli.output import counted, plain, print_json, remark, screen, show_time, table
from shared.dead_letters import DeadLetter, read_letters
from shared.dead_letters import redrive as put_back

OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="N|MARK|ID", help="Just this one, as `dead list` names it; may be repeated."),
]


def list_letters(
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many.")] = 100,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """List the messages that were put aside, oldest first, and why.

    JSON has their bodies, too (base64).
    """
    letters, total = with_client(Home(home), lambda client: read_letters(client.broker, limit))
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
    as_json: JsonOption = False,
) -> None:
    """Publish dead letters again where they were published first; each leaves the dead letters once it is safe there.

    Without --only, all of them. Exit 1 when one was not taken, or --only names none.
    """
    done = with_client(Home(home), lambda client: put_back(client.broker, only or []))
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


def _line(letter: DeadLetter) -> dict[str, str | int]:
    return {"number": letter.number, "mark": letter.mark, "id": letter.message_id, "exchange": letter.exchange}
