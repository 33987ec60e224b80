"""The machine on which a benchmark runs."""

import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.results import Failed, Machine

_SYNCS = 50
_BLOCK = 4096


def describe() -> Machine:
    """What of it matters for the results."""
    folder = Path(tempfile.gettempdir())
    return Machine(
        processor=_line_of("/proc/cpuinfo", "model name") or platform.machine(),
        cores=os.cpu_count() or 1,
        memory_mib=int(_line_of("/proc/meminfo", "MemTotal").split()[0]) // 1024,
        kernel=platform.release(),
        file_system=_file_system(folder),
        sync_ms=round(_sync_ms(folder), 2),
        python=platform.python_version(),
        postfix=postfix_version(),
        load=round(os.getloadavg()[0], 2),
    )


def program(name: str) -> str:
    """The path of one of Postfix's programs. Raises Failed."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise Failed(f"there is no {name}: `make bench` installs Postfix, which has it")
    return found


def postfix_version() -> str:
    """Of the Postfix that is installed. Raises Failed."""
    asked = subprocess.run(
        [program("postconf"), "-d", "-h", "mail_version"], check=True, capture_output=True, text=True
    )
    return asked.stdout.strip()


def _line_of(file: str, key: str) -> str:
    for line in Path(file).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _file_system(folder: Path) -> str:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [mount for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2]


def _sync_ms(folder: Path) -> float:
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(_SYNCS):
            started = time.perf_counter()
            file.write(os.urandom(_BLOCK))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return median(times) * 1000
