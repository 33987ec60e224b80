"""The accounts as a table for people, in a terminal or in the documentation."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from soak.ledger import Account, total
from soak.run import Result

_WIDTH = 160  # also where no terminal says so
_COUNTS = (
    "times",
    "mails",
    "lost",
    "duplicated",
    "in_doubt",
    "answered",
    "unexpected",
    "waiting",
    "recovered",
    "not_back",
)
_HEADINGS = ("harm", *(name.replace("_", " ") for name in _COUNTS), "back after, s", "slowest mail, s")
_SUSPECTS = 10


def show(result: Result) -> None:
    """Print them, with what died and who grew."""
    console = Console(width=_WIDTH, highlight=False)
    table = Table(*_HEADINGS)
    for row in _rows(result.accounts):
        table.add_row(*row)
    console.print(table)
    for line in _lines(result):
        console.print(f"  {line}", markup=False)


def as_markdown(result: Result) -> str:
    """The same as a table of a page."""
    rows = [_HEADINGS, ("---",) + ("---:",) * (len(_HEADINGS) - 1), *_rows(result.accounts)]
    table = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*table, "", *(f"- {line}" for line in _lines(result))]) + "\n"


def _lines(result: Result) -> Iterator[str]:
    """What the table does not say; what went wrong comes last."""
    yield str(result.machine)
    yield f"{result.minutes:.1f} minutes, {'clean' if result.clean else 'NOT clean'}"
    yield from _sink(result.fates)
    yield from _memory(result.memory)
    for account in result.accounts:
        if account.unmeasured:
            yield f"{account.harm}: {account.unmeasured} so near the end that nobody knows how long it took"
        if account.suspects:
            yield f"{account.harm}: look at {', '.join(account.suspects[:_SUSPECTS])}"
    if result.broken_off:
        yield f"broken off: {result.broken_off}"
    for failure in result.failed:
        yield f"failed: {failure}"
    for fault, times in sorted(result.faults.items()):
        yield f"{times} × {fault}"
    for obituary in result.died:
        lines = obituary.splitlines()
        yield f"died: {lines[0]} {lines[-1]}" if len(lines) > 1 else f"died: {obituary}"


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
    shares = [f"{name.replace('_', ' ')} {count / tries:.2%}" for name, count in sorted(fates.items())]
    yield f"{tries:,} tries at the sink: {', '.join(shares) or 'none'}"


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
