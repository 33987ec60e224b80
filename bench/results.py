"""What a benchmark finds, as it goes into the tables and the JSON file."""

from collections.abc import Mapping, Sequence
from math import ceil
from statistics import median
from typing import Literal

from msgspec import Struct

RATE = "mails/s"  # the figure by which those that take turns are compared
CPU = "CPU"  # processor time of all that took part, in times of the calibration loop's


class Failed(Exception):
    """A run that does not count; the message says what went wrong."""


class Plan(Struct, frozen=True, kw_only=True):
    """How much is measured."""

    mails: int
    rounds: int
    senders: int
    warm_up: int = 500  # mails before: connections are open, statements compiled, processes started
    calibrated: bool = False  # with the loop of bench/calibration.py before each run


class Machine(Struct, frozen=True, kw_only=True):
    """Where it was measured."""

    processor: str
    cores: int
    memory_mib: int
    kernel: str
    file_system: str  # of the temporary folder, where all queues and stores lie
    sync_ms: float  # one block written and synced there, median
    python: str
    postfix: str
    load: float  # average of the last minute, before the first round


class Cost(Struct, frozen=True, kw_only=True):
    """What one process, or several of one kind, spent on a measurement."""

    process: str
    cpu_us_per_mail: float
    peak_mib: float  # the sum of the processes' own peaks
    processes: int


class Calibration(Struct, frozen=True, kw_only=True):
    """The loop that only publishes and consumes, on the same broker just before a measurement."""

    rate: float  # messages a second
    cpu_us: float  # for a message, the loop's own and the broker's


class Measurement(Struct, frozen=True, kw_only=True):
    """One run."""

    figures: dict[str, float]  # by name and unit
    others: float  # share of the machine's processor time that went elsewhere meanwhile
    costs: list[Cost] = []
    arrivals: list[int] = []  # mails that came to the receiver in each `ARRIVALS_S` since the start
    versions: dict[str, str] = {}
    calibration: Calibration | None = None

    @property
    def rate(self) -> float:
        """Mails a second."""
        return self.figures[RATE]

    @property
    def cpu_us(self) -> float:
        """Processor time of all that took part, for a mail."""
        return sum(cost.cpu_us_per_mail for cost in self.costs)


ARRIVALS_S = 0.5

Round = dict[str, Measurement]  # those that took turns, by name, in their order
Pair = tuple[str, str]  # which of them, in times of which


class Goal(Struct, frozen=True):
    """What a figure is to come to."""

    sign: Literal["≥", "≤"]
    value: float

    def met(self, figure: float) -> bool:
        """Whether it does."""
        return figure >= self.value if self.sign == "≥" else figure <= self.value


class Finding(Struct, frozen=True, kw_only=True):
    """What one case found."""

    case: str
    what: str  # in a sentence
    plan: Plan
    took_s: float  # with starting and stopping
    rounds: list[Round]
    medians: dict[str, dict[str, float]]  # over the rounds, by name and figure
    ratios: dict[str, float]  # medians of the rounds' own ratios
    goals: dict[str, Goal] = {}  # by the name that a figure, a ratio or a process has in the tables
    senders: dict[str, int] = {}  # of those that differ in them
    settings: dict[str, dict[str, str]] = {}  # of the peers, beyond their defaults
    notes: list[str] = []  # what was not measured, and why


class Report(Struct, frozen=True, kw_only=True):
    """The JSON file."""

    time: str
    machine: Machine
    findings: list[Finding]
    failures: dict[str, str] = {}  # cases that could not be measured, and why


def ratio_name(pair: Pair) -> str:
    """As it stands in tables."""
    return " / ".join(pair)


def ratio_of(measured: Round, pair: Pair) -> float:
    """How many times as fast the one was."""
    return measured[pair[0]].rate / measured[pair[1]].rate


def medians_of(rounds: Sequence[Round]) -> dict[str, dict[str, float]]:
    """What the rounds come to."""
    return {name: median_of_each([each[name].figures for each in rounds]) for name in rounds[0]}


def median_of_each(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each figure of several runs."""
    return {name: median(each[name] for each in figures) for name in figures[0]}


def in_loops(measurement: Measurement) -> dict[str, float]:
    """Rates and processor time in times of the calibration loop's; nothing where there was none."""
    loop = measurement.calibration
    if loop is None:
        return {}
    rates = {name: figure / loop.rate for name, figure in measurement.figures.items() if name.endswith(RATE)}
    return {**rates, CPU: measurement.cpu_us / loop.cpu_us}


def ratios_of(rounds: Sequence[Round], pairs: Sequence[Pair]) -> dict[str, float]:
    """The medians of the rounds' ratios: what slows a round down slows down both."""
    return {ratio_name(pair): median(ratio_of(each, pair) for each in rounds) for pair in pairs}


def median_costs(measurements: Sequence[Measurement]) -> list[Cost]:
    """Per process the medians over the measurements, in the order of the first one."""
    found: dict[str, list[Cost]] = {}
    for measurement in measurements:
        for cost in measurement.costs:
            found.setdefault(cost.process, []).append(cost)
    return [
        Cost(
            process=process,
            cpu_us_per_mail=median(cost.cpu_us_per_mail for cost in costs),
            peak_mib=median(cost.peak_mib for cost in costs),
            processes=max(cost.processes for cost in costs),
        )
        for process, costs in found.items()
    ]


def versions_of(rounds: Sequence[Mapping[str, Measurement]]) -> dict[str, str]:
    """Of all programs that took part."""
    return {
        name: version for each in rounds for measured in each.values() for name, version in measured.versions.items()
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The least of the values that so large a share of them does not exceed (nearest rank)."""
    return sorted(values)[ceil(share * len(values)) - 1]
