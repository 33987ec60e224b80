"""A private RabbitMQ node in a folder of its own: loopback only, its own ports, user and epmd; never the system's.

The node ends with the process that started it, even by `kill -9`; its data stay, and the next start in the same folder
finds them. The folder is locked while a process runs the node. Should a node without its process be found there all
the same, it is stopped, not adopted: who starts a node is the one who stops it.
"""

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from cli.amqp_login import LoginRefused, log_in
from cli.guarded import GuardedProcess
from cli.node_folder import (
    MARK,
    NODE_NAME,
    USER,
    Identity,
    choose_identity,
    environment,
    make_private,
    open_private,
    write_files,
)
from cli.ports import is_free
from cli.rights import Role

DEFAULT_VHOST = "pillarbox"
_DEBIAN = Path("/usr/lib/rabbitmq/bin")  # the rabbitmq-server in /usr/sbin insists on the system's folders and user
_POLL_S = 0.05
_LOG_LINES = 12


class NodeFailed(Exception):
    """The node is not there or does not run; the message says why, with the end of its log."""


class PrivateNode:
    """One node and its folder. Start, stop, kill and restart it; everything is synchronous."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        vhosts: Sequence[str] = (DEFAULT_VHOST,),
        scripts: Path | None = None,
    ) -> None:
        """Nothing happens before `start`. `port`: for AMQP, else a free one that stays the same over restarts.

        `scripts`: of the release to run, else of the one that `find_rabbitmq` finds.
        """
        self.folder = folder.resolve()
        self._port = port
        self._vhosts = tuple(vhosts)
        self._scripts = scripts
        self._node: GuardedProcess | None = None
        self._epmd: GuardedProcess | None = None
        self._lock: IO[str] | None = None
        self._identity: Identity | None = None

    @property
    def identity(self) -> Identity:
        """Ports and secrets, known once the node was started."""
        assert self._identity is not None, "the node was never started"
        return self._identity

    @property
    def name(self) -> str:
        """The Erlang node's name. The data belong to it."""
        return NODE_NAME

    @property
    def log_file(self) -> Path:
        """What the broker says of itself."""
        return self.folder / "log" / f"{self.name}.log"

    @property
    def amqp_url(self) -> str:
        """Where clients connect, with the password."""
        return self.url(self._vhosts[0])

    def url(self, vhost: str) -> str:
        """The same for another of its virtual hosts."""
        return self._url(USER, self.identity.password, vhost)

    def role_url(self, role: Role) -> str:
        """Where the user of a role connects, with its password."""
        return self._url(role.user, self.identity.passwords[role], self._vhosts[0])

    def _url(self, user: str, password: str, vhost: str) -> str:
        return f"amqp://{user}:{password}@127.0.0.1:{self.identity.port}/{vhost}"

    @property
    def running(self) -> bool:
        """Whether the node that this object started is still there."""
        return self._node is not None and self._node.exit_code is None

    def start(self, timeout: float = 60) -> None:
        """Start the node and wait until it opens a connection. Raises NodeFailed with the end of its log.

        `timeout` in seconds; 3 to 6 are usual on a small machine.
        """
        scripts = self._scripts or find_rabbitmq()
        if scripts is None:
            raise NodeFailed("no RabbitMQ is installed (Debian: apt-get install rabbitmq-server)")
        deadline = time.monotonic() + timeout
        make_private(self.folder)
        self._take_lock()
        try:
            _end_leftovers(self.folder)
            if self._port is not None and not is_free(self._port):
                raise NodeFailed(f"another program listens on port {self._port}")
            self._identity = self._choose_identity()
            self._write_files(scripts)
            self._run(self._environment(scripts), deadline)
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout: float = 30) -> None:
        """Let the node end by itself, and kill it when it has not after `timeout` seconds."""
        if self._node is not None:
            self._node.stop(timeout)
        self._let_go()

    def kill(self) -> None:
        """End the node with SIGKILL, as a crash would."""
        if self._node is not None:
            self._node.kill()
        self._let_go()

    def restart(self, timeout: float = 60) -> None:
        """Stop and start, on the same ports with the same data."""
        self.stop()
        self.start(timeout)

    def _choose_identity(self) -> Identity:
        return choose_identity(self.folder, self._port)

    def _write_files(self, scripts: Path) -> None:
        write_files(self.folder, self.identity, self._vhosts, scripts)

    def _environment(self, scripts: Path) -> dict[str, str]:
        return environment(self.folder, self.identity, scripts)

    def _let_go(self) -> None:
        if self._epmd is not None:
            self._epmd.stop()
        if self._node is not None:
            # A killed node holds its ports until the system has cleared it away, and the next start wants them.
            _wait_until(lambda: not _processes_of(self.folder) and is_free(self.identity.port), patience_s=5)
        self._node = self._epmd = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> None:
        if self._lock is not None:
            raise NodeFailed(f"the node in {self.folder} runs already")
        lock = open_private(self.folder / "lock", "a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip()
            lock.close()
            raise NodeFailed(f"process {owner} runs the node in {self.folder}; stop it first") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _run(self, variables: dict[str, str], deadline: float) -> None:
        with open_private(self.folder / "log" / "console.log", "w") as output:
            self._run_epmd(variables, output, deadline)
            server = f"{variables['RABBITMQ_SCRIPTS_DIR']}/rabbitmq-server"
            self._node = GuardedProcess([server], env=variables, cwd=self.folder, output=output)
            self._await("RabbitMQ", self._node, self._lets_us_in, deadline)

    def _run_epmd(self, variables: dict[str, str], output: IO[str], deadline: float) -> None:
        # In the foreground: an epmd that the node starts by itself becomes a daemon and outlives it.
        epmd = [str(find_epmd(variables["PATH"])), "-port", variables["ERL_EPMD_PORT"], "-address", "127.0.0.1"]
        self._epmd = GuardedProcess(epmd, env=variables, cwd=self.folder, output=output)
        self._await("epmd", self._epmd, lambda: not is_free(self.identity.epmd_port), deadline)

    def _await(self, what: str, process: GuardedProcess, ready: Callable[[], bool], deadline: float) -> None:
        while not ready():
            if process.exit_code is not None:
                raise NodeFailed(f"{what} ended while it started\n{self._end_of_log()}")
            if time.monotonic() > deadline:
                raise NodeFailed(f"{what} did not answer in time\n{self._end_of_log()}")
            time.sleep(_POLL_S)

    def _lets_us_in(self) -> bool:
        try:
            log_in(self.identity.port, USER, self.identity.password, self._vhosts[0])
        except OSError:
            return False
        except LoginRefused as error:
            raise NodeFailed(f"the node refuses its own user: {error}\n{self._end_of_log()}") from error
        return True

    def _end_of_log(self) -> str:
        lines: list[str] = []
        for file in (self.log_file, self.folder / "log" / "console.log"):
            with suppress(FileNotFoundError):
                lines += file.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join(f"  {line}" for line in lines if line.strip())


def find_rabbitmq() -> Path | None:
    """The folder with RabbitMQ's scripts, or None where no RabbitMQ is installed.

    `PILLARBOX_RABBITMQ` wins, the `sbin` or `bin` of an unpacked release. Raises NodeFailed when that names none.
    """
    named = os.environ.get("PILLARBOX_RABBITMQ")
    if named:
        if not (Path(named) / "rabbitmq-server").exists():
            raise NodeFailed(f"PILLARBOX_RABBITMQ: there is no rabbitmq-server in {named}")
        return Path(named).resolve()
    if (_DEBIAN / "rabbitmq-server").exists():
        return _DEBIAN
    found = shutil.which("rabbitmq-server")
    return Path(found).resolve().parent if found else None


def find_epmd(path: str) -> Path:
    """Erlang's port mapper, on the path or beside `erl`."""
    erl = shutil.which("erl", path=path)
    beside_erl = str(Path(erl).resolve().parent) if erl else ""
    found = shutil.which("epmd", path=path) or shutil.which("epmd", path=beside_erl)
    if found is None:
        raise NodeFailed("Erlang, which RabbitMQ needs, is not installed: there is no epmd on the path")
    return Path(found)


def _end_leftovers(folder: Path) -> None:
    """End what a node in this folder left running: let it go down properly, then kill."""
    for number, patience_s in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        for process in _processes_of(folder):
            with suppress(ProcessLookupError):
                os.kill(process, number)
        _wait_until(lambda: not _processes_of(folder), patience_s)


def _processes_of(folder: Path) -> list[int]:
    """The processes whose environment carries the mark of a node in this folder (Linux)."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone by now, or not ours to read
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def _wait_until(condition: Callable[[], bool], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(_POLL_S)
