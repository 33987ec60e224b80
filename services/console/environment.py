"""What the console is told by its environment, beyond what every worker is."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from shared.environment import InvalidEnvironment

_LISTEN = re.compile(r"fd:(?P<fd>[0-9]{1,5})|(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/]+):(?P<port>[0-9]{1,5})")
_LEAST_KEY = 32  # octets


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where the console listens, and where the files lie that it reads."""

    host: str  # "" where it is given a socket
    port: int  # 0: a free one, which the log names
    fd: int | None  # of a socket that somebody else has opened
    url: str  # how people reach it; "" for how each request names it
    tokens: Path | None  # None: no program gets in
    users: Path | None  # None: nobody signs in with a password
    link: Path | None  # hash of the one-time sign-in link; it is removed with its use
    session_key: bytes | None  # None: sessions end with the process

    @property
    def secure(self) -> bool:
        """Whether browsers speak TLS with it, or with what stands before it."""
        return self.url.startswith("https:")


def read_places(variables: Mapping[str, str] = os.environ) -> Places:
    """Read the variables. Raises InvalidEnvironment that names the variable and says what to do."""
    host, port, fd = _listen(variables.get("PILLARBOX_CONSOLE_LISTEN") or "127.0.0.1:8025")
    return Places(
        host=host,
        port=port,
        fd=fd,
        url=_url(variables.get("PILLARBOX_CONSOLE_URL", "")),
        tokens=_path(variables, "PILLARBOX_CONSOLE_TOKENS"),
        users=_path(variables, "PILLARBOX_CONSOLE_USERS"),
        link=_path(variables, "PILLARBOX_CONSOLE_LINK"),
        session_key=_key(_path(variables, "PILLARBOX_CONSOLE_SESSION_KEY")),
    )


def _listen(text: str) -> tuple[str, int, int | None]:
    found = _LISTEN.fullmatch(text)
    if found is None or int(found["port"] or 0) > 65535:
        raise InvalidEnvironment(
            f"PILLARBOX_CONSOLE_LISTEN: got {text!r}; takes address:port, such as 127.0.0.1:8025, or fd:3"
        )
    if found["fd"]:
        return "", 0, int(found["fd"])
    return found["host"].strip("[]"), int(found["port"]), None


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if text and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/")):
        raise InvalidEnvironment(
            f"PILLARBOX_CONSOLE_URL: got {text!r}; takes the address people type, such as https://mail.example.org"
        )
    return text.rstrip("/")


def _path(variables: Mapping[str, str], name: str) -> Path | None:
    return Path(text) if (text := variables.get(name, "")) else None


def _key(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        key = file.read_bytes().strip()
    except OSError as error:
        raise InvalidEnvironment(f"PILLARBOX_CONSOLE_SESSION_KEY: can not read {file}: {error.strerror}") from error
    if len(key) < _LEAST_KEY:
        raise InvalidEnvironment(
            f"PILLARBOX_CONSOLE_SESSION_KEY: {file} has {len(key)} octets; takes {_LEAST_KEY} at least, "
            "as `openssl rand -hex 32` makes them"
        )
    return key
