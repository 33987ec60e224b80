"""A guard against falling back: figures of the quick runs beside those kept in the repository.

Both are told in times of the calibration loop that ran just before, on the same broker: so they say the same on a slow
machine and on a quick one, nearly.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from bench.results import CPU, Failed, Finding, in_loops, median_of_each

KEPT = Path(__file__).resolve().parent / "expected.json"

# What differs between runs of the same program on a machine that is busy with nothing else; a rate differs more, as
# the disk has a part in it.
_RATE_MAY_FALL_BY = 0.3
_CPU_MAY_GROW_BY = 0.2

Figures = Mapping[str, Mapping[str, Mapping[str, float]]]  # by case, contender and name


def figures_of(findings: Sequence[Finding]) -> Figures:
    """Medians over the rounds, in times of the loop; of what was calibrated."""
    found = {
        finding.case: {
            name: figures
            for name in finding.medians
            if (figures := median_of_each([in_loops(each[name]) for each in finding.rounds]))
        }
        for finding in findings
    }
    return {case: contenders for case, contenders in found.items() if contenders}


def fallen_back(kept: Figures, found: Figures) -> list[str]:
    """A sentence for each figure that is worse than it may be, and for each that nothing is kept of."""
    return [sentence for name, was, now in _pairs(kept, found) if (sentence := _judged(name, was, now))]


def read(file: Path) -> Figures:
    """What is kept. Raises Failed."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, dict[str, float]]])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise Failed(f"{file}: {error}; write it anew with --keep") from error


def write(found: Figures, file: Path) -> None:
    """Keep these, and of other cases what was kept."""
    rounded = {
        case: {
            name: {figure: float(f"{value:.3g}") for figure, value in figures.items()}
            for name, figures in contenders.items()
        }
        for case, contenders in found.items()
    }
    file.write_bytes(msgspec.json.format(msgspec.json.encode({**read(file), **rounded}), indent=2) + b"\n")


def _pairs(kept: Figures, found: Figures) -> Iterator[tuple[str, float | None, float]]:
    for case, contenders in found.items():
        for contender, figures in contenders.items():
            for figure, now in figures.items():
                was = kept.get(case, {}).get(contender, {}).get(figure)
                yield f"{case}: {contender}: {figure}", was, now


def _judged(name: str, was: float | None, now: float) -> str:
    """Why it is too bad; "" when it is not."""
    if was is None:
        return f"{name}: nothing is kept to compare it with: keep it with --keep"
    change = now / was - 1
    worst = _CPU_MAY_GROW_BY if name.endswith(CPU) else -_RATE_MAY_FALL_BY
    if (change > worst) if worst > 0 else (change < worst):
        return f"{name} fell back: {now:.3g} times the loop's, and was {was:.3g} ({change:+.0%}, {worst:+.0%} may be)"
    return ""
