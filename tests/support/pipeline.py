"""The whole pipeline: real workers on a virtual host and a store of their own, driven from outside by a plain client.

with Pipeline(amqp_url, sqlite_url, folder, relay_to(sink)) as pipeline:
    mail = pipeline.submit(a_mail())
    pipeline.wait_for_event("delivered", mail)
"""

import asyncio
import contextlib
import copy
import itertools
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pika
import sqlalchemy as sa

from cli.guarded import GuardedProcess
from shared import topology
from shared.broker import Broker
from shared.mail_store.engine import open_engine
from shared.mail_store.states import State
from shared.mail_store.tables import recipients
from tests.support.client import Client, Load
from tests.support.ports import wait_until
from tests.support.sink_memory import SinkMemory, SunkMail

_ROOT = Path(__file__).parents[2]
_STARTS_WITHIN_S = 30.0
_STOPS_WITHIN_S = 30.0
_SHOWN_LINES = 40
_SUBJECT = re.compile(rb"^Subject: ([^\r]*)\r$", re.MULTILINE)

Settings = dict[str, Any]


def relay_to(sink: Any, **more: Any) -> Settings:
    """Settings that hold nothing back and send everything to a server on loopback; `more` goes over them."""
    usual: Settings = {
        "relay": {"host": "127.0.0.1", "port": sink.port},
        "identity": {"helo_name": "robot.example"},
        "sending": {"hold": 0},
        "bounces": "events",  # a scenario that counts mails counts its own
        "retry": {"schedule": ["1s"], "mailbox_full": 0, "probe_schedule": ["1s"], "jitter": 0},
        "suppression": {"automatic": False},  # what one scenario is refused the next one may send to
    }
    return merged(usual, more)


def direct_by(dns_server: str, mx_port: int, **more: Any) -> Settings:
    """Settings that hold nothing back and send straight to MX hosts on loopback addresses."""
    usual: Settings = {
        "delivery": {"mode": "direct"},
        "dns": {"servers": [dns_server], "allow_loopback": True, "mx_port": mx_port},
        "identity": {"helo_name": "robot.example"},
        "sending": {"hold": 0},
        "bounces": "events",  # a scenario that counts mails counts its own
        "retry": {"schedule": ["1s"], "mailbox_full": 0, "probe_schedule": ["1s"], "jitter": 0},
        "suppression": {"automatic": False},  # what one scenario is refused the next one may send to
    }
    return merged(usual, more)


