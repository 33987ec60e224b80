"""An address that answers no SYN, and how often somebody has tried to connect to it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SYN_SENT = "02"


class Silence:
    """The tries so far; each is seen for as long as it waits."""

    def __init__(self, address: str, port: int) -> None:
        octets = bytes(map(int, address.split(".")))
        self._remote = f"{int.from_bytes(octets, 'little'):08X}:{port:04X}"
        self._seen: set[str] = set()
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @property
    def tries(self) -> int:
        """Connections that were begun."""
        return len(self._seen)

    def end(self) -> None:
        """Look no more."""
        self._stop.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
                _, local, remote, state, *_ = line.split()
                if (remote, state) == (self._remote, _SYN_SENT):
                    self._seen.add(local)


@contextmanager
def silent(address: str, port: int) -> Iterator[Silence]:
    """A socket that listens and whose queue is full: the kernel drops what comes, as if nobody were there."""
    with socket.socket() as listener, socket.socket() as first:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        first.connect((address, port))
        silence = Silence(address, port)
        try:
            yield silence
        finally:
            silence.end()
