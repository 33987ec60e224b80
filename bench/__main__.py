"""`python -m bench`: measure, show, write down."""

import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from bench import relay_4k
from bench.machine import describe
from bench.results import Failed, Finding, Plan, Report
from bench.show import show
from cli.failures import CommandFailed
from cli.node import NodeFailed

CASES: dict[str, Callable[[Plan, Callable[[str], None]], Finding]] = {
    relay_4k.NAME: relay_4k.run,
}
_WHOLE = Plan(mails=20_000, rounds=3, senders=2)
_QUICK = Plan(mails=3_000, rounds=1, senders=2)
_RESULTS = Path(__file__).resolve().parent / "results" / "latest.json"


def main(
    cases: Annotated[
        list[str] | None, typer.Argument(metavar="[CASE]...", help="Which; all, if none is named.")
    ] = None,
    mails: Annotated[int | None, typer.Option(min=1, help=f"Mails a round ({_WHOLE.mails}).")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help=f"Rounds ({_WHOLE.rounds}).")] = None,
    senders: Annotated[int, typer.Option(min=1, help="Senders of Pillarbox.")] = _WHOLE.senders,
    json: Annotated[Path, typer.Option(metavar="FILE", help="Where the figures go.")] = _RESULTS,
    quick: Annotated[bool, typer.Option("--quick", help="Short, for a first impression.")] = False,
) -> None:
    """Measure Pillarbox beside Postfix on this machine; docs/benchmarks.md explains the figures."""
    usual = _QUICK if quick else _WHOLE
    plan = Plan(mails=mails or usual.mails, rounds=rounds or usual.rounds, senders=senders)
    chosen = cases or list(CASES)
    if unknown := [name for name in chosen if name not in CASES]:
        raise typer.BadParameter(f"got {unknown[0]!r}; takes {', '.join(CASES)}")
    # Stopped by a supervisor or a time limit, it clears up as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    progress = Console(stderr=True, highlight=False)
    try:
        machine = describe()
        findings = [CASES[name](plan, progress.print) for name in chosen]
    except (Failed, NodeFailed, CommandFailed) as failed:
        sys.exit("\n".join([f"bench: {failed}", *getattr(failed, "__notes__", ())]))
    report = Report(time=datetime.now(UTC).isoformat(timespec="seconds"), machine=machine, findings=findings)
    json.parent.mkdir(parents=True, exist_ok=True)
    json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    show(Console(), report)
    progress.print(f"written to {json}")


if __name__ == "__main__":
    typer.run(main)
