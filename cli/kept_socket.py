"""A listening socket of `pillarbox up`: held here it survives the process it is for, and it keeps its port."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cli.inbox import listen
from cli.output import remark


@contextmanager
def kept_socket(file: Path, what: str) -> Iterator[tuple[socket.socket, int | None]]:
    """The socket, on the port of the last time if that is free; and that port, which `file` remembers."""
    former = _port_in(file)
    try:
        listener = listen(former or 0)
    except OSError:
        listener = listen(0)
        remark(f"another program listens on port {former}; {what} moves to another")
    with listener:
        file.write_text(f"{listener.getsockname()[1]}\n", encoding="ascii")
        yield listener, former


def _port_in(file: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(file.read_text(encoding="ascii"))
    return None
