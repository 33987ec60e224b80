"""A private PostgreSQL cluster on loopback: no fsync, no password, gone after the tests."""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from cli.guarded import GuardedProcess
from tests.support.ports import free_port, wait_until

_OWNER = "pillarbox"


class PrivatePostgres:
    """One cluster; a context manager. `new_database` gives the URL of an empty database."""

    def __init__(self, *, survives_crashes: bool = False, folder: Path | None = None) -> None:
        """`survives_crashes`: what it has committed is there after a crash; it costs some time.

        `folder`: where its data go, if not into one of its own.
        """
        self.port = free_port()
        self._survives_crashes = survives_crashes
        self._folder = folder or Path(tempfile.mkdtemp(prefix="pillarbox-postgres-"))
        self._server: GuardedProcess | None = None
        self._numbers = itertools.count(1)

    def __enter__(self) -> "PrivatePostgres":
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def new_database(self, encoding: str = "UTF8") -> str:
        """Make an empty database; its URL in SQLAlchemy's form."""
        name = f"test{next(self._numbers)}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0".encode())
        return f"postgresql+psycopg://{_OWNER}@127.0.0.1:{self.port}/{name}"

    def _start(self) -> None:
        programs = find_postgres()
        user = _unprivileged_user()
        if user is not None:
            shutil.chown(self._folder, user)
        initdb = [
            str(programs / "initdb"),
            "-D",
            str(self._folder / "data"),
            "-U",
            _OWNER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        done = subprocess.run(
            initdb, user=user, extra_groups=[] if user else None, cwd=self._folder, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        self._launch(programs, user)

    def dump(self, url: str, file: Path) -> None:
        """Write a database of its own to a file, for `pg_restore`. Raises CalledProcessError."""
        plain = url.replace("+psycopg", "")
        subprocess.run([find_postgres() / "pg_dump", "--format=custom", f"--file={file}", plain], check=True)

    def as_text(self, url: str) -> bytes:
        """All that is in a database of its own, as SQL: octets are in hexadecimal. Raises CalledProcessError."""
        plain = url.replace("+psycopg", "")
        return subprocess.run([find_postgres() / "pg_dump", plain], check=True, capture_output=True).stdout

    def restart(self) -> None:
        """Stop it, without waiting for clients, and start it again."""
        assert self._server is not None
        self._server.stop()
        self._launch(find_postgres(), _unprivileged_user())

    def crash(self) -> None:
        """`kill -9` of a process that serves a client: the server drops all clients and recovers from its log."""
        with self._connect() as connection:
            row = connection.execute("SELECT pg_backend_pid()").fetchone()
            assert row is not None
            os.kill(int(str(row[0])), signal.SIGKILL)
            with contextlib.suppress(psycopg.OperationalError):
                connection.execute("SELECT 1")
        wait_until(self._answers, "PostgreSQL answers again", timeout=30)

    def start_again(self) -> None:
        """Start it if it has ended, as a service manager would."""
        assert self._server is not None
        if self._server.exit_code is not None:
            self._launch(find_postgres(), _unprivileged_user())

    def _launch(self, programs: Path, user: str | None) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            # Handed to the system, which outlives the server: that is enough where the machine stays up.
            "synchronous_commit": "on" if self._survives_crashes else "off",
        }
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        with (self._folder / "log").open("ab") as log:
            server = GuardedProcess(
                [programs / "postgres", "-D", self._folder / "data", *arguments],
                cwd=self._folder,
                user=user,
                output=log,
                stop_signal=signal.SIGINT,  # a fast shutdown, which does not wait for clients
            )
        self._server = server
        wait_until(lambda: server.exit_code is not None or self._answers(), "PostgreSQL answers", timeout=30)
        assert server.exit_code is None, (self._folder / "log").read_text()

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=_OWNER, dbname="postgres", autocommit=True, connect_timeout=5
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True


def find_postgres() -> Path:
    """The folder of the newest PostgreSQL server's programs."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if debian:
        return debian[-1]
    found = shutil.which("postgres")
    assert found is not None, "no PostgreSQL server is installed: `make test` installs it"
    return Path(found).resolve().parent


def _unprivileged_user() -> str | None:
    """Whom the server runs as, since it refuses to run as root; None: as whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    return "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"
