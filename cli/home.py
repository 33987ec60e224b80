"""The folder of a private pipeline, and what a running `pillarbox up` writes there for the other commands."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cli.failures import CommandFailed
from shared.environment import amqp_url


class InboxPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where the test inbox listens and keeps its mail."""

    host: str
    port: int
    folder: str


class GatewayPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where programs submit over SMTP, and as whom."""

    host: str
    port: int
    user: str
    password_file: str


class ConsolePlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where the console listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """What to type into a browser."""
        return f"http://{self.host}:{self.port}"


class RunningWorker(msgspec.Struct, frozen=True, kw_only=True):
    """One child process of `pillarbox up`."""

    pid: int
    metrics_port: int | None = None
    log: str


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json`: what runs in a home. Only its owner may read it: the URLs hold passwords."""

    pid: int  # of `pillarbox up`
    ready: bool  # every worker has said so, and the settings are in force
    amqp_url: str  # the operator's
    store_url: str
    program_urls: dict[str, str] = {}  # of the users for programs, by role; none where the broker is another's
    inbox: InboxPlace
    gateway: GatewayPlace
    console: ConsolePlace
    workers: dict[str, RunningWorker]  # "scheduler", "resolver", "sender-1", …, "gateway", "console", "inbox"


class Home:
    """The folder, by default `.pillarbox` where the command runs."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.run_file = self.path / "run.json"
        self.socket = self.path / "up.sock"
        self.log_folder = self.path / "log"
        self.inbox_folder = self.path / "inbox"
        self.journal_folder = self.path / "journal"
        self.inbox_port_file = self.path / "inbox.port"
        self.gateway_port_file = self.path / "gateway.port"
        self.accounts_file = self.path / "accounts.toml"
        self.account_password_file = self.path / "gateway.password"
        self.console_port_file = self.path / "console.port"
        self.console_folder = self.path / "console"
        self.broker_folder = self.path / "broker"
        self._lock_file = self.path / "up.lock"  # held by the one `pillarbox up`
        self._run_lock_file = self.path / "run.lock"  # held while `run.json` is of the one that holds the other

    @property
    def store_url(self) -> str:
        """The mail store when nothing else is said."""
        return f"sqlite:///{self.path / 'mail.db'}"

    def create(self) -> None:
        """Make the folders; mail and passwords lie there, so they are their owner's alone."""
        for folder in (self.path, self.log_folder, self.inbox_folder, self.console_folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the one `pillarbox up` of this home. Raises CommandFailed when there is another."""
        with self._lock_file.open("a") as lock, self._run_lock_file.open("a") as run_lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CommandFailed(self._taken()) from None
            self.forget_run()  # what a killed one has left would be taken for this one's
            # A command that looks whether somebody runs here has it for an instant.
            fcntl.flock(run_lock, fcntl.LOCK_EX)
            yield

    def _taken(self) -> str:
        run = self._read_run()
        who = f" (process {run.pid})" if run else ""
        return f"a `pillarbox up` already runs in {self.path}{who}; stop it, or take another --home"

    def running(self) -> RunFile | None:
        """What runs here now; None for a file that a killed `pillarbox up` left behind."""
        # In this order: what was read before could be of one that is dead by now, and the lock of the one that follows.
        return self._read_run() if self._is_locked() else None

    def _is_locked(self) -> bool:
        try:
            with self._run_lock_file.open("rb") as lock:  # nobody who only looks makes the file
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # nobody has been here, or it is somebody else's home
            return False
        return False

    def _read_run(self) -> RunFile | None:
        try:
            return msgspec.json.decode(self.run_file.read_bytes(), type=RunFile)
        except (OSError, msgspec.DecodeError):
            return None

    def write_run(self, run: RunFile) -> None:
        """Replace `run.json` in one step, so that no reader sees half of it."""
        written = self.path / ".run.json"
        with open(written, "wb", opener=_private) as file:
            file.write(msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")
        written.replace(self.run_file)

    def forget_run(self) -> None:
        """Nothing runs here any more."""
        for file in (self.run_file, self.socket):
            file.unlink(missing_ok=True)


def find_broker(home: Home) -> str:
    """The broker's URL: of the pipeline that runs in this home, else what the environment says."""
    run = home.running()
    return run.amqp_url if run else amqp_url()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
