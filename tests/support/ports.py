"""Free ports for test servers, and waiting for a server to listen."""

import socket
import time
from collections.abc import Callable

from cli.ports import free_ports

__all__ = ["free_port", "free_ports", "is_listening", "wait_for_port", "wait_until"]


def free_port() -> int:
    """One port on which nothing listens."""
    return free_ports(1)[0]


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 10) -> None:
    """Wait for a condition that no event announces. Raises TimeoutError that names `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(0.02)


def wait_for_port(port: int, timeout: float = 10, address: str = "127.0.0.1") -> None:
    """Wait until a server accepts connections on loopback."""
    wait_until(lambda: is_listening(port, address), f"a server on port {port}", timeout)


def is_listening(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a server accepts connections on loopback now."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True
