"""Free TCP ports on loopback for private servers."""

import random
import socket

# Below the range from which Linux takes the local ports of outgoing connections (32768 to 60999): a server that is
# down for a moment finds its port free when it comes back.
_RANGE = range(20000, 32000)


def free_ports(count: int) -> list[int]:
    """That many different ports on which nothing listens."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.choice(_RANGE)  # noqa: S311 - spread, not secrecy
        if port not in ports and is_free(port):
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
