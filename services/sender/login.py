"""Finding the secrets that a relay's credentials refer to. They stay on this machine: in memory and on the wire."""

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from shared.contracts.work import Credentials, SecretReference
from shared.smtp_reply import Reply, own_verdict

_COMMANDS = "PILLARBOX_COMMANDS"  # the folder of the programs that settings may name
# A command may ask somebody over the network: it is not run for every connection, and an access token that is good for
# less than this would be of little use.
_KEPT_S = 60.0
_COMMAND_LIMIT_S = 30.0
_MOST = 64 * 1024  # octets of a secret; tokens have some thousand


class Login(msgspec.Struct, frozen=True):
    """User name, password and token in clear; b"" where there is none."""

    user: bytes
    password: bytes
    allow_plaintext: bool  # may be shown to a server over a connection without TLS
    token: bytes = b""
    mechanisms: tuple[str, ...] = ()  # those that may be used, the best first; none: the usual

    def __repr__(self) -> str:
        return "Login(…)"


class Logins:
    """Reads secrets anew for every connection; what a command has printed is kept for a while."""

    def __init__(self, variables: Mapping[str, str] = os.environ) -> None:
        self._variables = variables
        self._printed: dict[str, tuple[float, bytes]] = {}  # by command: until when it is good, and what it is
        self._running: dict[str, asyncio.Lock] = {}

    async def find(self, credentials: Credentials) -> Login | Reply:
        """The login; where a secret can not be had, a verdict that names its place."""
        try:
            return Login(
                credentials.user.encode(),
                await self._secret("password", credentials.password),
                credentials.allow_plaintext,
                await self._secret("token", credentials.token),
                credentials.mechanisms,
            )
        except _NotFound as error:
            return own_verdict(451, "4.7.0", str(error))

    def refused(self, credentials: Credentials) -> None:
        """A server did not take them: what commands have printed may be out of date."""
        for reference in (credentials.password, credentials.token):
            if reference is not None and reference.command is not None:
                self._printed.pop(reference.command, None)

    async def _secret(self, what: str, reference: SecretReference | None) -> bytes:
        if reference is None:
            return b""
        try:
            secret = await self._read(reference)
        except (OSError, KeyError, TimeoutError, _CommandFailed) as error:
            raise _NotFound(f"the {what} can not be read from the {_place(reference)}: {_why(error)}") from error
        # NUL ends a field of PLAIN (RFC 4616), and ^A one of XOAUTH2.
        if not secret or b"\0" in secret or (what == "token" and not _is_token(secret)):
            raise _NotFound(f"the {_place(reference)} holds no usable {what}")
        return secret

    async def _read(self, reference: SecretReference) -> bytes:
        if reference.env is not None:
            return self._variables[reference.env].encode("utf-8", "surrogateescape")
        if reference.file is not None:
            return _without_line_end(await asyncio.to_thread(_content, reference.file))
        return await self._printed_by(reference.command or "")

    async def _printed_by(self, command: str) -> bytes:
        async with self._running.setdefault(command, asyncio.Lock()):
            good_until, secret = self._printed.get(command, (0.0, b""))
            if good_until <= time.monotonic():
                secret = _without_line_end(await self._run(command))
                self._printed[command] = time.monotonic() + _KEPT_S, secret
            return secret

    async def _run(self, command: str) -> bytes:
        folder = self._variables.get(_COMMANDS)
        if not folder:
            raise _CommandFailed(f"{_COMMANDS}, the folder of such commands, is not set")
        process = await asyncio.create_subprocess_exec(
            Path(folder, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # what it says there may hold the secret
        )
        try:
            async with asyncio.timeout(_COMMAND_LIMIT_S):
                printed = await _all_of(process.stdout)
                status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if status != 0:
            raise _CommandFailed(f"it ended with status {status}")
        return printed


class _NotFound(Exception):
    """A secret can not be had; the message says where it was looked for."""


class _CommandFailed(Exception):
    """A command printed no secret."""


async def _all_of(output: asyncio.StreamReader | None) -> bytes:
    assert output is not None
    try:
        await output.readexactly(_MOST + 1)
    except asyncio.IncompleteReadError as end:
        return end.partial
    raise _CommandFailed("it prints too much")


def _content(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(_MOST)


def _without_line_end(text: bytes) -> bytes:
    return text.removesuffix(b"\n").removesuffix(b"\r")


def _is_token(secret: bytes) -> bool:
    """RFC 6750 section 2.1 takes less than the printable characters, but nothing else."""
    return all(0x20 < octet < 0x7F for octet in secret)


def _place(reference: SecretReference) -> str:
    if reference.env is not None:
        return f"environment variable {reference.env}"
    return f"file {reference.file}" if reference.file is not None else f"command {reference.command}"


def _why(error: Exception) -> str:
    match error:
        case KeyError():
            return "it is not set"
        case TimeoutError():
            return "no answer in time"
        case OSError():
            return str(error.strerror)
        case _:
            return str(error)
