"""What a soak runs on: broker, store, name server, sink and workers, all private."""

import contextlib
import json
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Set
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

import msgspec
import pika
import sqlalchemy as sa

from cli.guarded import GuardedProcess
from cli.node import NodeFailed, PrivateNode
from cli.ports import is_free
from shared.mail_store.engine import open_engine
from shared.mail_store.states import State
from shared.mail_store.tables import history, mails, recipients
from soak.crew import Crew
from soak.ledger import Arrival, Ending, Ledger
from soak.sink import Record
from tests.support.client import Client
from tests.support.dns import Nsd
from tests.support.pipeline import declare, direct_by, merged
from tests.support.ports import free_port, wait_for_port, wait_until
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import sync_queue_registry, temporary_node
from tests.support.small_disk import filled, small_disk

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
_DISK_MIB = 1024  # of the store's disk, when it is to run full
_AT_A_TIME = 10_000  # rows read from the store
_PORT_FREE_WITHIN_S = 30.0
_STARTS = 3  # of a broker that does not come
DOMAINS = len(_ZONES)


class Need(Enum):
    """What some kinds of harm need, and not every world has."""

    SMALL_DISK = "a small disk for the store, which root alone can mount"
    FALSE_CLOCK = "libfaketime"
    POSTGRES = "PostgreSQL"


class World:
    """All of it. Harms reach for its parts."""

    def __init__(
        self,
        folder: Path,
        node: PrivateNode,
        dns: Nsd,
        postgres: PrivatePostgres | None,
        store_url: str,
        has: Set[Need],
        seed: int,
        schedulers: int,
    ) -> None:
        self.folder = folder
        self.node = node
        self.dns = dns
        self.postgres = postgres
        self.store_url = store_url
        self.has = has
        self.record = folder / "sink.record"
        self.clock_file = folder / "clock"
        self._settings = direct_by(dns.server, free_port(), **_SETTINGS)
        self._seed = seed
        self.fates: Counter[str] = Counter()  # tries by what the sink did
        self._read_up_to = 0
        self._sink: GuardedProcess | None = None
        self._sink_lock = threading.Lock()
        self.crew = Crew(folder, self._environment(), {"scheduler": schedulers, "resolver": 1, "sender": 2})

    @contextmanager
    def running(self) -> Iterator["World"]:
        """Sink and workers, for as long as the block lasts."""
        self.clock_file.write_text("+0")
        declare(self.node.amqp_url)
        sync_queue_registry(self.node)
        self.change_settings()
        with (self.folder / "sink.output").open("wb") as output:
            sink = self._sink = GuardedProcess(self._sink_command(), cwd=_ROOT, output=output)
        try:
            wait_for_port(self.mx[1], address=_SITES["mx2"])
            with self.crew:
                yield self
        finally:
            sink.kill()

    def check(self) -> None:
        """Raise RuntimeError when a part has ended that no harm ends, and without which a soak is none."""
        self.crew.check()
        if self._sink is not None and self._sink.exit_code is not None:
            output = (self.folder / "sink.output").read_text(errors="replace")
            raise RuntimeError(f"the sink has ended with {self._sink.exit_code}: {output[-2000:]}")

    def start_broker(self) -> None:
        """Start the broker where it was. Raises NodeFailed."""
        port = self.node.identity.port
        wait_until(lambda: is_free(port), f"port {port} is free again", _PORT_FREE_WITHIN_S)
        self.node.start()
        assert self.node.identity.port == port, f"the broker has moved from port {port} to {self.node.identity.port}"

    def mend(self) -> None:
        """After a harm that went wrong: start again what it left lying. Raises NodeFailed when that can not be."""
        for trial in range(_STARTS):
            if self.node.running:
                break
            try:
                self.start_broker()
            except (NodeFailed, TimeoutError):
                if trial == _STARTS - 1:
                    raise
        if self.postgres is not None:
            self.postgres.start_again()

    def keep_store(self) -> Path:
        """Copy the store to where it stays after the end of this world, for whoever looks at what went wrong."""
        if self.postgres is not None:
            kept = self.folder / "store.dump"
            self.postgres.dump(self.store_url, kept)
            return kept
        kept = self.folder / "kept.db"
        source = sqlite3.connect(self.folder / "store" / "mail.db")
        with contextlib.closing(source), contextlib.closing(sqlite3.connect(kept)) as copy:
            source.backup(copy)
        return kept

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
        """The disk of the store has no room left, nor has SQLite's write-ahead log within itself."""
        try:
            with filled(self.folder / "store"):
                yield
        finally:
            if self.postgres is not None:
                self.postgres.start_again()

    # -- the books

    def read_sink(self, ledger: Ledger) -> None:
        """Enter the sink's news into the books."""
        with self._sink_lock:
            for record in self._news():
                self.fates[record.fate] += 1
                match record.fate:
                    case "taken" | "lost_reply" | "garbled" as fate:
                        told, garbled = fate != "lost_reply", fate == "garbled"
                        ledger.take(Arrival(record.time, record.id, told=told, garbled=garbled))
                    case "refused":
                        ledger.refuse(record.id)

    def read_store(self, ledger: Ledger) -> None:
        """Enter where the store has each mail."""
        with self._reading() as connection:
            doubted = set(
                connection.execute(sa.select(history.c.mail).where(history.c.detail.like("in doubt%"))).scalars()
            )
            rows = sa.select(mails.c.no, mails.c.id, recipients.c.state, recipients.c.in_doubt).join_from(
                recipients, mails, mails.c.no == recipients.c.mail
            )
            for row in connection.execution_options(yield_per=_AT_A_TIME).execute(rows):
                ledger.end(row.id, Ending(State(row.state), row.in_doubt or row.no in doubted))

    def left(self, confirmed: int) -> int:
        """How many of so many confirmed mails the store has not, or not in a final state."""
        with self._reading() as connection:
            known = connection.execute(sa.select(sa.func.count()).select_from(mails)).scalar_one()
            still_open = connection.execute(
                sa.select(sa.func.count()).select_from(recipients).where(recipients.c.wake.is_not(None))
            ).scalar_one()
        return max(0, confirmed - int(known)) + int(still_open)

    def let_leases_run_out(self) -> None:
        """Have what dead workers have left looked at now, as if minutes had passed."""
        alive = [worker.name for worker in self.crew.of("sender")]
        dead = (recipients.c.state == int(State.CLAIMED)) & recipients.c.worker.not_in(alive)
        engine = open_engine(self.store_url)
        with engine.begin() as connection:
            connection.execute(
                sa.update(recipients)
                .where(dead | (recipients.c.state == int(State.RELEASING)))
                .values(wake=datetime.now(UTC))
            )
        engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """The store, without a lock that would keep anybody waiting."""
        engine = sa.create_engine(self.store_url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            yield connection

    def _news(self) -> list[Record]:
        if not self.record.exists():
            return []
        with self.record.open("rb") as file:
            file.seek(self._read_up_to)
            whole, _, _ = file.read().rpartition(b"\n")
        self._read_up_to += len(whole) + bool(whole)
        return [msgspec.json.decode(line, type=Record) for line in whole.splitlines()]

    @property
    def mx(self) -> tuple[str, int]:
        """Where the sink listens."""
        return _SITES["mx1"], int(self._settings["dns"]["mx_port"])

    def _sink_command(self) -> list[str]:
        where = ["--addresses", ",".join(_SITES.values()), "--port", str(self.mx[1])]
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
        usual = {
            "PILLARBOX_AMQP_URL": self.node.amqp_url,
            "PILLARBOX_STORE_URL": self.store_url,
            "PILLARBOX_JOURNAL": str(self.folder / "journal"),
        }
        if Need.FALSE_CLOCK not in self.has:
            return usual
        return {
            **usual,
            "LD_PRELOAD": str(_faketime()),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock_file),
            "FAKETIME_CACHE_DURATION": "1",  # without, each look at the clock reads the file
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # unset, threads spin where they wait for each other
        }


