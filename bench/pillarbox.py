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
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import uvloop

from bench import mails as our_mail
from bench.processes import Meter, Process
from bench.results import Failed, Measurement
from bench.sink import Sink
from cli.child import Child
from cli.client import Client
from cli.node import PrivateNode
from shared import topology
from shared.broker import Broker, Message, Properties
from shared.contracts import Stats, StatsAnswer
from shared.mail_store import contents, open_engine
from shared.settings import SettingsDocument, encode_document
from shared.topology import SETTINGS, SUBMIT

T = TypeVar("T")

_CHECKOUT = Path(__file__).resolve().parent.parent
_READY_WITHIN_S = 60.0
_ANSWER_WITHIN = timedelta(seconds=60)
_STUCK_S = 60.0  # without a single mail
_ASK_AT_MOST_EVERY_S, _ASK_AT_LEAST_EVERY_S = 0.02, 1.0
_AT_REST_WITHIN_S = 60.0
_STOP_PATIENCE_S = 20.0
_BY_NAME = {"beam.smp": "broker", "smtp-sink": "sink"}


def measure(sink: Sink, mails: int, warm_up: int, size: int, senders: int) -> Measurement:
    """Let it deliver so many mails of `size` octets to the sink. Raises Failed, NodeFailed or CommandFailed."""
    with _kept_on_failure() as folder:
        node = PrivateNode(folder / "broker")
        try:
            node.start()
            return uvloop.run(_measure(Pipeline(folder, node, sink.port, senders), sink, mails, warm_up, size))
        finally:
            node.stop()


@contextmanager
def _kept_on_failure() -> Iterator[Path]:
    """A temporary folder that stays, with the logs, when something fails."""
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


async def _measure(pipeline: "Pipeline", sink: Sink, mails: int, warm_up: int, size: int) -> Measurement:
    async with pipeline:
        content = our_mail.message(size)
        await pipeline.deliver(_messages(content, range(warm_up)))
        messages, sunk = _messages(content, range(warm_up, warm_up + mails)), sink.count
        meter = Meter(pipeline.label)
        started = time.monotonic()
        await pipeline.deliver(messages)
        seconds = time.monotonic() - started
        others = meter.others()
        await pipeline.rest()
        if sink.count - sunk != mails:
            raise Failed(f"Pillarbox delivered {mails} mails, and the sink has counted {sink.count - sunk}")
        costs, versions = meter.costs(mails), {"RabbitMQ": pipeline.rabbitmq_version()}
        return Measurement(mails=mails, seconds=seconds, costs=costs, others=others, versions=versions)


def _messages(content: bytes, numbers: range) -> list[Message]:
    return [
        Message(
            SUBMIT,
            "",
            content,
            Properties(
                message_id=f"bench-{number}",
                content_type="message/rfc822",
                headers={"mail-from": our_mail.SENDER, "rcpt-to": f"reader{number}@{our_mail.RECIPIENT_DOMAIN}"},
            ),
        )
        for number in numbers
    ]


