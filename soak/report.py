"""The verdicts as a table for people."""

from collections.abc import Mapping, Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from soak.ledger import Verdict, total

_WIDTH = 140  # also where no terminal says so
_COUNTS = ("times", "mails", "lost", "duplicated", "in_doubt", "unexpected", "waiting", "recovered")


def show(verdicts: Sequence[Verdict], died: Sequence[str], memory: Mapping[str, Sequence[float]]) -> None:
    """Print them, with what died and who grew."""
    console = Console(width=_WIDTH)
    table = Table("harm", *(name.replace("_", " ") for name in _COUNTS), "back after, s")
    for verdict in [*verdicts, total(verdicts)]:
        back = f"{median(verdict.recovery_s):.1f} (most {max(verdict.recovery_s):.1f})" if verdict.recovery_s else ""
        table.add_row(verdict.harm, *(str(getattr(verdict, name)) for name in _COUNTS), back)
    console.print(table)
    for name, mibs in memory.items():
        console.print(f"  {name}: {mibs[0]:.0f} MiB at first, {max(mibs):.0f} at most, {mibs[-1]:.0f} at last")
    for obituary in died:
        first, *_, last = obituary.splitlines()
        console.print(f"{first} {last}", markup=False, highlight=False)
