"""Pillarbox as it runs in earnest: a private RabbitMQ node, scheduler, resolver and senders as processes of their own.

Nothing is simplified: quorum queues, confirms, a store that syncs every commit, a log file for each worker.
"""

import asyncio
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import sqlalchemy as sa

from bench.processes import Process, family, label_of
from bench.results import Failed
from cli.child import Child
from cli.client import Client
from cli.node import PrivateNode
from shared import topology
from shared.broker import Broker, Message, Properties
from shared.contracts.answers import StatsAnswer
from shared.contracts.commands import Command, Stats
from shared.mail_store.engine import open_engine
from shared.mail_store.tables import contents
from shared.settings import SettingsDocument, encode_document
from shared.topology import SETTINGS

FAILURES = ("deferred", "bounced", "rejected")  # totals that stay 0 where every mail goes through at the first try

T = TypeVar("T")
Settings = Mapping[str, Any]

_CHECKOUT = Path(__file__).resolve().parent.parent
_READY_WITHIN_S = 180.0  # on a machine that is busy; nothing is measured yet
_ANSWER_WITHIN = timedelta(minutes=10)  # a release of very many mails is answered when the last is on its way
_STUCK_S = 60.0  # without a single mail
_ASK_AT_MOST_EVERY_S, _ASK_AT_LEAST_EVERY_S = 0.02, 1.0
_REST = 4  # times as long as the last answer took: that grows with the mails that are held
_AT_REST_WITHIN_S = 600.0  # of very many mails
_STOP_PATIENCE_S = 20.0


def relay_to(port: int, **groups: Any) -> Settings:
    """Everything to one server on loopback, held back by nothing. All else is as it comes."""
    return {"relay": {"host": "127.0.0.1", "port": port}, "sending": {"hold": 0}, **groups}


def direct_by(name_server: str, port: int, **groups: Any) -> Settings:
    """Straight to MX hosts on loopback, held back by nothing. All else is as it comes."""
    return {
        "delivery": {"mode": "direct"},
        "dns": {"servers": [name_server], "allow_loopback": True, "mx_port": port},
        "identity": {"helo_name": "robot.example"},  # nothing leads back to an address of loopback
        "sending": {"hold": 0},
        **groups,
    }


class Place(NamedTuple):
    """A folder and a running node, for one measurement."""

    folder: Path
    node: PrivateNode

    @property
    def store_url(self) -> str:
        """The mail store of the workers."""
        return f"sqlite:///{self.folder / 'mail.db'}"


@contextmanager
def new_place() -> Iterator[Place]:
    """A place that goes away, but for the logs when something fails. Raises NodeFailed."""
    with _kept_on_failure() as folder:
        node = PrivateNode(folder / "broker")
        try:
            node.start(_READY_WITHIN_S)
            yield Place(folder, node)
        finally:
            node.stop()


@contextmanager
def _kept_on_failure() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pillarbox-bench-"))
    try:
        yield folder
    except Exception as error:
        error.add_note(f"the logs are kept in {folder}")
        raise
    except BaseException:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


