"""Many mails over many connections to a gateway that may be killed meanwhile, by threads that each have a connection.

What a client does when its connection breaks: it connects again and sends the mail that was not answered once more.
"""

import smtplib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec

from tests.support.gateway import Gateway

_PATIENCE_S = 240.0
_LOST = (smtplib.SMTPException, OSError)


class Answered(msgspec.Struct, frozen=True):
    """A mail that was answered with 250: its subject, and the id in the reply."""

    subject: str
    id: str


class SmtpLoad:
    """Sends numbered mails; a context manager that waits until all were answered with 250."""

    def __init__(self, gateway: Gateway, mails: int, connections: int) -> None:
        self.answered: list[Answered] = []
        self._gateway = gateway
        self._numbers = iter(range(mails))
        self._mails = mails
        self._lock = threading.Lock()
        self._connections = connections

    def __enter__(self) -> "SmtpLoad":
        self._pool = ThreadPoolExecutor(self._connections)
        self._running = [self._pool.submit(self._send) for _ in range(self._connections)]
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for one in self._running:
                one.result()
        finally:
            self._pool.shutdown()

    @property
    def share(self) -> float:
        """How much of it has been answered."""
        return len(self.answered) / self._mails

    def wait_for(self, share: float) -> None:
        """Wait until so much of it has been answered."""
        deadline = time.monotonic() + _PATIENCE_S
        while self.share < share:
            assert time.monotonic() < deadline, f"{self.share:.0%} answered"
            time.sleep(0.01)

    def _send(self) -> None:
        deadline, waiting = time.monotonic() + 2 * _PATIENCE_S, self._next()
        while waiting is not None:
            try:
                with self._gateway.client() as client:
                    while waiting is not None:
                        self.answered.append(_sent(client, f"smtp-{waiting}"))
                        waiting = self._next()
            except _LOST:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)


def _sent(client: smtplib.SMTP, subject: str) -> Answered:
    client.mail("robot@x.example")
    client.rcpt("b@y.example")
    code, said = client.data(f"From: robot@x.example\r\nSubject: {subject}\r\n\r\n{'x' * 70}\r\n".encode())
    if code != 250:
        raise smtplib.SMTPDataError(code, said)
    return Answered(subject, said.decode().rpartition(" ")[2])
