"""Feeds a mail server as smtp-source does, but with recipients of many domains: many connections, one content."""

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from bench.mails import SENDER
from bench.results import Failed

_ANSWERS_WITHIN_S = 60.0


def feed(port: int, recipients: Sequence[str], content: bytes, connections: int) -> None:
    """Send a mail to each, evenly over so many connections. Raises Failed when one is not taken."""
    with ThreadPoolExecutor(connections, "feeder") as pool:
        shares = [recipients[first::connections] for first in range(connections)]
        list(pool.map(lambda share: _send(port, share, content), shares))


def _send(port: int, recipients: Sequence[str], content: bytes) -> None:
    with (
        socket.create_connection(("127.0.0.1", port), _ANSWERS_WITHIN_S) as connection,
        connection.makefile("rb") as answers,
    ):
        _expect(answers, b"220")
        connection.sendall(b"EHLO client.example\r\n")
        _expect(answers, b"250")
        for recipient in recipients:
            connection.sendall(f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode())
            for code in (b"250", b"250", b"354"):
                _expect(answers, code)
            connection.sendall(content + b".\r\n")
            _expect(answers, b"250")
        connection.sendall(b"QUIT\r\n")
        _expect(answers, b"221")


def _expect(answers: IO[bytes], code: bytes) -> None:
    while (line := answers.readline())[3:4] == b"-":
        pass
    if not line.startswith(code):
        raise Failed(f"the server says {line!r} in the place of {code.decode()}")
