"""pika's connection to the broker on asyncio's own transport, and without faults that cost more than a message.

pika calls the socket itself: one system call for each frame it writes, three a message, and one for every ten kilobytes
it reads. Here what is written in one turn of the event loop goes out together, and what has come is read at once. That
saves us and the broker half of the processor time of a message (`python -m bench.hop`).
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any

import pika
import pika.exceptions
import pika.frame
from pika.adapters.asyncio_connection import AsyncioConnection, _AsyncioIOServicesAdapter
from pika.spec import Basic

from shared.broker.framing import Whole, framed, whole_delivery
from shared.broker.messages import UNREADABLE_PROPERTIES, Message

_FRAME_HEAD = struct.Struct(">BHL")  # type, channel, size of what follows (AMQP 0-9-1 section 4.2.3)
_CONTENT = (pika.spec.FRAME_HEADER, pika.spec.FRAME_BODY)
_CONTENT_HEAD = struct.Struct(">HHQ")  # class, weight, size of the body (section 4.2.6.1)


class MendedConnection(AsyncioConnection):  # type: ignore[misc]  # pika types it as Any
    """pika's connection, reading and writing many frames at once.

    Properties that it can not read, such as a time in the year 36812, or tables in tables in tables, would cost pika's
    connection, and again at each redelivery, until all that was delivered beside them became dead letters too. So the
    message comes with a content type that nobody takes.
    """

    _frame_buffer: bytes

    def _init_connection_state(self) -> None:
        super()._init_connection_state()
        self._unsent: list[bytes] = []

    def _deliver(self, whole: Whole) -> bool:
        """Give a delivery to who has subscribed; False: that is not as usual, and pika's affair."""
        channel = self._channels.get(whole.channel)
        if channel is None or whole.subscription in channel._cancelled:
            return False
        receive = channel._consumers.get(whole.subscription)
        if receive is None:
            return False
        method = Basic.Deliver(whole.subscription, whole.tag, whole.redelivered)
        receive(channel, method, whole.properties, whole.body)
        return True

    def publish(self, message: Message, channel: int) -> None:
        """Write what publishes a message. Raises what is in NOT_ENCODABLE."""
        self._adapter_emit_data(framed(message, channel, self._body_max_length))

    def _adapter_emit_data(self, data: bytes) -> None:
        if not self._unsent:
            self.ioloop.call_soon(self._send)
        self._unsent.append(data)

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and unsent:
            self._transport.write(b"".join(unsent))

    def _on_data_available(self, data_in: bytes) -> None:
        data, start = self._frame_buffer + data_in, 0
        while True:
            if (whole := whole_delivery(data, start)) is not None and self._deliver(whole):
                self.bytes_received += whole.end - start
                start = whole.end
                continue
            if (end := _end_of_frame(data, start)) is None:
                break
            frame = _decoded(data[start:end])
            self.bytes_received += end - start
            start = end
            if frame.frame_type in _CONTENT:  # nobody has asked for it by a call: no callback is to be looked for
                self._deliver_frame_to_channel(frame)
            else:
                self._process_frame(frame)
        self._frame_buffer = data[start:]


def _end_of_frame(data: bytes, start: int) -> int | None:
    """Where the frame ends that begins there; None where it is not all there yet."""
    if data.startswith(b"AMQP", start):  # a broker of another version says which it speaks
        end = start + 8
    elif start + _FRAME_HEAD.size > len(data):
        return None
    else:
        end = start + _FRAME_HEAD.size + _FRAME_HEAD.unpack_from(data, start)[2] + pika.spec.FRAME_END_SIZE
    return end if end <= len(data) else None


def _decoded(octets: bytes) -> Any:
    try:
        return pika.frame.decode_frame(octets)[1]
    except (ValueError, OverflowError, OSError, RecursionError, struct.error, pika.exceptions.ProtocolSyntaxError):
        kind, channel, _ = _FRAME_HEAD.unpack_from(octets)
        if kind != pika.spec.FRAME_HEADER:
            raise
        _, _, body_size = _CONTENT_HEAD.unpack_from(octets, _FRAME_HEAD.size)
        return pika.frame.Header(channel, body_size, pika.BasicProperties(content_type=UNREADABLE_PROPERTIES))


class MendedServices(_AsyncioIOServicesAdapter):  # type: ignore[misc]  # pika types it as Any
    """pika's way to the event loop, with connections over transports of the loop itself.

    So a broker that hangs up as soon as it has taken a connection, such as one that is just killed, is an attempt that
    failed. pika raises that where nobody takes it, and goes on after its limit of 15 s.
    """

    def create_streaming_connection(
        self,
        protocol_factory: Callable[[], Any],
        sock: socket.socket,
        on_done: Callable[[Any], None],
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> Any:
        async def connect() -> tuple[Any, _Stream]:
            try:
                transport, stream = await self._loop.create_connection(
                    lambda: _Stream(protocol_factory()), sock=sock, ssl=ssl_context, server_hostname=server_hostname
                )
            except BaseException:
                sock.close()
                raise
            return transport, stream

        def hand_over(result: tuple[Any, _Stream] | BaseException) -> None:
            if isinstance(result, BaseException):
                on_done(result)
            else:
                transport, stream = result
                on_done(stream.lost or (transport, stream.hand_over()))

        return self._schedule_and_wrap_in_io_ref(connect(), hand_over)


class _Stream(asyncio.Protocol):
    """What comes over a transport, for pika; it looks itself after how much it has written.

    Between the connection and the turn of the event loop in which pika hears of it, nobody there listens for its end.
    """

    def __init__(self, receiver: Any) -> None:
        self.lost: BaseException | None = None  # before pika had it
        self._receiver = receiver
        self.connection_made = receiver.connection_made  # type: ignore[method-assign]
        self.data_received = receiver.data_received  # type: ignore[method-assign]
        self.eof_received = receiver.eof_received  # type: ignore[method-assign]

    def connection_lost(self, error: BaseException | None) -> None:
        """Keep the end until somebody listens."""
        self.lost = error or ConnectionResetError("the broker has hung up")

    def hand_over(self) -> Any:
        """The receiver, which from now on hears of the end itself."""
        self.connection_lost = self._receiver.connection_lost  # type: ignore[method-assign]
        return self._receiver
