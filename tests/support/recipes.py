"""The recipes of docs/recipes, taken from their pages as they stand there.

A fence names its file behind the language (```python shop.py); the one of `sh run` runs them.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "recipes"
_FENCE = re.compile(r"^```(\w+) (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_RUN = "run"


class Recipe:
    """One page."""

    def __init__(self, name: str) -> None:
        self.page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
        fences = _FENCE.findall(self.page)
        self.files = {file: text for _, file, text in fences if file != _RUN}
        self.commands = "".join(text for language, file, text in fences if (language, file) == ("sh", _RUN))

    def lay_out(self, folder: Path) -> None:
        """Write its files there."""
        for file, text in self.files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def run(self, folder: Path, variables: Mapping[str, str], arrived: Callable[[], object]) -> str:
        """Run it in that folder; what it prints, when its mail has `arrived`. What it leaves running is ended."""
        self.lay_out(folder)
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        output = folder / "output"
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["sh", "-eu", "-c", self.commands],
                cwd=folder,
                env={**os.environ, **variables, "PATH": programs},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(timeout=100)
                said = output.read_text(encoding="utf-8", errors="replace")
                assert code == 0, said
                arrived()
            finally:
                _end(process)
        return output.read_text(encoding="utf-8", errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
