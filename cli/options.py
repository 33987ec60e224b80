"""Options that many commands share, and the end of their help pages."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from shared.durations import Duration


def duration(value: str | timedelta) -> timedelta:
    """A duration on the command line; typer passes defaults through here, too."""
    if isinstance(value, timedelta):
        return value
    try:
        return Duration.parse(value)
    except ValueError as error:
        raise typer.BadParameter(f"got {value!r}; {error}") from error


HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        metavar="DIR",
        envvar="PILLARBOX_HOME",
        help="Folder of a running `pillarbox up`; where none runs, PILLARBOX_AMQP_URL says where the broker is.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TimeoutOption = Annotated[
    timedelta,
    typer.Option("--timeout", parser=duration, metavar="TIME", help="How long to wait for the scheduler's answer."),
]

DEFAULT_HOME = Path(".pillarbox")

_CODES = (
    "0 done; 1 the answer is no; 2 wrong usage; 3 broker unreachable; 4 no answer from the scheduler in time; "
    "5 a queue is full; 130 Ctrl-C"
)


def ending(*examples: str, codes: str = _CODES) -> str:
    """The end of a help page: examples to copy, and the exit codes."""
    lines = [f"  {escape(example)}" for example in examples]
    return "\n\n".join(["[bold]Example[/bold]" + ("s" if len(lines) > 1 else ""), *lines, f"[bold]Exit[/bold] {codes}"])
