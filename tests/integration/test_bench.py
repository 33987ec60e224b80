"""A run of the benchmarks, as small as can be: it measures, writes down what it found, and leaves nothing behind."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Postfix can be started by root alone")


def _left_over(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith("pillarbox-")]


def _processes_in(folder: Path) -> list[str]:
    mark, found = str(folder).encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                found.append((entry / "comm").read_text().strip())
        except OSError:
            continue
    return found


def test_both_systems_are_measured_and_everything_is_stopped() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postfix's daemons run as a user of their own
        options = ["--mails", "200", "--rounds", "1", "--senders", "1", "--json", str(folder / "found.json")]

        done = subprocess.run(
            [sys.executable, "-m", "bench", "relay-4k", *options],
            env={**os.environ, "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            timeout=100,
        )

        assert done.returncode == 0, done.stderr
        [finding] = json.loads((folder / "found.json").read_bytes())["findings"]
        assert finding["case"] == "relay-4k"
        assert finding["medians"]["Pillarbox"]["mails/s"] > 0
        assert finding["medians"]["Postfix"]["mails/s"] > 0
        ours = {cost["process"] for cost in finding["rounds"][0]["Pillarbox"]["costs"]}
        assert ours == {"broker", "client", "resolver", "scheduler", "sender", "sink"}
        assert "Pillarbox / Postfix" in done.stdout
        assert _left_over(folder) == []
        assert _processes_in(folder) == []
