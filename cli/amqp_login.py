"""Asks a broker, with AMQP 0-9-1's opening handshake, whether it lets us in.

Used while a private node starts: it is ready when it opens a connection, not when it accepts one.
"""

import socket
import struct

_METHOD_FRAME = 1
_FRAME_END = 0xCE
# Class and method numbers of AMQP 0-9-1, section 1.1 of its XML definition.
_START, _START_OK = (10, 10), (10, 11)
_TUNE, _TUNE_OK = (10, 30), (10, 31)
_OPEN, _OPEN_OK = (10, 40), (10, 41)
_CLOSE, _CLOSE_OK = (10, 50), (10, 51)


class LoginRefused(Exception):
    """The broker answered and does not let us in."""


def log_in(port: int, user: str, password: str, vhost: str, *, patience_s: float = 5) -> None:
    """Open a connection on loopback and close it. Raises LoginRefused; OSError when nobody answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as broker:
        broker.sendall(b"AMQP\x00\x00\x09\x01")
        _expect(broker, _START)
        secret = f"\0{user}\0{password}".encode()
        start_ok = struct.pack(">I", 0) + _short("PLAIN") + struct.pack(">I", len(secret)) + secret + _short("en_US")
        _send(broker, _START_OK, start_ok)
        tune = _expect(broker, _TUNE)
        _send(broker, _TUNE_OK, tune[:6] + struct.pack(">H", 0))  # its limits, no heartbeat
        _send(broker, _OPEN, _short(vhost) + _short("") + b"\0")
        _expect(broker, _OPEN_OK)
        _send(broker, _CLOSE, struct.pack(">H", 200) + _short("ready") + struct.pack(">HH", 0, 0))
        _expect(broker, _CLOSE_OK)


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


def _send(broker: socket.socket, method: tuple[int, int], arguments: bytes) -> None:
    payload = struct.pack(">HH", *method) + arguments
    broker.sendall(struct.pack(">BHI", _METHOD_FRAME, 0, len(payload)) + payload + bytes([_FRAME_END]))


def _expect(broker: socket.socket, wanted: tuple[int, int]) -> bytes:
    """The arguments of the method that must come now."""
    _kind, _channel, size = struct.unpack(">BHI", _read(broker, 7))
    payload = _read(broker, size + 1)[:-1]
    method, arguments = struct.unpack(">HH", payload[:4]), payload[4:]
    if method == _CLOSE:
        raise LoginRefused(arguments[3 : 3 + arguments[2]].decode(errors="replace"))
    if method != wanted:
        raise LoginRefused(f"method {method} where {wanted} was due")
    return arguments


def _read(broker: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = broker.recv(size - len(data))
        if not part:
            raise ConnectionResetError("the broker closed the connection during the handshake")
        data += part
    return data
