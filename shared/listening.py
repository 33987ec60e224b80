"""Where a front door listens: an address of this machine, or a socket that whoever started the worker has opened."""

import errno
import socket

from shared.environment import InvalidEnvironment


def bind(variable: str, host: str, port: int, descriptor: int | None) -> socket.socket:
    """A socket with its address; it does not listen yet. Raises InvalidEnvironment, which names the variable."""
    try:
        return _bound(host, port) if descriptor is None else _inherited(descriptor)
    except (OSError, UnicodeError) as error:  # the latter for a name that can be no host's
        place = (
            f"fd:{descriptor}" if descriptor is not None else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        )
        why = error.strerror if isinstance(error, OSError) else error
        takes = "an address of this machine, and a port of it where nothing else listens"
        if descriptor is not None:
            takes = "the number of an open socket for TCP"
        raise InvalidEnvironment(f"{variable}: can not listen on {place}: {why}; takes {takes}") from error


def _bound(host: str, port: int) -> socket.socket:
    # The protocol is named because asyncio switches Nagle's algorithm off only where it is: 40 ms a mail.
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # IPv4 first: whoever looks a name up that has both tries that as well.
    family, *_, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 is another place
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _inherited(descriptor: int) -> socket.socket:
    found = socket.socket(fileno=descriptor)
    if found.family not in (socket.AF_INET, socket.AF_INET6) or found.type != socket.SOCK_STREAM:
        raise OSError(errno.EAFNOSUPPORT, "it is no socket for TCP")
    return found
