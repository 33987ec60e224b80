"""pika's connection to the broker, but for two faults that would cost us more than the message or the attempt."""

import socket
import struct
from typing import Any

import pika
import pika.exceptions
import pika.frame
from pika.adapters.asyncio_connection import AsyncioConnection, _AsyncioIOServicesAdapter

from shared.broker.messages import UNREADABLE_PROPERTIES


class MendedConnection(AsyncioConnection):  # type: ignore[misc]  # pika types it as Any
    """pika's, but for properties that it can not read, such as a time in the year 36812, or tables in tables in tables.

    They would cost the connection, and again at each redelivery, until all that was delivered beside them became dead
    letters too. So the message comes with a content type that nobody takes.
    """

    def _read_frame(self) -> Any:
        try:
            return super()._read_frame()
        except (ValueError, OverflowError, OSError, RecursionError, struct.error, pika.exceptions.ProtocolSyntaxError):
            kind, channel, size = struct.unpack_from(">BHL", self._frame_buffer)
            if kind != pika.spec.FRAME_HEADER:
                raise
            (body_size,) = struct.unpack_from(">Q", self._frame_buffer, pika.spec.FRAME_HEADER_SIZE + 4)
            length = pika.spec.FRAME_HEADER_SIZE + size + pika.spec.FRAME_END_SIZE
            return length, pika.frame.Header(
                channel, body_size, pika.BasicProperties(content_type=UNREADABLE_PROPERTIES)
            )


class MendedServices(_AsyncioIOServicesAdapter):  # type: ignore[misc]  # pika types it as Any
    """pika's, but for a broker that hangs up as soon as it has taken a connection, such as one that is just killed.

    pika raises that in a callback of the event loop, where nobody takes it: a traceback in the log, and a connection
    that is neither open nor refused until pika's own limit of 15 s.
    """

    def create_streaming_connection(self, protocol_factory: Any, sock: socket.socket, on_done: Any, **tls: Any) -> Any:
        try:
            return super().create_streaming_connection(protocol_factory, sock, on_done, **tls)
        except ValueError as error:
            sock.close()
            return self._schedule_and_wrap_in_io_ref(_fail(ConnectionResetError(str(error))), on_done)


async def _fail(error: Exception) -> None:
    raise error
