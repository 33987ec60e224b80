"""The second peer: a private Haraka (Node.js) that queues to disk what smtp-source brings and relays it on.

`make bench` installs it from npm into .cache/haraka, where there is an npm.
"""

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Self

from bench import peer
from bench.case import Run
from bench.processes import Process, label_of
from bench.results import Failed, Measurement, Plan
from bench.sink import Sink
from cli.guarded import GuardedProcess
from tests.support.ports import free_port, wait_for_port

_MODULES = Path(__file__).resolve().parent.parent / ".cache" / "haraka" / "node_modules"
_PROGRAM = _MODULES / ".bin" / "haraka"
_STARTS_WITHIN_S = 60.0

# All else is its default, but that it listens on loopback alone. It syncs what it queues by itself.
SETTINGS = {
    "smtp.ini: nodes": "cpus",  # a process for each core
    "outbound.ini: concurrency_max": "20",  # connections out of each process; a new one for each mail is all it knows
    "outbound.ini: enable_tls": "false",
    "outbound.ini: local_mx_ok": "true",
    "log.ini: level": "notice",  # a line for each step of each mail
}

# Whoever connects may send; everything goes to one server.
_PLUGIN = """\
'use strict'
exports.hook_connect = (next, connection) => { connection.relaying = true; next() }
exports.hook_rcpt = (next) => next(OK)
exports.hook_get_mx = (next) => next(OK, { exchange: '127.0.0.1', port: %d, priority: 0 })
"""


def missing() -> str:
    """Why it can not run here."""
    return "" if _version() else f"it is not in {_MODULES}, or does not start: `make bench` installs it if npm can"


def relaying(content: bytes) -> Run:
    """All to one sink."""

    def run(plan: Plan) -> Measurement:
        with Sink() as sink, PrivateHaraka(sink.port) as server:
            return peer.measure(plan, server, sink, content)

    return run


class PrivateHaraka:
    """One instance on loopback, in a folder that goes away with it; a context manager and a peer."""

    def __init__(self, to_port: int) -> None:
        self.port = free_port()
        self._to_port = to_port
        self._folder = Path(tempfile.mkdtemp(prefix="pillarbox-haraka-"))
        self._process: GuardedProcess | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()  # asked to stop, it waits for its connections
        shutil.rmtree(self._folder, ignore_errors=True)

    def label(self, process: Process) -> str | None:
        """Its processes have the name of their interpreter."""
        return "haraka" if process.name == "node" else label_of(process)

    def versions(self) -> dict[str, str]:
        """Of Haraka."""
        return {"Haraka": _version()}

    def has_removed(self, mails: int) -> bool:
        """Its queue has a file for each mail that has not left; all were there."""
        return not any((self._folder / "queue").iterdir())

    def _start(self) -> None:
        self._write_files()
        with (self._folder / "log").open("wb") as output:
            self._process = GuardedProcess([_PROGRAM, "-c", self._folder], cwd=self._folder, output=output)
        try:
            wait_for_port(self.port, _STARTS_WITHIN_S)
        except TimeoutError as error:
            raise Failed(f"Haraka does not start: {(self._folder / 'log').read_text(errors='replace')}") from error

    def _write_files(self) -> None:
        """Its own configuration with the settings, by file."""
        config = self._folder / "config"
        shutil.copytree(_MODULES / "Haraka" / "config", config)
        lines = {"smtp.ini": [f"listen=127.0.0.1:{self.port}"], "plugins": ["bench"], "me": ["relay.example"]}
        for setting, value in SETTINGS.items():
            file, _, name = setting.partition(": ")
            lines.setdefault(file, []).append(f"{name}={value}")
        for file, content in lines.items():
            (config / file).write_text("\n".join([*content, ""]))
        (self._folder / "plugins").mkdir()
        (self._folder / "plugins" / "bench.js").write_text(_PLUGIN % self._to_port)


@cache
def _version() -> str:
    """ "" where it does not run."""
    if not _PROGRAM.exists():
        return ""
    asked = subprocess.run([_PROGRAM, "--version"], capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    return asked.stdout.rpartition("Version: ")[2].strip() if asked.returncode == 0 else ""
