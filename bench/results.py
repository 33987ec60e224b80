"""What a benchmark finds, as it goes into the table and the JSON file."""

from collections.abc import Sequence
from statistics import median

from msgspec import Struct


class Failed(Exception):
    """A run that does not count; the message says what went wrong."""


class Plan(Struct, frozen=True, kw_only=True):
    """How much is measured."""

    mails: int
    rounds: int
    senders: int


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


class Measurement(Struct, frozen=True, kw_only=True):
    """One system, once."""

    mails: int
    seconds: float
    costs: list[Cost]
    others: float  # share of the machine's processor time that went elsewhere meanwhile
    versions: dict[str, str] = {}

    @property
    def rate(self) -> float:
        """Mails a second."""
        return self.mails / self.seconds


class Round(Struct, frozen=True):
    """Both systems, one after the other."""

    pillarbox: Measurement
    postfix: Measurement

    @property
    def ratio(self) -> float:
        """How many times as fast as the peer."""
        return self.pillarbox.rate / self.postfix.rate


class Medians(Struct, frozen=True, kw_only=True):
    """The medians over the rounds: mails a second, and of the rounds' ratios."""

    pillarbox: float
    postfix: float
    ratio: float


class Finding(Struct, frozen=True, kw_only=True):
    """What one case found."""

    case: str
    what: str  # in a sentence
    plan: Plan
    rounds: list[Round]
    medians: Medians
    postfix_settings: dict[str, str]


class Report(Struct, frozen=True, kw_only=True):
    """The JSON file."""

    time: str
    machine: Machine
    findings: list[Finding]


def medians_of(rounds: Sequence[Round]) -> Medians:
    """What the rounds come to."""
    return Medians(
        pillarbox=median(each.pillarbox.rate for each in rounds),
        postfix=median(each.postfix.rate for each in rounds),
        ratio=median(each.ratio for each in rounds),
    )


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
