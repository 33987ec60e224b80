"""`python -m bench.memory`: how much memory each worker has, whatever waits; docs/reliability.md has the figures.

python -m bench.memory held large --held 100000
"""

import argparse
import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.mails import SENDER, message
from bench.receivers import Receivers
from shared.broker import Broker, Message, Properties
from shared.mail_store.states import State
from shared.topology import SUBMIT
from tests.support.pipeline import Pipeline, Settings, declare, relay_to
from tests.support.rabbitmq import temporary_node
from tests.support.store import OpenStore, a_draft

_LARGE = 25 * 1024 * 1024 - 4096  # octets of a mail: nearly what the settings allow
_LOOK_EVERY_S = 0.25
_AT_ONCE = 1000  # drafts in one transaction
_IN_FLIGHT = 4 * 1024 * 1024  # octets published and not confirmed
_LIMIT_S = 3600.0


class Grown(NamedTuple):
    """MiB of one worker."""

    at_first: float
    at_most: float
    at_last: float


class Sizes(NamedTuple):
    """How much of each."""

    held: int
    queued: int
    large: int
    seconds: float  # for what goes on without an end


class Scales:
    """Weighs the workers of a pipeline in a thread for as long as the block lasts."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._weights: dict[str, list[float]] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scales", daemon=True)

    def __enter__(self) -> "Scales":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    @property
    def grown(self) -> dict[str, Grown]:
        """Of each worker."""
        return {name: Grown(weights[0], max(weights), weights[-1]) for name, weights in self._weights.items()}

    def _run(self) -> None:
        while not self._ends.wait(_LOOK_EVERY_S):
            for worker in list(self._pipeline.workers):
                if (mib := worker.memory_mib()) is not None:
                    self._weights.setdefault(worker.name, []).append(mib)


# ---------------------------------------------------------------------------------------------------------
# What waits


def held(place: "Place", sizes: Sizes) -> dict[str, Grown]:
    """So many mails held in the store; asked for, taken back and released together, then sent."""
    fill(place.store_url, sizes.held)
    with Receivers(1) as receiver, place.pipeline(_relay(receiver, hold="1h"), senders=2) as pipeline:
        with Scales(pipeline) as scales:
            for command in ({"command": "stats"}, {"command": "list", "limit": 1000}, {"command": "sites"}):
                place.timed(pipeline, timeout=600, **command)
            place.timed(pipeline, command="retract", batch="batch-0", timeout=_LIMIT_S)
            place.timed(pipeline, command="release", batch="batch-1", timeout=_LIMIT_S)
            place.flow(receiver, sizes.seconds)
        return scales.grown


def queued(place: "Place", sizes: Sizes) -> dict[str, Grown]:
    """So many submissions wait in the broker when the workers start."""
    declare(place.amqp_url)
    asyncio.run(publish(place.amqp_url, sizes.queued, message(4096), lambda number: f"r{number}@recipient.example"))
    with Receivers(1) as receiver, place.pipeline(_relay(receiver), senders=2) as pipeline:
        with Scales(pipeline) as scales:
            place.flow(receiver, sizes.seconds)
        return scales.grown


def large(place: "Place", sizes: Sizes) -> dict[str, Grown]:
    """Mails of 25 MB to a relay and to twenty other sites; they all wait in the broker, then all in the lanes."""
    declare(place.amqp_url)
    asyncio.run(publish(place.amqp_url, sizes.large, message(_LARGE), _to_site))
    with Receivers(21) as receiver, place.pipeline(_many_sites(receiver), senders=0) as pipeline:
        with Scales(pipeline) as scales:
            place.until(lambda: pipeline.count(State.RELEASED) == sizes.large)
            pipeline.start(sender=1)
            place.until(lambda: receiver.mails >= sizes.large)
        return scales.grown


def slow(place: "Place", sizes: Sizes) -> dict[str, Grown]:
    """Mails of 25 MB to twenty-one sites that take one octet a second, and small ones to a site that takes them."""
    with ExitStack() as stack:
        receiver = stack.enter_context(Receivers(1))
        slow_ones = stack.enter_context(Receivers(21, pause_s=1.0))
        settings = _many_sites(slow_ones)
        settings["routes"]["quick.example"] = {"host": "127.0.0.1", "port": receiver.ports[0]}
        pipeline = stack.enter_context(place.pipeline(settings, senders=1))
        with Scales(pipeline) as scales:
            asyncio.run(publish(place.amqp_url, sizes.large, message(_LARGE), _to_site))
            place.flow(slow_ones, sizes.seconds)
            small = sizes.queued // 100
            asyncio.run(publish(place.amqp_url, small, message(4096), lambda number: f"r{number}@quick.example", "q"))
            place.until(lambda: receiver.mails >= small)
            place.tell(f"{small} small mails have passed the slow sites")
        return scales.grown


SCENES: Mapping[str, Callable[["Place", Sizes], dict[str, Grown]]] = {
    "held": held,
    "queued": queued,
    "large": large,
    "slow": slow,
}


# ---------------------------------------------------------------------------------------------------------


class Place:
    """Where a scene plays: a node, a folder, a store."""

    def __init__(self, amqp_url: str, folder: Path, tell: Callable[[str], None]) -> None:
        self.amqp_url = amqp_url
        self.folder = folder
        self.store_url = f"sqlite:///{folder}/mail.db"
        self.tell = tell

    @contextmanager
    def pipeline(self, settings: Settings, senders: int) -> Iterator[Pipeline]:
        """The workers; ended without ceremony, since mail may still be under way."""
        pipeline = Pipeline(self.amqp_url, self.store_url, self.folder, settings, senders=senders)
        with pipeline:
            yield pipeline
            pipeline.assert_no_crash()
            pipeline.kill(*pipeline.workers)

    def timed(self, pipeline: Pipeline, timeout: float, **command: Any) -> None:
        """Give a command, and tell how long the answer took."""
        began = time.monotonic()
        answer = pipeline.client.ask(json.dumps(command).encode(), timeout)
        short = {name: value for name, value in answer.items() if isinstance(value, int | str) or name == "counts"}
        self.tell(f"  {command}: {time.monotonic() - began:.1f} s {short}")

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait. Raises TimeoutError."""
        deadline = time.monotonic() + _LIMIT_S
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("not within an hour")
            time.sleep(_LOOK_EVERY_S)

    def flow(self, receiver: Receivers, seconds: float) -> None:
        """Let it run."""
        before = receiver.mails
        time.sleep(seconds)
        self.tell(f"  {receiver.mails - before} mails in {seconds:g} s")


