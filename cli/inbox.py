"""`python -m cli.inbox`: the test inbox, an SMTP server on loopback that keeps every mail as a file.

A mail is two files: `<time>-<number>.eml`, octet for octet what came, and beside it `.json` with the envelope.
"""

import argparse
import asyncio
import itertools
import os
import secrets
import signal
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from shared.mail_log import start_log

log = structlog.get_logger()

_LARGEST = 512 * 1024 * 1024  # octets: as much as the setting sending.max_size allows
_BACKLOG = 100


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope of a mail in the inbox."""

    mail_from: str  # "" is the null reverse-path
    rcpt_to: list[str]
    time: datetime
    connection: int  # which one since the inbox's start, from 1
    helo: str
    size: int


class Keeper:
    """aiosmtpd's handler: says yes to everything, after it has written it."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now

    async def handle_EHLO(  # noqa: N802 - aiosmtpd names its hooks after the commands
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        """Commands may come ahead of replies (RFC 2920): they are read one by one."""
        session.host_name = hostname
        return [responses[0], "250-PIPELINING", *responses[1:]]

    async def handle_DATA(  # noqa: N802
        self, server: "Connection", session: Session, envelope: Envelope
    ) -> str:
        """The mail is here; keep it, then say so."""
        content = bytes(envelope.original_content or b"")
        kept = Kept(
            mail_from=(envelope.mail_from or "").removeprefix("<").removesuffix(">"),  # aiosmtpd writes "<>"
            rcpt_to=[str(recipient) for recipient in envelope.rcpt_tos],
            time=self._now(),
            connection=server.connection_number,
            helo=str(session.host_name or ""),
            size=len(content),
        )
        name = keep(self._folder, kept, content)
        log.info("kept", file=f"{name}.eml", sender=kept.mail_from, recipients=len(kept.rcpt_to), size=kept.size)
        return f"250 2.0.0 kept as {name}"


class Connection(SMTP):
    """One client, numbered."""

    def __init__(self, handler: Keeper, number: int) -> None:
        super().__init__(
            handler, data_size_limit=_LARGEST, enable_SMTPUTF8=True, decode_data=False, hostname="inbox.pillarbox.test"
        )
        self.connection_number = number


def keep(folder: Path, kept: Kept, content: bytes) -> str:
    """Write a mail; each file appears whole, the .eml last. Returns the name without its ending."""
    name = f"{file_time(kept.time)}-{secrets.token_hex(4)}"
    for ending, octets in ((".json", msgspec.json.encode(kept)), (".eml", content)):
        written = folder / f".{name}.part"  # which no search for mails finds
        with open(written, "wb", opener=_private) as file:
            file.write(octets)
        written.rename(folder / f"{name}{ending}")
    return name


def file_time(time: datetime) -> str:
    """How a file's name begins: names sort by time."""
    return f"{time.astimezone(UTC):%Y%m%dT%H%M%S.%f}Z"


def read_kept(eml: Path) -> Kept:
    """The envelope of a mail in the inbox. Raises OSError."""
    return msgspec.json.decode(eml.with_suffix(".json").read_bytes(), type=Kept)


async def serve(folder: Path, listener: socket.socket) -> None:
    """Keep mail until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    numbers = itertools.count(1)
    keeper = Keeper(folder, lambda: datetime.now(UTC))
    server = await loop.create_server(lambda: Connection(keeper, next(numbers)), sock=listener, backlog=_BACKLOG)
    log.info("ready", metrics_port=None, address=":".join(map(str, listener.getsockname()[:2])), folder=str(folder))
    await stop.wait()
    server.close()
    log.info("stopped")


def listen(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 takes a free one. Raises OSError."""
    # The protocol is named because asyncio switches Nagle's algorithm off only where it is: 40 ms a mail.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def main() -> None:
    """Serve on a port, or on a socket that the parent process holds: so it survives a crash of the inbox."""
    parser = argparse.ArgumentParser(prog="python -m cli.inbox", description="The test inbox.")
    parser.add_argument("--folder", type=Path, required=True, help="where the mail is kept")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--port", type=int, help="where to listen on loopback; 0 takes a free port, which the log names")
    place.add_argument("--socket", type=int, help="file descriptor of a socket that listens")
    chosen = parser.parse_args()
    chosen.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    start_log(os.environ.get("PILLARBOX_WORKER", "inbox"))
    listener = listen(chosen.port) if chosen.socket is None else socket.socket(fileno=chosen.socket)
    asyncio.run(serve(chosen.folder, listener))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


if __name__ == "__main__":
    main()