class Pipeline:
    """The workers on a running node; an asynchronous context manager."""

    def __init__(self, folder: Path, node: PrivateNode, relay_port: int, senders: int) -> None:
        self._folder = folder
        self._node = node
        self._store_url = f"sqlite:///{folder / 'mail.db'}"
        # All else is as it comes: a mail log, TLS where the relay offers it, the default events.
        self._settings = {"relay": {"host": "127.0.0.1", "port": relay_port}, "sending": {"hold": 0}}
        self._names = ["scheduler", "resolver", *(f"sender {number + 1}" for number in range(senders))]
        self._workers: dict[str, Child] = {}
        self._broker = Broker(node.amqp_url, "bench", patience_s=_READY_WITHIN_S)
        self._client = Client(self._broker, node.amqp_url, _ANSWER_WITHIN)
        self._published = 0

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

    async def deliver(self, messages: list[Message]) -> None:
        """Publish these and wait until the scheduler knows that each was delivered. Raises Failed."""
        self._published += len(messages)
        await self._while_all_live(self._deliver(messages))

    async def rest(self) -> None:
        """Wait until what is done after a delivery is done, too: the contents are dropped from the store."""
        await self._while_all_live(self._contents_dropped())

    def label(self, process: Process) -> str | None:
        """The name under which a process is counted."""
        if process.pid == os.getpid():
            return "client"
        if process.name in _BY_NAME:
            return _BY_NAME[process.name]
        names = [name for name, worker in self._workers.items() if worker.pid == process.pid]
        return names[0].partition(" ")[0] if names else None  # the senders share the mails, so their costs add up

    def rabbitmq_version(self) -> str:
        """As the node says it in its log."""
        found = re.search(r"Starting RabbitMQ (\S+)", self._node.log_file.read_text(errors="replace"))
        return found.group(1) if found else "unknown"

    async def _start(self) -> None:
        await self._broker.start()
        await topology.declare(self._broker)
        document = SettingsDocument(settings=self._settings, author="bench")
        first = Message(SETTINGS, "", encode_document(document), Properties(content_type="application/json"))
        if refused := await self._broker.publisher.publish([first]):
            raise Failed(f"the broker did not take the settings: {refused[0].reason}")
        for name in self._names:
            command = [sys.executable, "-m", f"services.{name.partition(' ')[0]}"]
            self._workers[name] = await Child.start(command, self._environment(name), self._log_of(name))
        async with asyncio.timeout(_READY_WITHIN_S):
            await self._while_all_live(asyncio.gather(*(worker.ready() for worker in self._workers.values())))

    def _environment(self, name: str) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(_CHECKOUT),
            "PILLARBOX_AMQP_URL": self._node.amqp_url,
            "PILLARBOX_STORE_URL": self._store_url,
            "PILLARBOX_WORKER": name.replace(" ", "-"),
        }

    def _log_of(self, name: str) -> Path:
        return self._folder / f"{name.replace(' ', '-')}.log"

    async def _deliver(self, messages: list[Message]) -> None:
        await asyncio.gather(self._publish(messages), self._all_delivered())

    async def _publish(self, messages: list[Message]) -> None:
        if refused := await self._broker.publisher.publish(messages):
            raise Failed(f"the broker did not take {len(refused)} mails: {refused[0].reason}")

    async def _all_delivered(self) -> None:
        """Ask how far it is, the more often the nearer the end: each question costs the scheduler a transaction."""
        first = before = await self._delivered()
        started = progressed = time.monotonic()
        while before < self._published:
            now = time.monotonic()
            speed = (before - first) / (now - started) if before > first else 0.0
            left_s = (self._published - before) / speed if speed else 0.0
            await asyncio.sleep(min(max(left_s / 2, _ASK_AT_MOST_EVERY_S), _ASK_AT_LEAST_EVERY_S))
            if (delivered := await self._delivered()) != before:
                before, progressed = delivered, time.monotonic()
            elif now - progressed > _STUCK_S:
                raise Failed(f"{before} of {self._published} mails were delivered, and then none for {_STUCK_S:g} s")

    async def _delivered(self) -> int:
        totals = (await self._client.ask(Stats(), StatsAnswer)).totals
        if failed := totals.get("deferred", 0) + totals.get("bounced", 0) + totals["rejected"]:
            raise Failed(f"{failed} mails were not delivered at the first try: {totals}")
        return totals.get("delivered", 0)

    async def _contents_dropped(self) -> None:
        engine = open_engine(self._store_url)
        try:
            async with asyncio.timeout(_AT_REST_WITHIN_S):
                while True:
                    with engine.connect() as connection:
                        if connection.execute(contents.select().limit(1)).first() is None:
                            return
                    await asyncio.sleep(0.2)
        finally:
            engine.dispose()

    async def _while_all_live(self, work: Coroutine[Any, Any, T] | asyncio.Future[T]) -> T:
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