@contextmanager
def world(
    folder: Path, store: str, seed: int, needs: Set[Need], schedulers: int = 1, rabbitmq: Path | None = None
) -> Iterator[World]:
    """A world with its store on "sqlite" or "postgres", and with what it needs as far as that can be had here.

    `rabbitmq`: the scripts of the release to run, else of the one that is installed.
    """
    with ExitStack() as stack:
        node = stack.enter_context(temporary_node(rabbitmq, port=free_port()))
        dns = stack.enter_context(Nsd(_ZONES))
        store_folder = folder / "store"
        store_folder.mkdir()
        has = set[Need]()
        if Need.SMALL_DISK in needs and stack.enter_context(small_disk(store_folder, _DISK_MIB)):
            has.add(Need.SMALL_DISK)
        if Need.FALSE_CLOCK in needs and _faketime() is not None:
            has.add(Need.FALSE_CLOCK)
        postgres = None
        if store == "postgres":
            has.add(Need.POSTGRES)
            folder.chmod(0o711)  # its server runs as another user
            postgres = stack.enter_context(PrivatePostgres(survives_crashes=True, folder=store_folder))
        url = postgres.new_database() if postgres is not None else f"sqlite:///{store_folder}/mail.db"
        yield stack.enter_context(World(folder, node, dns, postgres, url, has, seed, schedulers).running())


def _faketime() -> Path | None:
    """libfaketime, where it is installed (Debian: libfaketime)."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
