"""`python -m bench`: measure, show, write down."""

import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec.structs import replace
from rich.console import Console

from bench import guard
from bench.case import Case, Tell, investigate
from bench.cases import CASES
from bench.machine import describe
from bench.plots import draw
from bench.results import Failed, Plan, Report
from bench.show import show
from cli.failures import CommandFailed
from cli.node import NodeFailed

_RESULTS = Path(__file__).resolve().parent / "results" / "latest.json"


def main(
    cases: Annotated[
        list[str] | None, typer.Argument(metavar="[CASE]...", help=f"Which; all, if none is named: {', '.join(CASES)}.")
    ] = None,
    mails: Annotated[int | None, typer.Option(min=1, help="Mails a round, instead of each case's own number.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds, likewise.")] = None,
    senders: Annotated[int | None, typer.Option(min=1, help="Senders of Pillarbox, likewise.")] = None,
    json: Annotated[Path, typer.Option(metavar="FILE", help="Where the figures go.")] = _RESULTS,
    quick: Annotated[bool, typer.Option("--quick", help="Short, without the peers.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="With --quick: fail where it fell back.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="With --quick: keep the figures to compare with.")] = False,
    kept: Annotated[Path, typer.Option(metavar="FILE", help="Where those are kept.")] = guard.KEPT,
) -> None:
    """Measure Pillarbox beside its peers on this machine; docs/benchmarks.md explains the figures."""
    # Stopped by a supervisor or a time limit, it clears up as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    progress = Console(stderr=True, highlight=False, markup=False)
    if (compare or keep) and not quick:
        raise typer.BadParameter("--compare and --keep take --quick: only that has the calibration loop beside it")
    asked = {"mails": mails, "rounds": rounds, "senders": senders}
    plans = [
        (case, replace(plan, **{name: value for name, value in asked.items() if value is not None}))
        for case, plan in _chosen(cases or [], quick)
    ]
    try:
        expected = guard.read(kept) if compare else {}
        report = Report(time=datetime.now(UTC).isoformat(timespec="seconds"), machine=describe(), findings=[])
    except Failed as failed:
        sys.exit(f"bench: {failed}")
    for case, plan in plans:
        report = _measured(report, case, plan, progress.print, peers=not quick)
        _write(json, report)
    show(Console(), report)
    for file in (json, *draw(report.findings, json)):
        progress.print(f"written to {file}")
    found = guard.figures_of(report.findings)
    worse = guard.fallen_back(expected, found) if compare else []
    print(*worse, sep="\n", end="\n" if worse else "")
    if keep:
        guard.write(found, kept)
    sys.exit(1 if report.failures or worse else 0)


def _chosen(names: Sequence[str], quick: bool) -> list[tuple[Case, Plan]]:
    """The cases that are named, all if none is, each with its usual or quick plan."""
    plans = {name: case.quick if quick else case.usual for name, case in CASES.items()}
    possible = [name for name, plan in plans.items() if plan is not None]
    if unknown := [name for name in names if name not in possible]:
        raise typer.BadParameter(f"got {unknown[0]!r}; takes {', '.join(possible)}")
    return [(CASES[name], plan) for name in names or possible if (plan := plans[name]) is not None]


def _measured(report: Report, case: Case, plan: Plan, tell: Tell, *, peers: bool) -> Report:
    """The report with what the case has found, or why it has found nothing: the others go on."""
    try:
        finding = investigate(case, plan, tell, peers=peers)
    except (Failed, NodeFailed, CommandFailed, TimeoutError) as error:
        reason = "\n".join([str(error), *getattr(error, "__notes__", ())])
        tell(f"{case.name}: {reason}")
        return replace(report, failures={**report.failures, case.name: reason})
    return replace(report, findings=[*report.findings, finding])


def _write(file: Path, report: Report) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


if __name__ == "__main__":
    typer.run(main)
