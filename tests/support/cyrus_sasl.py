"""Cyrus SASL's library as the server of a sign-in: it binds SCRAM to a channel, which Postfix does not ask of it."""

import ctypes
import subprocess
from functools import cache
from pathlib import Path

_OK, _CONTINUE = 0, 1  # what the library answers, besides errors
_CB_GETOPT, _CB_LIST_END = 1, 0
_PROPERTY_CHANNEL_BINDING = 21

_GetOption = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_char_p),
    ctypes.POINTER(ctypes.c_uint),
)


class _Callback(ctypes.Structure):
    _fields_ = (("id", ctypes.c_ulong), ("procedure", _GetOption), ("context", ctypes.c_void_p))


class _ChannelBinding(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("critical", ctypes.c_int),
        ("length", ctypes.c_ulong),
        ("data", ctypes.c_char_p),
    )


class CyrusSasl:
    """One exchange. What it refers to has to live as long as it does."""

    def __init__(self, database: Path, realm: str, binding: tuple[str, bytes]) -> None:
        """`database` holds the users of `realm`; `binding` is the channel's name (RFC 5929) and data."""
        self.refusal = ""
        self._library = _library()
        _options["sasldb_path"] = str(database).encode()
        self._connection = ctypes.c_void_p()
        self._binding = _ChannelBinding(binding[0].encode(), 0, len(binding[1]), binding[1])
        names = (b"smtp", realm.encode(), realm.encode())
        self._check(
            self._library.sasl_server_new(*names, None, None, None, ctypes.c_uint(0), ctypes.byref(self._connection))
        )
        self._check(
            self._library.sasl_setprop(self._connection, _PROPERTY_CHANNEL_BINDING, ctypes.byref(self._binding))
        )

    def start(self, mechanism: str, response: bytes) -> bytes | None:
        """Take the initial response; the challenge, or None at the end."""
        return self._answer(self._library.sasl_server_start, mechanism.encode(), response)

    def step(self, response: bytes) -> bytes | None:
        """Take the next response."""
        return self._answer(self._library.sasl_server_step, None, response)

    def close(self) -> None:
        """Free it."""
        self._library.sasl_dispose(ctypes.byref(self._connection))

    def _answer(self, function: ctypes._CFuncPtr, mechanism: bytes | None, response: bytes) -> bytes | None:
        challenge, length = ctypes.c_char_p(), ctypes.c_uint()
        first = [] if mechanism is None else [mechanism]
        told = [*first, response, ctypes.c_uint(len(response)), ctypes.byref(challenge), ctypes.byref(length)]
        status = function(self._connection, *told)
        if status == _CONTINUE:
            return ctypes.string_at(challenge, length.value)
        if status != _OK:
            self.refusal = self._library.sasl_errdetail(self._connection).decode()
        return None

    def _check(self, status: int) -> None:
        assert status == _OK, f"Cyrus SASL says {status}"


def add_user(database: Path, realm: str, user: str, password: str) -> None:
    """Enter a user."""
    add = ["saslpasswd2", "-f", str(database), "-c", "-p", "-u", realm, user]
    subprocess.run(add, input=password.encode(), check=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


_options = {"auxprop_plugin": b"sasldb", "pwcheck_method": b"auxprop"}


@_GetOption
def _get_option(_context: int, _plugin: bytes, option: bytes, result: object, length: object) -> int:
    value = _options.get(option.decode())
    if value is None:
        return -1
    result[0] = value  # type: ignore[index]  # a pointer
    if length:
        length[0] = len(value)  # type: ignore[index]
    return _OK


_callbacks = (_Callback * 2)(_Callback(_CB_GETOPT, _get_option, None), _Callback(_CB_LIST_END, _GetOption(), None))


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libsasl2.so.2")
    library.sasl_errdetail.restype = ctypes.c_char_p
    library.sasl_errdetail.argtypes = [ctypes.c_void_p]
    assert library.sasl_server_init(_callbacks, b"pillarbox-test") == _OK
    return library