class Pipeline:
    """The workers at a place; an asynchronous context manager."""

    def __init__(self, place: Place, settings: Settings, senders: int) -> None:
        self._place = place
        self._settings = settings
        self._names = ["scheduler", "resolver", *(f"sender {number + 1}" for number in range(senders))]
        self._workers: dict[str, Child] = {}
        self._broker = Broker(place.node.amqp_url, "bench", patience_s=_READY_WITHIN_S)
        self._client = Client(self._broker, place.node.amqp_url, _ANSWER_WITHIN)
        self._engine = open_engine(place.store_url)
        self._rest_s = 0.0  # until the scheduler is asked again

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(worker.stop(_STOP_PATIENCE_S) for worker in self._workers.values()))
        await self._broker.close()
        self._engine.dispose()

    # -- what a client and an operator do

    async def publish(self, messages: list[Message]) -> None:
        """Publish and wait for the confirms. Raises Failed."""
        if refused := await self._broker.publisher.publish(messages):
            raise Failed(f"the broker did not take {len(refused)} messages: {refused[0].reason}")

    async def deliver(self, messages: list[Message]) -> None:
        """Publish these and wait until the scheduler knows that each was delivered. Raises Failed."""
        before = (await self.totals())["delivered"]
        await self.while_all_live(
            asyncio.gather(self.publish(messages), self.reach("delivered", before + len(messages)))
        )

    async def ask(self, command: Command, kind: type[T]) -> T:
        """Give a command; its answer. Raises CommandFailed."""
        return await self._client.ask(command, kind)

    async def totals(self) -> dict[str, int]:
        """What the scheduler has counted since its start."""
        return {"delivered": 0, "deferred": 0, "bounced": 0} | (await self.ask(Stats(), StatsAnswer)).totals

    async def reach(self, total: str, count: int, unwanted: Collection[str] = FAILURES) -> None:
        """Wait until a total is so high. Raises Failed when one of the unwanted is not 0, or nothing goes on.

        It asks the more often the nearer the end: each question costs the scheduler a transaction.
        """
        first = before = await self._total(total, unwanted)
        started = progressed = time.monotonic()
        while before < count:
            now = time.monotonic()
            speed = (before - first) / (now - started) if before > first else 0.0
            left_s = (count - before) / speed if speed else 0.0
            pause_s = min(max(left_s / 2, _ASK_AT_MOST_EVERY_S), _ASK_AT_LEAST_EVERY_S)
            await asyncio.sleep(max(pause_s, self._rest_s))
            if (reached := await self._total(total, unwanted)) != before:
                before, progressed = reached, time.monotonic()
            elif now - progressed > _STUCK_S:
                raise Failed(f"{before} of {count} mails were {total}, and then none for {_STUCK_S:g} s")

    async def while_all_live(self, work: Coroutine[Any, Any, T] | asyncio.Future[T]) -> T:
        """Do this as long as no worker ends. Raises Failed when one does."""
        working = asyncio.ensure_future(work)
        ends = {asyncio.create_task(worker.wait()): name for name, worker in self._workers.items()}
        try:
            await asyncio.wait({working, *ends}, return_when=asyncio.FIRST_COMPLETED)
            for end, name in ends.items():
                if end.done():
                    raise Failed(f"the {name} ended ({end.result()}): {self._workers[name].last_line()}")
            return await working
        finally:
            for task in (working, *ends):
                task.cancel()
            await asyncio.gather(working, *ends, return_exceptions=True)

    # -- what is measured

    def label(self, process: Process) -> str | None:
        """The name under which a process is counted."""
        names = [name for name, worker in self._workers.items() if worker.pid == process.pid]
        # The senders share the mails, so their costs add up.
        return names[0].partition(" ")[0] if names else label_of(process)

    def peak_mib(self, worker: str) -> float:
        """The most memory that a worker has had."""
        return max(process.peak_mib for process in family() if process.pid == self._workers[worker].pid)

    def versions(self) -> dict[str, str]:
        """Of RabbitMQ, as the node says it in its log."""
        found = re.search(r"Starting RabbitMQ (\S+)", self._place.node.log_file.read_text(errors="replace"))
        return {"RabbitMQ": found.group(1)} if found else {}

    def count(self, query: sa.Select[Any]) -> int:
        """What a query for a number finds in the store, past the scheduler."""
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    async def rest(self) -> None:
        """Wait until what is done after a delivery is done, too: the contents are dropped from the store."""
        await self.while_all_live(self._contents_dropped())

    # --

    async def _start(self) -> None:
        await self._broker.start()
        await topology.declare(self._broker)
        document = encode_document(SettingsDocument(settings=dict(self._settings), author="bench"))
        await self.publish([Message(SETTINGS, "", document, Properties(content_type="application/json"))])
        for name in self._names:
            command = [sys.executable, "-m", f"services.{name.partition(' ')[0]}"]
            self._workers[name] = await Child.start(command, self._environment(name), self._log_of(name))
        async with _within(_READY_WITHIN_S, "the workers are not ready"):
            await self.while_all_live(asyncio.gather(*(worker.ready() for worker in self._workers.values())))

    def _environment(self, name: str) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(_CHECKOUT),
            "PILLARBOX_AMQP_URL": self._place.node.amqp_url,
            "PILLARBOX_STORE_URL": self._place.store_url,
            "PILLARBOX_WORKER": name.replace(" ", "-"),
        }

    def _log_of(self, name: str) -> Path:
        return self._place.folder / f"{name.replace(' ', '-')}.log"

    async def _total(self, total: str, unwanted: Collection[str]) -> int:
        asked = time.monotonic()
        totals = await self.totals()
        self._rest_s = _REST * (time.monotonic() - asked)
        if any(totals[name] for name in unwanted):
            raise Failed(f"not every mail went through at the first try: {totals}")
        return totals[total]

    async def _contents_dropped(self) -> None:
        one = sa.select(contents.c.mail).limit(1).subquery()
        async with _within(_AT_REST_WITHIN_S, "the store still has contents of mails"):
            while self.count(sa.select(sa.func.count()).select_from(one)):
                await asyncio.sleep(0.2)


@asynccontextmanager
async def _within(seconds: float, complaint: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Failed(f"{complaint} after {seconds:g} s") from None
