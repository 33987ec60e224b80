"""Processor time and memory of the processes that the benchmark has started (Linux, /proc)."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bench.results import Cost

_TICKS = os.sysconf("SC_CLK_TCK")
# proc(5): fields of /proc/PID/stat after the name, which may hold anything but ends with the last parenthesis
_PARENT, _TIMES = 1, slice(11, 15)  # utime, stime, and those of the children that have ended and were waited for
_IDLE = slice(3, 5)  # idle and iowait in the first line of /proc/stat
_BUSY = slice(0, 8)  # the rest up to `steal`: guest times are contained in the user's

NOTING_SINK = "noting-sink"  # our own program gives itself this name (`call_itself`)
_BY_NAME = {
    "beam.smp": "broker",
    "smtp-sink": "sink",
    NOTING_SINK: "sink",
    "nsd": "name server",
}


class Process(NamedTuple):
    """One process now."""

    pid: int
    parent: int
    name: str
    cpu_s: float  # its own and that of its children that have ended
    peak_mib: float


Label = Callable[[Process], str | None]  # the name under which a process is counted; None: it is not


def label_of(process: Process) -> str | None:
    """That of what runs beside the system that is measured: the benchmark itself, the servers it needs."""
    if process.pid == os.getpid():
        return "client"
    return _BY_NAME.get(process.name.partition(":")[0])  # "nsd: server 1"


def call_itself(name: str) -> None:
    """Give this process a name by which it is counted, of 15 characters at most (proc(5), comm)."""
    Path("/proc/self/comm").write_text(name)


class Meter:
    """Counts from its making on what this process and all that it started spend."""

    def __init__(self, label: Label) -> None:
        self._label = label
        members = family()
        self._before = _cpu_by_label(members, label)
        self._ours_before = _cpu_of(members)
        self._machine_before = _machine_cpu_s()
        self._started = time.monotonic()

    def costs(self, mails: int) -> list[Cost]:
        """What was spent since, per label, for each of so many mails."""
        found: dict[str, list[Process]] = {}
        for process in family():
            if label := self._label(process):
                found.setdefault(label, []).append(process)
        return [
            Cost(
                process=label,
                cpu_us_per_mail=(_cpu_of(members) - self._before.get(label, 0.0)) / mails * 1e6,
                peak_mib=sum(each.peak_mib for each in members),
                processes=len(members),
            )
            for label, members in sorted(found.items())
        ]

    def others(self) -> float:
        """The share of the machine's processor time since then that went to the kernel's threads and to strangers."""
        ours = _cpu_of(family()) - self._ours_before
        spent = _machine_cpu_s() - self._machine_before
        return max(0.0, (spent - ours) / ((time.monotonic() - self._started) * (os.cpu_count() or 1)))


def family() -> list[Process]:
    """This process and all its descendants."""
    processes = [process for entry in Path("/proc").glob("[0-9]*") if (process := _read(entry)) is not None]
    members = {os.getpid()}
    # Parents need not have smaller numbers than their children: go on until nobody new is found.
    while new := {process.pid for process in processes if process.parent in members} - members:
        members |= new
    return [process for process in processes if process.pid in members]


def _read(entry: Path) -> Process | None:
    with suppress(OSError):  # gone by now
        head, _, tail = (entry / "stat").read_text().rpartition(")")
        fields = tail.split()
        cpu_s = sum(map(int, fields[_TIMES])) / _TICKS
        return Process(int(entry.name), int(fields[_PARENT]), head.partition("(")[2], cpu_s, _peak_mib(entry))
    return None


def _peak_mib(entry: Path) -> float:
    for line in (entry / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0  # a kernel thread, or one that has ended and was not waited for


def _cpu_by_label(processes: Sequence[Process], label: Label) -> dict[str, float]:
    spent: dict[str, float] = {}
    for process in processes:
        if name := label(process):
            spent[name] = spent.get(name, 0.0) + process.cpu_s
    return spent


def _cpu_of(processes: Sequence[Process]) -> float:
    return sum(process.cpu_s for process in processes)


def _machine_cpu_s() -> float:
    times = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(times[_BUSY]) - sum(times[_IDLE])) / _TICKS
