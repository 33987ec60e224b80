"""Free TCP ports on loopback for private servers."""

import fcntl
import functools
import os
import random
import socket

# Below the range from which Linux takes the local ports of outgoing connections (32768 to 60999): a server that is
# down for a moment finds its port free when it comes back.
_RANGE = range(20000, 32000)
_CLAIMS = "/tmp/pillarbox-ports"  # noqa: S108 - not in $TMPDIR: one file for all; it is not followed if it is a link


def free_ports(count: int) -> list[int]:
    """That many ports on which nothing listens, none of which this process or another has been given before.

    They are this process's for as long as it lives, whether its servers run or not.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.choice(_RANGE)  # noqa: S311 - spread, not secrecy
        if _claims().take(port) and is_free(port):
            ports.append(port)
    return ports


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As servers do: connections that linger after a crash (TIME_WAIT) do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
        return True


class _Claims:
    """Which ports this user's processes have been given: each is a locked octet of one file.

    A lock ends with its process, whichever way that ends.
    """

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._file = os.open(f"{_CLAIMS}-{os.getuid()}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def take(self, port: int) -> bool:
        """Claim a port; False when it is taken, by this process too."""
        if port in self._taken:
            return False
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        self._taken.add(port)
        return True


@functools.cache
def _claims() -> _Claims:
    return _Claims()
