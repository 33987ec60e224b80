"""A transport and the machine that works over it: octets in and out, the machine's deadline, TLS."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from math import inf
from typing import Protocol, cast

from services.sender.channel import Channel, channel_of
from services.sender.opening import NotOpened, Opened, Opening
from services.sender.tls import TlsPolicy
from shared.settings import Timeouts

_MOST_UNREAD = 64  # pieces, of which a greeting has one: a server that says more before it is listened to is none


def _nobody() -> None:
    pass


class Machine(Protocol):
    """What a link drives."""

    deadline: float  # by the loop's clock; when it passes, the machine is told

    @property
    def closed(self) -> bool:
        """Hang up."""

    def feed(self, data: bytes, now: float) -> None:
        """Octets have come."""

    def to_send(self, now: float) -> bytes | memoryview:
        """Octets that can go now; b"" when there are none."""

    def expire(self) -> None:
        """The deadline has passed."""

    def lost(self, why: str) -> None:
        """The connection is gone."""


class Link(asyncio.Protocol):
    """The asyncio end of one connection."""

    def __init__(self, host: str, timeouts: Timeouts) -> None:
        """`host` is the name for SNI and for the certificate."""
        self.gone = asyncio.Event()  # the socket is closed
        self.channel = Channel()
        self.local_address = ""
        self._loop = asyncio.get_running_loop()
        self._host = host.strip("[]").rstrip(".")
        self._timeouts = timeouts
        self._transport: asyncio.Transport | None = None
        self._machine: Machine | None = None
        self._changed: Callable[[], None] = _nobody
        self._heard: Callable[[], None] = _nobody
        self._paused = False  # the transport has enough to write
        self._unread: list[bytes] = []  # what came before there was a machine
        self._early: list[bytes] | None = None  # what comes while a handshake ends
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf

    # -- for the owner

    def work_with(self, machine: Machine, changed: Callable[[], None], heard: Callable[[], None] = _nobody) -> None:
        """Drive this machine from now on; `changed` is called after each of its steps.

        `heard` is called when it has taken in what has come, before it says anything to that.
        """
        self._machine, self._changed, self._heard = machine, changed, heard
        if self.gone.is_set():
            machine.lost("the server has hung up")
        unread, self._unread = self._unread, []
        for data in unread:
            self.data_received(data)
        self.proceed()

    def proceed(self) -> None:
        """Write what the machine has to say, mind its deadline, tell the owner."""
        machine, transport = self._machine, self._transport
        if machine is None or transport is None:
            return
        if machine.closed:
            if not self.gone.is_set():
                self._hang_up(transport)
        else:
            now = self._loop.time()
            # A transport that has failed takes everything and sends nothing: a final dot among it would seem to be out.
            while not (self._paused or transport.is_closing()) and (data := machine.to_send(now)):
                transport.write(data)
            if machine.deadline < self._timer_at:
                self._set_timer(machine.deadline)
        self._changed()

    async def converse(self, opening: Opening, policy: TlsPolicy, context: ssl.SSLContext) -> Opened | NotOpened:
        """Carry out the opening of a session; `context` is the policy's."""
        news = asyncio.Event()
        opening.start(self._loop.time())
        self.work_with(opening, news.set)
        while opening.result is None:
            if opening.wants_handshake:
                await self._secure(opening, policy, context)
            else:
                news.clear()
                await news.wait()
        return opening.result

    def abort(self) -> None:
        """Close the socket now."""
        if self._transport is not None:
            self._transport.abort()

    # -- for asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self.local_address = str(transport.get_extra_info("sockname")[0])

    def data_received(self, data: bytes) -> None:
        if self._early is not None:
            self._early.append(data)
        elif self._machine is None:
            # Not paused instead: uvloop never resumes a transport that was paused when its connection was made.
            self._unread.append(data)
            if len(self._unread) > _MOST_UNREAD:
                self.abort()
        elif not self._machine.closed:
            self._machine.feed(data, self._loop.time())
            self._heard()
            self.proceed()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.proceed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        self._set_timer(inf)
        if self._machine is not None and self._early is None:
            self._machine.lost(why(exc) if exc is not None else "the server hung up")
            self._changed()

    # --

    async def _secure(self, opening: Opening, policy: TlsPolicy, context: ssl.SSLContext) -> None:
        assert self._transport is not None
        self._early = []
        try:
            if self._transport.is_closing():
                raise ConnectionResetError("the server hung up")
            secured = await self._loop.start_tls(
                self._transport,
                self,
                context,
                # Python sends no SNI for an address, and compares it to the addresses in the certificate.
                server_hostname=self._host,
                ssl_handshake_timeout=self._timeouts.handshake.total_seconds(),
                ssl_shutdown_timeout=self._timeouts.quit.total_seconds(),
            )
        except (OSError, ValueError) as error:
            opening.not_secured(why(error))
        else:
            assert secured is not None  # typeshed knows transports that can not be secured; a socket's can
            self._transport = secured
            self.channel = channel_of(secured.get_extra_info("ssl_object"), policy, self._host)
            opening.secured(self._loop.time(), self.channel)
        early, self._early = b"".join(self._early), None
        if early and not opening.closed:
            opening.feed(early, self._loop.time())
        if self.gone.is_set():
            opening.lost("the server hung up")
        self.proceed()

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = None if deadline == inf else self._loop.call_at(deadline, self._check_deadline)

    def _check_deadline(self) -> None:
        """The timer is set to a deadline of some time ago: setting it anew with each would cost more than this."""
        machine = self._machine
        self._set_timer(inf)
        if machine is not None and not machine.closed and machine.deadline <= self._loop.time():
            machine.expire()
        self.proceed()

    def _hang_up(self, transport: asyncio.Transport) -> None:
        self._set_timer(inf)
        # What was not written by now will not be read: only a connection with nothing left is closed in order.
        if transport.get_write_buffer_size():
            transport.abort()
        else:
            transport.close()


def why(error: Exception) -> str:
    """The reason of a failure, in words for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