def merged(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """A copy of the settings with changes, group by group."""
    result = copy.deepcopy(settings)
    for name, value in changes.items():
        inner = result.get(name)
        result[name] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return result


def a_mail(subject: str = "hello", **fields: Any) -> dict[str, Any]:
    """A small submission; the keyword `from_` is its field `from`."""
    mail = {"from": "robot@sender.example", "to": ["b@mx.example"], "subject": subject, "text": "Good morning.\n"}
    return mail | {name.removesuffix("_"): value for name, value in fields.items()}


def subjects(mails: Iterable[SunkMail]) -> Counter[str]:
    """How often each subject has arrived; the mails of `submit_many` have their id there."""
    found = (_SUBJECT.search(mail.content) for mail in mails)
    return Counter(match.group(1).decode() for match in found if match is not None)


class Worker:
    """One process of the pipeline, and what it has logged."""

    def __init__(
        self, role: str, name: str, environment: Mapping[str, str], folder: Path, program: Sequence[str] = ()
    ) -> None:
        """`program`: a Python module and its arguments, in the place of the role's own."""
        self.role = role
        self.name = name
        self.killed = False
        self._log = folder / f"{name}.log"
        self._forgotten = 0  # octets of the log
        with self._log.open("wb") as output:
            self._process = GuardedProcess(
                [sys.executable, "-m", *(program or [f"services.{role}"])],
                env={**os.environ, **environment, "PILLARBOX_WORKER": name, "PYTHONUNBUFFERED": "1"},
                cwd=_ROOT,
                output=output,
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.exit_code is None

    @property
    def obituary(self) -> str:
        """How it ended."""
        return f"{self.name} has ended with {self._process.exit_code}:\n{self.end_of_log()}"

    @property
    def log(self) -> list[str]:
        """The lines it has logged so far, without what was forgotten."""
        with self._log.open("rb") as file:
            file.seek(self._forgotten)
            return file.read().decode(errors="replace").splitlines()

    def forget_log(self) -> None:
        """Leave what it has logged so far to those who were there."""
        self._forgotten = self._log.stat().st_size

    def logged(self, event: str, **fields: Any) -> list[str]:
        """Its lines about an event, with these fields."""
        wanted = [f"event={event}", *(f"{name}={value}" for name, value in fields.items())]
        return [line for line in self.log if all(f" {part} " in f"{line} " for part in wanted)]

    def wait_for_log(self, event: str, timeout: float = 30, **fields: Any) -> None:
        """Wait for a line. Raises TimeoutError, or AssertionError when the worker ends before it."""

        def seen() -> bool:
            found = bool(self.logged(event, **fields))
            assert found or self.running, self.obituary
            return found

        wait_until(seen, f"{self.name} logs {event} {fields or ''}", timeout)

    def stop(self) -> None:
        """SIGTERM, and wait. Raises AssertionError unless it ends in order."""
        self._process.stop(_STOPS_WITHIN_S)
        assert self._process.exit_code == 0, self.obituary

    def kill(self) -> None:
        """`kill -9`."""
        self.killed = True
        self._process.kill()

    def pause(self) -> None:
        """SIGSTOP."""
        os.killpg(self._process.group, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.killpg(self._process.group, signal.SIGCONT)

    def memory_mib(self) -> float | None:
        """What it has in memory now; None when it has ended."""
        children = Path(f"/proc/{self._process.group}/task/{self._process.group}/children")
        with contextlib.suppress(OSError):
            pids = children.read_text().split()
            pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
            return max(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20 if pages else None
        return None

    @property
    def peak_mib(self) -> float:
        """The most that it has had in memory (VmHWM)."""
        [line] = [line for line in (self._proc / "status").read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 1024

    @property
    def limits(self) -> list[str]:
        """What the kernel limits it to, as `/proc` has it."""
        return (self._proc / "limits").read_text().splitlines()

    @property
    def _proc(self) -> Path:
        """Its folder there: it is a child of its guard."""
        children = Path(f"/proc/{self._process.group}/task/{self._process.group}/children").read_text().split()
        programs = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0] for pid in children}
        [own] = [pid for pid, program in programs.items() if program == os.fsencode(sys.executable)]
        return Path(f"/proc/{own}")

    def end_of_log(self) -> str:
        """Its last lines."""
        return "\n".join(self.log[-_SHOWN_LINES:])

    def assert_no_crash(self) -> None:
        """It runs, or was asked to end; and nothing went wrong that nobody planned for."""
        assert not any("Traceback" in line for line in self.log), f"{self.name}:\n{self.end_of_log()}"


class Pipeline:
    """Workers, store and client; a context manager."""

    def __init__(
        self,
        amqp_url: str,
        store_url: str,
        folder: Path,
        settings: Settings,
        *,
        schedulers: int = 1,
        resolvers: int = 1,
        senders: int = 1,
        environment: Mapping[str, str] | None = None,
        programs: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`environment` is what the workers find in theirs beyond the URLs, such as secrets.

        `programs`: what runs in the place of a role's own module.
        """
        self.workers: list[Worker] = []
        self.settings = settings
        self.revision = -1
        self.amqp_url = amqp_url
        self._folder = folder
        self._start = {"scheduler": schedulers, "resolver": resolvers, "sender": senders}
        self._programs = programs or {}
        self._environment = {**(environment or {}), "PILLARBOX_AMQP_URL": amqp_url}
        self.store_url = store_url
        self._numbers = itertools.count(1)
        self._engine = open_engine(store_url)
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The test's own client."""
        assert self._client is not None
        return self._client

    # -- the workers

    def __enter__(self) -> "Pipeline":
        declare(self.amqp_url)
        self._client = Client(self.amqp_url)
        self._publish_settings(self.settings)
        try:
            self.start(**self._start)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.assert_no_crash()
                self.stop(*self.workers)
        finally:
            self._end()

    def launch(self, **count: int) -> list[Worker]:
        """Start workers, so many of each role."""
        return [self._new_worker(role) for role, number in count.items() for _ in range(number)]

    def start(self, **count: int) -> list[Worker]:
        """Start workers, so many of each role, and wait until they are ready and have the settings."""
        started = self.launch(**count)
        for worker in started:
            worker.wait_for_log("ready", _STARTS_WITHIN_S)
            worker.wait_for_log("settings_in_force", _STARTS_WITHIN_S, revision=self.revision)
        return started

    def of(self, role: str) -> list[Worker]:
        """The running workers of a role, the oldest first."""
        return [worker for worker in self.workers if worker.role == role]

    def stop(self, *workers: Worker) -> None:
        """SIGTERM for all of them at once; each must end in order and has crashed at no time."""
        self.workers = [worker for worker in self.workers if worker not in workers]
        with ThreadPoolExecutor(max(1, len(workers))) as pool:
            list(pool.map(Worker.stop, workers))
        for worker in workers:
            worker.assert_no_crash()

    def stop_later(self, worker: Worker) -> Future[None]:
        """SIGTERM now; the result comes when it has ended in order."""
        self.workers.remove(worker)
        pool = ThreadPoolExecutor(1)
        try:
            return pool.submit(worker.stop)
        finally:
            pool.shutdown(wait=False)

    def kill(self, *workers: Worker) -> None:
        """`kill -9` for all of them."""
        self.workers = [worker for worker in self.workers if worker not in workers]
        for worker in workers:
            worker.kill()
            worker.assert_no_crash()

    def assert_no_crash(self) -> None:
        """Every worker runs, and none has logged a traceback."""
        for worker in self.workers:
            assert worker.running, worker.obituary
            worker.assert_no_crash()

    @property
    def files(self) -> list[Path]:
        """All that its workers have written: logs, and the store."""
        return [file for file in self._folder.rglob("*") if file.is_file()]

    def logs(self) -> list[tuple[str, str]]:
        """Of each worker there ever was: its name and its last lines."""
        return [
            (file.stem, "\n".join(file.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]))
            for file in sorted(self._folder.glob("*.log"))
        ]

    # -- what a client and an operator do

    def submit(self, mail: Mapping[str, Any] | bytes, id: str | None = None, **properties: Any) -> str:
        """Publish a mail, as JSON or (bytes) as a finished message; returns its id."""
        return self.client.submit(mail, id, **properties)

    def submit_many(self, count: int, **fields: Any) -> list[str]:
        """Publish so many small mails, each with its id as the subject; returns the ids."""
        ids = [f"many-{number}" for number in itertools.islice(self._numbers, count)]
        return [self.submit(a_mail(id, **fields), id) for id in ids]

    def load(self, rate: float, **fields: Any) -> Load:
        """Mails at a steady rate for as long as a `with` block lasts; their ids are their subjects."""
        return Load(self.amqp_url, lambda id: a_mail(id, **fields), rate)

    def control(self, command: str, **fields: Any) -> dict[str, Any]:
        """Give a command; returns its answer."""
        return self.client.ask(json.dumps({"command": command, **fields}).encode())

    def events(self, kind: str, mail: str | None = None) -> list[dict[str, Any]]:
        """Events so far, of a kind and perhaps of one mail."""
        return [e for e in self.client.events if e["event"] == kind and mail in (None, e.get("mail"))]

    def wait_for_event(self, kind: str, mail: str | None = None, timeout: float = 30) -> dict[str, Any]:
        """Wait for an event; returns the first of its kind."""
        return self.wait_for_events(1, kind, mail, timeout)[0]

    def wait_for_events(
        self, count: int, kind: str, mail: str | None = None, timeout: float = 30
    ) -> list[dict[str, Any]]:
        """Wait for so many events of a kind."""
        what = f"{count} events {kind} of {mail or 'any mail'}"
        self.client.wait_until(lambda: len(self.events(kind, mail)) >= count, what, timeout)
        return self.events(kind, mail)

    def change(self, **changes: Any) -> None:
        """Publish settings with these changes and wait until every worker has them in force."""
        self._put_in_force(merged(self.settings, changes))

    def publish_document(self, body: bytes) -> int:
        """Publish a settings message as it is; returns its revision."""
        self.client.publish("pillarbox.settings", body, pika.BasicProperties(content_type="application/json"))
        self.revision += 1
        return self.revision

    # -- the end of a scenario

    def wait_for_each_once(
        self, sinks: SinkMemory | Sequence[SinkMemory], ids: Sequence[str], timeout: float = 60
    ) -> None:
        """Wait until these mails have arrived and nothing is open any more; each must have arrived exactly once."""
        several = [sinks] if isinstance(sinks, SinkMemory) else sinks
        self.wait_for_all(several, ids, timeout)
        arrived, sent = _arrived(several), Counter(ids)
        assert arrived == sent, f"more than once: {dict(arrived - sent)}, not at all: {dict(sent - arrived)}"

    def wait_for_all(self, sinks: Sequence[SinkMemory], ids: Iterable[str], timeout: float = 60) -> None:
        """Wait until these mails have arrived at least once and nothing is open any more."""
        deadline = time.monotonic() + timeout
        missing, seen = set(ids), [0 for _ in sinks]

        def all_there() -> bool:
            for number, sink in enumerate(sinks):
                news = sink.mails[seen[number] :]
                seen[number] += len(news)
                missing.difference_update(subjects(news))
            return not missing

        try:
            self.client.wait_until(all_there, "", timeout)
        except TimeoutError as error:
            raise TimeoutError(
                f"{len(missing)} mails have not arrived in {timeout:g} s: {sorted(missing)[:5]}"
            ) from error
        # What is final is never sent again: the store refuses the claim.
        self.client.wait_until(lambda: not self.open_recipients(), "all final", max(10.0, deadline - time.monotonic()))

    def begin(self, settings: Settings) -> None:
        """Put these settings in force, unless they are."""
        if self.settings != settings:
            self._put_in_force(settings)

    def clear(self, settings: Settings) -> None:
        """Put these in force again and take back what has not left; the next scenario finds nothing, and no crash."""
        self.begin(settings)
        for state in ("held", "deferred", "releasing", "released"):
            for mail in self.control("list", state=state, limit=1000)["mails"]:
                self.control("retract", id=mail["id"])
        self.client.wait_until(lambda: not self.open_recipients(), "all final")
        # What is announced of earlier mails comes before this one's event.
        self.wait_for_event("delivered", self.submit(a_mail("the last one")))
        self.client.events.clear()
        self.client.forget_dead_letters()
        self.assert_no_crash()
        for worker in self.workers:
            worker.forget_log()

    def open_recipients(self) -> int:
        """How many recipients have no final state, as the scheduler counts them."""
        return sum(self.control("stats")["states"].values())

    def let_lease_run_out(self, state: State, dead: Worker | None = None) -> int:
        """Make recipients in this state due now, as if the time of their lease had passed; returns how many.

        Leases last for minutes. For `CLAIMED` name the dead sender: a living one renews its claims.
        """
        assert (dead is not None) == (state is State.CLAIMED)
        rows = sa.update(recipients).where(recipients.c.state == int(state))
        if dead is not None:
            rows = rows.where(recipients.c.worker == dead.name)
        with self._engine.begin() as connection:
            return int(connection.execute(rows.values(wake=datetime.now(UTC))).rowcount)

    def count(self, state: State) -> int:
        """How many recipients are in a state, read from the store."""
        query = sa.select(sa.func.count()).where(recipients.c.state == int(state))
        with self._engine.begin() as connection:
            return int(connection.execute(query).scalar_one())

    # --

    def _new_worker(self, role: str) -> Worker:
        store = {} if role == "resolver" else {"PILLARBOX_STORE_URL": self.store_url}  # which it can do without
        name, environment = f"{role}-{next(self._numbers)}", {**self._environment, **store}
        worker = Worker(role, name, environment, self._folder, self._programs.get(role, ()))
        self.workers.append(worker)
        return worker

    def _put_in_force(self, settings: Settings) -> None:
        self._publish_settings(settings)
        self.settings = settings
        for worker in self.workers:
            worker.wait_for_log("settings_in_force", revision=self.revision)

    def _publish_settings(self, settings: Settings) -> None:
        self.publish_document(json.dumps({"settings": settings, "author": "test"}).encode())

    def _end(self) -> None:
        for worker in self.workers:
            worker.kill()
        self._engine.dispose()
        if self._client is not None:
            self._client.close()


def _arrived(sinks: Sequence[SinkMemory]) -> Counter[str]:
    return sum((subjects(list(sink.mails)) for sink in sinks), Counter())


def declare(url: str) -> None:
    """Declare the topology."""
    asyncio.run(_declare(url))


async def _declare(url: str) -> None:
    broker = Broker(url, "test", patience_s=30)
    await broker.start()
    try:
        await topology.declare(broker)
    finally:
        await broker.close()
