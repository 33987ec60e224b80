"""A connection to the broker that is opened again whenever it is lost."""

import asyncio
from collections import deque
from typing import Any

import pika
import pika.exceptions
import structlog
import tenacity
from pika.adapters.asyncio_connection import AsyncioConnection

from shared import metrics
from shared.broker import tls
from shared.broker.errors import BrokerRefused, BrokerUnreachable, in_words, may_pass
from shared.broker.mended_pika import MendedConnection, MendedServices

log = structlog.get_logger()

# The broker takes a peer for dead that was silent for three of these (RabbitMQ 3.10.8, measured). The outcomes that a
# frozen scheduler holds have to be back in the queue before their claims lapse: others look for them there.
HEARTBEAT_S = 15
# An alarm that lasts longer than this costs us the connection, and its message is said again in the log.
BLOCKED_TIMEOUT_S = 300
REOPEN = tenacity.wait_random_exponential(multiplier=0.05, max=5)

# What was written is not repeated: the part that is wrong may be the password.
_URL_TAKES = (
    "PILLARBOX_AMQP_URL: takes amqp://user:password@host:port/vhost, or amqps:// for TLS, or several with commas; "
    "in a password / ? # @ , are written %2F %3F %23 %40 %2C"
)


class Link:
    """One connection, opened again whenever it is lost."""

    def __init__(self, url: str, name: str, patience_s: float | None) -> None:
        self._parameters = deque(_parameters(part.strip(), name) for part in url.split(","))
        self._name = name
        self._purpose = name.rpartition(": ")[2]
        self._patience_s = patience_s
        self._opened = asyncio.Event()
        self._lost = asyncio.Event()
        self._connection: AsyncioConnection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.unblocked = asyncio.Event()
        self.unblocked.set()
        self.blocked_by = ""  # what the broker is short of, while it is

    async def start(self) -> None:
        self._adopt(await self._open_with_patience())
        self._keeper = asyncio.create_task(self._keep_open())

    async def connection(self) -> AsyncioConnection:
        """The open connection; waits while there is none."""
        while self._connection is None or not self._connection.is_open:
            self._opened.clear()
            await self._opened.wait()
        return self._connection

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        connection = self._connection
        if connection is not None and not connection.is_closed:
            if connection.is_open:
                connection.close()
            try:
                await asyncio.wait_for(self._lost.wait(), 5)
            except TimeoutError:
                log.warning("broker_close_timed_out", connection=self._name)

    async def _keep_open(self) -> None:
        while True:
            await self._lost.wait()
            async for attempt in tenacity.AsyncRetrying(
                wait=REOPEN,
                retry=tenacity.retry_if_exception_type((OSError, pika.exceptions.AMQPError, TimeoutError)),
            ):
                with attempt:
                    self._adopt(await self._open())
            metrics.BROKER_RECONNECTS.labels(self._purpose).inc()
            log.info("broker_reconnected", connection=self._name)

    async def _open_with_patience(self) -> AsyncioConnection:
        stop = tenacity.stop_never if self._patience_s is None else tenacity.stop_after_delay(self._patience_s)
        try:
            return await tenacity.AsyncRetrying(
                wait=REOPEN,
                stop=stop,
                retry=tenacity.retry_if_exception(lambda error: may_pass(error) and tls.trouble(error) is None),
                before_sleep=self._say_still_trying,
                reraise=True,
            )(self._open)
        except (OSError, pika.exceptions.AMQPError, TimeoutError) as error:
            if trouble := tls.trouble(error):
                raise BrokerRefused(f"no TLS with {self._where()}: {trouble}") from error
            if not may_pass(error):
                raise BrokerRefused(f"{self._where()} does not let us in: {in_words(error)}") from error
            raise BrokerUnreachable(f"no broker at {self._where()}: {in_words(error)}") from error

    def _say_still_trying(self, state: tenacity.RetryCallState) -> None:
        if state.attempt_number in (3, 10) or state.attempt_number % 60 == 0:
            error = state.outcome.exception() if state.outcome else None
            log.warning("broker_unreachable", at=self._where(), error=in_words(error), next="try_again")

    def _where(self) -> str:
        return ", ".join(f"{parameters.host}:{parameters.port}" for parameters in self._parameters)

    async def _open(self) -> AsyncioConnection:
        opened: asyncio.Future[AsyncioConnection] = asyncio.get_running_loop().create_future()
        parameters = self._parameters[0]
        self._parameters.rotate(-1)  # the next try goes to the next node

        def settle(connection: AsyncioConnection, error: BaseException | None = None) -> None:
            if opened.done():
                return
            if error is None:
                opened.set_result(connection)
            elif isinstance(error, OSError | pika.exceptions.AMQPError):
                opened.set_exception(error)
            else:  # a name that does not resolve, a peer that speaks something else: pika has an error of its own kind
                opened.set_exception(ConnectionError(in_words(error)))

        MendedConnection(
            parameters,
            on_open_callback=settle,
            on_open_error_callback=settle,
            on_close_callback=self._on_closed,
            custom_ioloop=MendedServices(asyncio.get_running_loop()),
        )
        return await opened

    def _adopt(self, connection: AsyncioConnection) -> None:
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._not_blocked()
        self._lost.clear()
        self._connection = connection
        if connection.is_open:
            metrics.BROKER_CONNECTED.labels(self._purpose).set(1)
            self._opened.set()
        else:  # lost again between its opening and here: nobody else will say so
            self._lost.set()

    def _on_closed(self, connection: AsyncioConnection, reason: BaseException) -> None:
        if connection is self._connection:
            if not isinstance(reason, pika.exceptions.ConnectionClosedByClient):
                log.warning("broker_connection_lost", connection=self._name, reason=in_words(reason), next="reconnect")
            metrics.BROKER_CONNECTED.labels(self._purpose).set(0)
            self._lost.set()

    def _on_blocked(self, _connection: AsyncioConnection, frame: Any) -> None:
        self.blocked_by = str(frame.method.reason)
        log.error("broker_blocked", reason=self.blocked_by, next="wait_for_the_alarm_to_clear")
        metrics.BROKER_BLOCKED.labels(self._purpose).set(1)
        self.unblocked.clear()

    def _on_unblocked(self, _connection: AsyncioConnection, _frame: Any) -> None:
        log.info("broker_unblocked")
        self._not_blocked()

    def _not_blocked(self) -> None:
        metrics.BROKER_BLOCKED.labels(self._purpose).set(0)
        self.blocked_by = ""
        self.unblocked.set()


def _parameters(url: str, name: str) -> pika.URLParameters:
    if not url.startswith(("amqp://", "amqps://")):
        raise BrokerRefused(_URL_TAKES)
    try:
        url, files = tls.split_off(url)
        parameters = pika.URLParameters(url)
    except (ValueError, TypeError):
        raise BrokerRefused(_URL_TAKES) from None
    if parameters.ssl_options is not None:
        parameters.ssl_options = tls.options(files, parameters.host)
    parameters.heartbeat = HEARTBEAT_S
    parameters.blocked_connection_timeout = BLOCKED_TIMEOUT_S
    parameters.connection_attempts = 1  # tenacity does the trying
    parameters.client_properties = {"connection_name": f"pillarbox {name}"}
    return parameters
