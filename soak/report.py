"""The accounts as a table for people, in a terminal or in the documentation."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from soak.ledger import Account, total
from soak.run import Result

_WIDTH = 160  # also where no terminal says so
_COUNTS = ("times", "mails", "lost", "duplicated", "in_doubt", "answered", "unexpected", "waiting", "recovered")
_HEADINGS = ("harm", *(name.replace("_", " ") for name in _COUNTS), "back after, s", "slowest mail, s")
_SUSPECTS = 10


def show(result: Result) -> None:
    """Print them, with what died and who grew."""
    console = Console(width=_WIDTH, highlight=False)
    table = Table(*_HEADINGS)
    for row in _rows(result.accounts):
        table.add_row(*row)
    console.print(table)
    for line in (*_sink(result.fates), *_memory(result.memory)):
        console.print(f"  {line}", markup=False)
    for account in result.accounts:
        if account.suspects:
            console.print(f"  {account.harm}: look at {', '.join(account.suspects[:_SUSPECTS])}", markup=False)
    for fault, times in sorted(result.faults.items()):
        console.print(f"  {times} × {fault}", markup=False)
    for obituary in result.died:
        first, *_, last = obituary.splitlines()
        console.print(f"{first} {last}", markup=False)


def as_markdown(result: Result) -> str:
    """The same as a table of a page."""
    rows = [_HEADINGS, ("---",) + ("---:",) * (len(_HEADINGS) - 1), *_rows(result.accounts)]
    table = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*table, "", *(f"- {line}" for line in (*_sink(result.fates), *_memory(result.memory)))]) + "\n"


def _rows(accounts: Sequence[Account]) -> Iterator[tuple[str, ...]]:
    for account in [*accounts, total(accounts)]:
        seconds = account.recovery_s
        back = f"{median(seconds):.1f} (most {max(seconds):.1f})" if seconds else ""
        yield (
            account.harm,
            *(f"{getattr(account, name):,}" for name in _COUNTS),
            back,
            f"{account.slowest_s:.1f}",
        )


def _sink(fates: Mapping[str, int]) -> Iterator[str]:
    tries = sum(fates.values())
    shares = ", ".join(f"{name.replace('_', ' ')} {count / tries:.2%}" for name, count in sorted(fates.items()))
    yield f"{tries:,} tries at the sink: {shares}"


def _memory(memory: Mapping[str, Sequence[tuple[float, float]]]) -> Iterator[str]:
    """By role: how many there were, the most that one had, and how the one that lived longest has grown."""
    by_role: dict[str, list[Sequence[tuple[float, float]]]] = {}
    for name, noted in memory.items():
        by_role.setdefault(name.partition("-")[0], []).append(noted)
    for role, workers in by_role.items():
        longest = max(workers, key=lambda noted: noted[-1][0] - noted[0][0])
        most = max(mib for noted in workers for _, mib in noted)
        (begun, first), (ended, last) = longest[0], longest[-1]
        yield (
            f"{role}: {len(workers)} seen, {most:.0f} MiB at most; "
            f"the oldest had {first:.0f} MiB at first and {last:.0f} after {(ended - begun) / 60:.0f} min"
        )
