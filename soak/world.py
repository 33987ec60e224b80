"""What a soak runs on: broker, store, name server, sink and workers, all private; and the one who publishes."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pika
import sqlalchemy as sa

from cli.guarded import GuardedProcess
from cli.node import PrivateNode
from shared.mail_store import State, history, mails, open_engine, recipients
from soak.crew import Crew
from soak.ledger import Arrival, Ending
from soak.sink import Record
from tests.support.client import Client
from tests.support.dns import Nsd
from tests.support.pipeline import declare, direct_by, merged
from tests.support.ports import free_port, wait_for_port
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import sync_queue_registry, temporary_node

_ROOT = Path(__file__).parents[1]
_SITES = {"mx1": "127.0.0.11", "mx2": "127.0.0.12"}
_ZONES = {
    f"d{number}.example": f"@ MX 10 {host}\n@ MX 20 {other}\n{host} A {_SITES[host]}\n{other} A {_SITES[other]}"
    for number, (host, other) in enumerate((("mx1", "mx2"), ("mx2", "mx1"), ("mx1", "mx2")))
}
_SETTINGS = {
    "bounces": "events",  # what a refused mail says of itself would be mail nobody has published
    "retry": {
        "schedule": ["1s", "2s", "4s", "8s"],
        "probe_schedule": ["1s", "2s", "4s", "8s"],
        "jitter": 0.2,
        "give_up": "2h",
    },
    "suppression": {"automatic": False},  # a mailbox that is missing once is there for the next mail
    "limits": {"connections": 2},
}
_DISK_MIB = 256  # of the store's disk, when it is to run full


class Publisher:
    """Publishes numbered mails at a steady rate, in a thread; each confirmed id is written to a file at once."""

    def __init__(self, url: str, file: Path, rate: float, body: bytes) -> None:
        """`rate` in mails a second."""
        self.published: list[str] = []
        self.confirmed: dict[str, float] = {}
        self._url = url
        self._file = file
        self._rate = rate
        self._body = body
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def __enter__(self) -> "Publisher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        client = Client(self._url, listens=False, patience_s=600)
        begun, number = time.monotonic(), 0
        with self._file.open("a", encoding="ascii") as file:
            while not self._ends.is_set():
                if number > (time.monotonic() - begun) * self._rate:
                    self._ends.wait(0.02)
                    continue
                number += 1
                id = f"m{number}"
                self.published.append(id)
                headers = {"mail-from": "robot@sender.example", "rcpt-to": f"{id}@d{number % len(_ZONES)}.example"}
                client.submit(self._body, id, headers=headers)
                self.confirmed[id] = time.time()
                file.write(f"{time.time():.3f} {id}\n")
                file.flush()
        client.close()


class World:
    """All of it. Harms reach for its parts."""

    def __init__(
        self, folder: Path, node: PrivateNode, dns: Nsd, postgres: PrivatePostgres | None, store_url: str, seed: int
    ) -> None:
        self.folder = folder
        self.node = node
        self.dns = dns
        self.postgres = postgres
        self.store_url = store_url
        self.record = folder / "sink.record"
        self.clock_file = folder / "clock"
        self._settings = direct_by(dns.server, free_port(), **_SETTINGS)
        self._seed = seed
        self.crew = Crew(folder, self._environment(), {"scheduler": 1, "resolver": 1, "sender": 2})

    @contextmanager
    def running(self) -> Iterator["World"]:
        """Sink and workers, for as long as the block lasts."""
        self.clock_file.write_text("+0")
        declare(self.node.amqp_url)
        sync_queue_registry(self.node)
        self.change_settings()
        sink = GuardedProcess(self._sink_command(), cwd=_ROOT)
        try:
            wait_for_port(self._mx_port, address=_SITES["mx2"])
            with self.crew:
                yield self
        finally:
            sink.kill()

    def change_settings(self, **changes: object) -> None:
        """Publish the settings, with these changes from now on."""
        self._settings = merged(self._settings, changes)
        client = Client(self.node.amqp_url, listens=False)
        body = json.dumps({"settings": self._settings, "author": "soak"}).encode()
        client.publish("pillarbox.settings", body, pika.BasicProperties(content_type="application/json"))
        client.close()

    @contextmanager
    def store_locked(self) -> Iterator[None]:
        """Nobody else can write to the store."""
        engine = open_engine(self.store_url)
        with engine.begin() as connection:  # on SQLite that is enough
            if self.postgres is not None:
                connection.exec_driver_sql("LOCK TABLE recipients IN EXCLUSIVE MODE")
            yield
        engine.dispose()

    @contextmanager
    def disk_full(self) -> Iterator[None]:
        """The disk of the store has no room left, nor has the write-ahead log within itself."""
        with contextlib.closing(sqlite3.connect(self.folder / "store" / "mail.db", timeout=30)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ballast = self.folder / "store" / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 65536)
            except OSError:
                pass
        try:
            yield
        finally:
            ballast.unlink()

    # -- the books

    def arrivals(self) -> list[Arrival]:
        """What the sink has taken."""
        return [
            Arrival(each.time, each.id, each.connection, each.fate == "taken")
            for each in self._records()
            if each.fate.startswith("taken")
        ]

    def refused(self) -> frozenset[str]:
        """What the sink has refused for good."""
        return frozenset(each.id for each in self._records() if each.fate == "refused")

    def endings(self) -> dict[str, Ending]:
        """Where the store has each mail."""
        engine = open_engine(self.store_url)
        with engine.begin() as connection:
            doubted = set(
                connection.execute(sa.select(history.c.mail).where(history.c.detail.like("in doubt%"))).scalars()
            )
            rows = connection.execute(
                sa.select(mails.c.no, mails.c.id, recipients.c.state, recipients.c.in_doubt).join_from(
                    recipients, mails, mails.c.no == recipients.c.mail
                )
            ).all()
        engine.dispose()
        return {row.id: Ending(State(row.state), row.in_doubt or row.no in doubted) for row in rows}

    def ended(self) -> int:
        """How many mails have a final state."""
        engine = open_engine(self.store_url)
        with engine.begin() as connection:
            count = connection.execute(
                sa.select(sa.func.count()).select_from(recipients).where(recipients.c.wake.is_(None))
            ).scalar_one()
        engine.dispose()
        return count

    def _records(self) -> list[Record]:
        lines = self.record.read_bytes().splitlines() if self.record.exists() else []
        return [msgspec.json.decode(line, type=Record) for line in lines]

    @property
    def _mx_port(self) -> int:
        return int(self._settings["dns"]["mx_port"])

    def _sink_command(self) -> list[str]:
        where = ["--addresses", ",".join(_SITES.values()), "--port", str(self._mx_port)]
        return [
            sys.executable,
            "-m",
            "soak.sink",
            *where,
            "--record",
            str(self.record),
            "--seed",
            str(self._seed),
        ]

    def _environment(self) -> dict[str, str]:
        urls = {"PILLARBOX_AMQP_URL": self.node.amqp_url, "PILLARBOX_STORE_URL": self.store_url}
        library = find_faketime()
        if library is None:
            return urls
        return {
            **urls,
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock_file),
            "FAKETIME_CACHE_DURATION": "1",  # without, each look at the clock reads the file
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@contextmanager
def world(folder: Path, store: str, seed: int) -> Iterator[World]:
    """A world with its store on "sqlite" (on a small disk of its own where we may mount one) or "postgres"."""
    with ExitStack() as stack:
        node = stack.enter_context(temporary_node())
        dns = stack.enter_context(Nsd(_ZONES))
        postgres = stack.enter_context(PrivatePostgres()) if store == "postgres" else None
        store_folder = folder / "store"
        store_folder.mkdir()
        stack.enter_context(_small_disk(store_folder))
        url = postgres.new_database() if postgres is not None else f"sqlite:///{store_folder}/mail.db"
        yield stack.enter_context(World(folder, node, dns, postgres, url, seed).running())


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def find_faketime() -> Path | None:
    """libfaketime, where it is installed (Debian: libfaketime)."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
