"""What a benchmark has found, as pictures (SVG): throughput over time, and scaling."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pygal
from pygal.style import Style

from bench.results import ARRIVALS_S, RATE, Finding, Measurement

Points = Sequence[tuple[float, float]]
Lines = Mapping[str, Points]  # by name

_LOOK = {
    "js": [],  # or the picture would load programs from elsewhere
    "show_dots": False,
    "legend_at_bottom": True,
    "style": Style(stroke_width=2),
    "width": 900,
    "height": 450,
    "include_x_axis": True,
}


def draw(findings: Sequence[Finding], beside: Path) -> list[Path]:
    """Write the pictures beside the JSON file; which they are."""
    drawn = []
    for finding in findings:
        if lines := over_time(finding):
            drawn.append(_draw(f"{finding.case}: mails/s", "seconds", lines, _file(beside, finding.case)))
        if lines := by_senders(finding):
            file = _file(beside, f"{finding.case}-by-senders")
            drawn.append(_draw(f"{finding.case}: mails/s", "senders", lines, file))
    return drawn


def over_time(finding: Finding) -> Lines:
    """Mails that came to the receiver each second, of each contender in the round that took the middle time."""
    middles = {name: _middle([each[name] for each in finding.rounds]) for name in finding.medians}
    return {name: _rates(middle.arrivals) for name, middle in middles.items() if middle.arrivals}


def by_senders(finding: Finding) -> Lines:
    """The rate of each number of senders, and what it would be in proportion to that of the fewest."""
    rates = {number: finding.medians[name][RATE] for name, number in finding.senders.items()}
    if len(rates) < 2:
        return {}
    fewest = min(rates)
    return {
        "measured": sorted(rates.items()),
        "in proportion": [(number, rates[fewest] * number / fewest) for number in sorted(rates)],
    }


def _middle(measurements: Sequence[Measurement]) -> Measurement:
    return sorted(measurements, key=lambda each: len(each.arrivals))[len(measurements) // 2]


def _rates(arrivals: Sequence[int]) -> Points:
    return [((position + 0.5) * ARRIVALS_S, count / ARRIVALS_S) for position, count in enumerate(arrivals)]


def _file(beside: Path, name: str) -> Path:
    return beside.with_name(f"{beside.stem}-{name}.svg")


def _draw(title: str, x_title: str, lines: Lines, file: Path) -> Path:
    rightmost, highest = (max(point[axis] for points in lines.values() for point in points) for axis in (0, 1))
    chart = pygal.XY(title=title, x_title=x_title, xrange=(0, rightmost), range=(0, highest), **_LOOK)
    for name, points in lines.items():
        chart.add(name, points)
    chart.render_to_file(str(file))
    return file
