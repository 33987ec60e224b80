"""The pipeline that the demo uses: the one that runs in the home, else one of its own that ends with it."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.child import python_path
from cli.failures import CommandFailed
from cli.guarded import GuardedProcess
from cli.home import Home, RunFile
from cli.output import plain, remark

_START_TIME_S = 120.0
_STOP_TIME_S = 60.0
_POLL_S = 0.1
# The private one is private: it uses nobody's broker, store or home.
_NOT_ITS_OWN = ("PILLARBOX_AMQP_URL", "PILLARBOX_STORE_URL", "PILLARBOX_HOME")


@contextmanager
def pipeline(home: Home) -> Iterator[tuple[Home, RunFile]]:
    """A running pipeline. Raises CommandFailed when the private one does not start."""
    if (run := home.running()) is not None:
        if not run.ready:
            run = _wait(home, None, Path())
        remark(f"using the pipeline that runs in {plain(str(home.path))}")
        yield home, run
        return
    remark(f"no `pillarbox up` runs in {plain(str(home.path))}: starting a private pipeline for the demo")
    folder = Path(tempfile.mkdtemp(prefix="pillarbox-demo-"))
    try:
        with _private_one(folder) as run:
            yield Home(folder), run
    except CommandFailed:
        remark(f"its logs are kept in {folder}")
        raise
    except BaseException:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


@contextmanager
def _private_one(folder: Path) -> Iterator[RunFile]:
    said = folder / "up.out"
    with said.open("wb") as output:
        command = [sys.executable, "-P", "-m", "cli", "up", "--home", str(folder)]
        process = GuardedProcess(command, env=_environment(), output=output)
    try:
        yield _wait(Home(folder), process, said)
    finally:
        remark("stopping the private pipeline")
        process.stop(_STOP_TIME_S)


def _environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_ITS_OWN}
    return {**inherited, "PYTHONPATH": python_path()}


def _wait(home: Home, process: GuardedProcess | None, said: Path) -> RunFile:
    deadline = time.monotonic() + _START_TIME_S
    while (run := home.running()) is None or not run.ready:
        if process is not None and process.exit_code is not None:
            lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise CommandFailed(f"the private pipeline did not start: {lines[-1] if lines else 'it said nothing'}")
        if time.monotonic() > deadline:
            raise CommandFailed(f"the pipeline in {home.path} is not ready after {_START_TIME_S:g} s")
        time.sleep(_POLL_S)
    return run