def fill(store_url: str, count: int) -> None:
    """Hold mails of 1 KB, ten batches of them, by the transactions of the scheduler's intake."""
    store, now, content = OpenStore(store_url), datetime.now(UTC), message(1024)
    for start in range(0, count, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, count))
        batch = f"batch-{start * 10 // count}"
        store.admit(*(_draft(number, batch, now, content) for number in numbers))
    store.close()


def _draft(number: int, batch: str, now: datetime, content: bytes) -> Any:
    return a_draft(
        f"held-{number}", f"r{number}@recipient.example", hold=timedelta(hours=1), at=now, content=content, batch=batch
    )


async def publish(url: str, count: int, content: bytes, recipient: Callable[[int], str], prefix: str = "mail") -> None:
    """Submit one content so many times, with confirms."""
    broker = Broker(url, "bench", patience_s=60)
    await broker.start()
    try:
        for start in range(0, count, at_once := max(1, _IN_FLIGHT // len(content))):
            messages = [
                _submission(f"{prefix}-{number}", content, recipient(number))
                for number in range(start, min(start + at_once, count))
            ]
            if refused := await broker.publisher.publish(messages):
                raise RuntimeError(f"not taken: {refused[0].reason}")
    finally:
        await broker.close()


def _submission(id: str, content: bytes, recipient: str) -> Message:
    headers = {"mail-from": SENDER, "rcpt-to": recipient}
    return Message(SUBMIT, "", content, Properties(message_id=id, content_type="message/rfc822", headers=headers))


def _to_site(number: int) -> str:
    """Two thirds to the relay."""
    return f"r{number}@recipient.example" if number % 3 else f"r{number}@site{number // 3 % 20}.example"


def _relay(receiver: Receivers, hold: Any = 0) -> Settings:
    settings = relay_to(_Port(receiver.ports[0]))
    settings["sending"]["hold"] = hold
    return settings


def _many_sites(receivers: Receivers) -> Settings:
    settings = _relay(receivers)
    settings["routes"] = {
        f"site{number}.example": {"host": "127.0.0.1", "port": port} for number, port in enumerate(receivers.ports[1:])
    }
    return settings


class _Port(NamedTuple):
    port: int


def main() -> None:
    """Play the scenes and print what the workers have grown to."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("scenes", nargs="*", choices=[[], *SCENES], default=[])
    parser.add_argument("--held", type=int, default=1_000_000)
    parser.add_argument("--queued", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    sizes = Sizes(options.held, options.queued, options.large, options.seconds)
    console = Console()
    for name in options.scenes or SCENES:
        console.print(f"{name}: {SCENES[name].__doc__} ({sizes})", highlight=False)
        with temporary_node() as node, tempfile.TemporaryDirectory(prefix="pillarbox-memory-") as folder:
            place = Place(node.amqp_url, Path(folder), lambda said: console.print(said, highlight=False))
            console.print(_table(SCENES[name](place, sizes)))


def _table(grown: Mapping[str, Grown]) -> Table:
    table = Table("worker, MiB", "at first", "at most", "at last")
    for name, each in sorted(grown.items()):
        table.add_row(name, *(f"{mib:.0f}" for mib in each))
    return table


if __name__ == "__main__":
    main()
