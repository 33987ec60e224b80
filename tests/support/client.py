"""A client as users write one: pika and JSON, nothing of Pillarbox. It opens a lost connection again."""

import contextlib
import itertools
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

T = TypeVar("T")

_EVENTS = "client.events"  # the client's own queue, which stays when the connection does not
_PATIENCE_S = 60.0
_ANSWERS_WITHIN_S = 20.0
_BURST = 25
_LOST = (pika.exceptions.AMQPConnectionError, pika.exceptions.ChannelWrongStateError, OSError)
_REASON = "x-pillarbox-reason"
_BROKERS_REASON = "x-first-death-reason"

_numbers = itertools.count(1)


class Client:
    """Publishes mails and commands, and gathers events; for one thread."""

    def __init__(
        self, url: str, *, listens: bool = True, insists: bool = False, patience_s: float = _PATIENCE_S
    ) -> None:
        """`url` may name several nodes, separated by commas. `listens`: to every event, from now on.

        `insists`: what the broker refuses is published again. `patience_s`: how long the broker may be away.
        """
        self._again = (*_LOST, pika.exceptions.NackError) if insists else _LOST
        self._nodes = deque(pika.URLParameters(node) for node in url.split(","))
        for parameters in self._nodes:
            parameters.heartbeat = 0  # a test may be busy for longer than a heartbeat
        self._listens = listens
        self._patience_s = patience_s
        self._open: BlockingChannel | None = None
        self._answers: dict[str, dict[str, Any]] = {}
        self._answer_queue = ""
        self.events: list[dict[str, Any]] = []
        if listens:
            self._persist(lambda _: None)

    def submit(
        self,
        mail: Mapping[str, Any] | bytes,
        id: str | None = None,
        *,
        content_type: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> str:
        """Publish a mail, as JSON or (bytes) as a finished message, and return its id; the broker has confirmed it.

        Without a confirm it is published again: under the same id it is the same mail.
        """
        id = id if id is not None else f"mail-{next(_numbers)}"
        body = mail if isinstance(mail, bytes) else json.dumps(mail).encode()
        usual = "message/rfc822" if isinstance(mail, bytes) else "application/json"
        self.publish(
            "pillarbox.submit",
            body,
            pika.BasicProperties(
                message_id=id, content_type=content_type or usual, headers=dict(headers or {}), delivery_mode=2
            ),
        )
        return id

    def ask(self, command: bytes, timeout: float = 30) -> dict[str, Any]:
        """Publish a command and wait for its answer."""
        return self.answer_to(self.give(command), timeout)

    def give(self, command: bytes) -> str:
        """Publish a command; what its answer is known by."""
        number = str(next(_numbers))

        def ask(channel: BlockingChannel) -> None:
            properties = pika.BasicProperties(
                reply_to=self._answer_queue, correlation_id=number, content_type="application/json"
            )
            channel.basic_publish("pillarbox.control", "", command, properties, mandatory=True)

        self._persist(ask)
        return number

    def answered(self, numbers: Sequence[str]) -> list[str]:
        """Of commands that were given those whose answer has come, in the order in which they came."""
        return [number for number in self._answers if number in numbers]

    def answer_to(self, number: str, timeout: float = 30) -> dict[str, Any]:
        """Wait for the answer to a command that was given."""
        self.wait_until(lambda: number in self._answers, f"an answer to command {number}", timeout)
        return self._answers.pop(number)

    def publish(self, exchange: str, body: bytes, properties: pika.BasicProperties) -> None:
        """Publish a message and wait for the broker's confirm."""
        self._persist(lambda channel: channel.basic_publish(exchange, "", body, properties, mandatory=True))

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float = 30) -> None:
        """Take events and answers until the condition holds. Raises TimeoutError that names `what`."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {timeout:g} s")
            self._persist(lambda channel: channel.connection.process_data_events(time_limit=0.05))

    def get(self, queue: str) -> tuple[pika.BasicProperties, bytes] | None:
        """Take one message off a queue, if there is one."""
        method, properties, body = self._persist(lambda channel: channel.basic_get(queue, auto_ack=True))
        return None if method is None else (properties, body)

    def dead_letters(self, count: int, timeout: float = 30) -> list[tuple[bytes, str]]:
        """Take so many dead letters off their queue: the original and the reason."""
        letters: list[tuple[bytes, str]] = []

        def take() -> bool:
            method, properties, body = self._persist(lambda channel: channel.basic_get("pillarbox.dead", auto_ack=True))
            if method is not None:
                letters.append((body, properties.headers.get(_REASON) or properties.headers[_BROKERS_REASON]))
            return len(letters) >= count

        self.wait_until(take, f"{count} dead letters", timeout)
        return letters

    def count_dead_letters(self) -> int:
        """How many lie there."""
        declared = self._persist(lambda channel: channel.queue_declare("pillarbox.dead", passive=True))
        return int(declared.method.message_count)

    def forget_dead_letters(self) -> None:
        """Empty their queue."""
        self._persist(lambda channel: channel.queue_purge("pillarbox.dead"))

    def close(self) -> None:
        """Close the connection."""
        if self._open is not None and self._open.connection.is_open:
            with contextlib.suppress(pika.exceptions.AMQPError):  # the broker may have been quicker
                self._open.connection.close()

    def _persist(self, operation: Callable[[BlockingChannel], T]) -> T:
        """Carry an operation out, over a new connection when the one there was is lost."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                if self._open is None:
                    self._open = self._open_channel()
                return self._within_reason(operation, self._open)
            except self._again:
                self.close()
                self._open = None
                self._nodes.rotate(-1)
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    @staticmethod
    def _within_reason(operation: Callable[[BlockingChannel], T], channel: BlockingChannel) -> T:
        """A broker that changes the leader of a queue may forget to confirm: pika would wait for ever."""

        def give_up() -> None:
            raise TimeoutError("no answer of the broker")

        timer = channel.connection.call_later(_ANSWERS_WITHIN_S, give_up)
        try:
            return operation(channel)
        finally:
            if channel.connection.is_open:
                channel.connection.remove_timeout(timer)

    def _open_channel(self) -> BlockingChannel:
        channel = pika.BlockingConnection(self._nodes[0]).channel()
        channel.confirm_delivery()
        self._answer_queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_consume(self._answer_queue, self._on_answer, auto_ack=True)
        if self._listens:
            channel.queue_declare(_EVENTS, durable=True, arguments={"x-queue-type": "quorum"})
            channel.queue_bind(_EVENTS, "pillarbox.events", "#")
            channel.basic_consume(_EVENTS, self._on_event)
        return channel

    def _on_answer(
        self, _channel: BlockingChannel, _method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        self._answers[str(properties.correlation_id)] = json.loads(body)

    def _on_event(self, channel: BlockingChannel, method: Any, _properties: Any, body: bytes) -> None:
        self.events += [{**json.loads(line), "key": method.routing_key} for line in body.splitlines()]
        channel.basic_ack(method.delivery_tag)


class Load:
    """Publishes mails in bursts, in a thread and over a connection of its own, until its `with` block ends.

    In bursts, so that at every moment some are in every stage.
    """

    def __init__(self, url: str, mail: Callable[[str], Mapping[str, Any]], rate: float) -> None:
        """`mail` makes the submission of an id; `rate` is mails per second."""
        self.ids: list[str] = []  # confirmed
        self._url = url
        self._mail = mail
        self._pause_s = _BURST / rate
        self._ends = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            client = Client(self._url, listens=False, insists=True)
            while not self._ends.wait(self._pause_s):
                for id in [f"load-{next(_numbers)}" for _ in range(_BURST)]:
                    self.ids.append(client.submit(self._mail(id), id))
            client.close()
        except Exception as error:
            self._failure = error
