"""What a worker is told by its environment: where the broker and the mail store are, and how it shows itself.

Everything else is a setting (`shared/settings.py`), because settings change live and these do not.
"""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec

DEFAULT_AMQP_URL = "amqp://guest:guest@127.0.0.1:5672/%2F"

_STORELESS = ("resolver", "gateway", "console")


class InvalidEnvironment(ValueError):
    """A variable that is missing or can not be read; the message names it."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's environment."""

    worker: str  # name of this process, unique: "sender-shop1-4711"
    amqp_url: str  # of one or several nodes, separated by commas
    store_url: str  # SQLAlchemy's form: "sqlite:////var/lib/pillarbox/mail.db"; "" for who has no business with it
    metrics_port: int | None  # None: no metrics; 0: a free port, which the log names
    log_level: str
    journal: Path | None  # folder of the senders' journals; None: they keep none


def read_environment(role: str, variables: Mapping[str, str] = os.environ) -> Environment:
    """Read the variables of one worker. Raises InvalidEnvironment that names the variable and says what to do.

    `PILLARBOX_AMQP_PASSWORD_FILE` and `PILLARBOX_STORE_PASSWORD_FILE` name files whose content becomes the password
    of the URL, so that a container's environment holds no secret. What has no business with the store is told nothing
    of it, whatever is set.
    """
    return Environment(
        worker=variables.get("PILLARBOX_WORKER") or f"{role}-{socket.gethostname()}-{os.getpid()}",
        amqp_url=amqp_url(variables),
        store_url="" if role in _STORELESS else _store_url(variables),
        metrics_port=_port(variables, "PILLARBOX_METRICS_PORT"),
        log_level=_log_level(variables),
        journal=_journal(variables),
    )


def amqp_url(variables: Mapping[str, str] = os.environ) -> str:
    """The broker's URL alone: all that a client of the broker needs. Raises InvalidEnvironment."""
    urls = _named({"PILLARBOX_AMQP_URL": DEFAULT_AMQP_URL, **variables}, "PILLARBOX_AMQP_URL")
    password = _password(variables, "PILLARBOX_AMQP_PASSWORD_FILE")
    return ",".join(_with_password(url.strip(), password) for url in urls.split(","))


def _store_url(variables: Mapping[str, str]) -> str:
    url = _named(variables, "PILLARBOX_STORE_URL")
    return _with_password(url, _password(variables, "PILLARBOX_STORE_PASSWORD_FILE"))


def user_of(urls: str) -> str | None:
    """The user that the broker knows us by, of a URL or the first of several; None for one that names nobody."""
    return unquote(urlsplit(urls.partition(",")[0]).username or "") or None


def without_password(url: str) -> str:
    """The URL, or several with commas, as it may be logged."""
    return _IN_QUERY.sub(r"\1***", _IN_NETLOC.sub(r"\1***@", url))


# Not parsed: what is written wrong is to be logged too, and may hold a password all the same.
_IN_NETLOC = re.compile(r"(://[^:@/?#,]*:)[^@,]*(?:@[^@/?#,]*(?=@))*@")
_IN_QUERY = re.compile(r"([?&]password=)[^&#,]*")


def _named(variables: Mapping[str, str], name: str) -> str:
    value = variables.get(name, "")
    if not value:
        raise InvalidEnvironment(f"{name}: is not set")
    return value


def _password(variables: Mapping[str, str], name: str) -> str | None:
    path = variables.get(name)
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise InvalidEnvironment(f"{name}: can not read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidEnvironment(f"{name}: {path} is no text in UTF-8") from error


def _with_password(url: str, password: str | None) -> str:
    if password is None:
        return url
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidEnvironment(f"{without_password(url)}: is no URL: {error}") from error
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{name}:{quote(password, safe='')}@{host}"))


def _port(variables: Mapping[str, str], name: str) -> int | None:
    text = variables.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or int(text) > 65535:
        raise InvalidEnvironment(f"{name}: got {text!r}; takes a port, 0 for a free one, or nothing for no metrics")
    return int(text)


def _journal(variables: Mapping[str, str]) -> Path | None:
    """What is set; else beside the store, where that is a file."""
    if folder := variables.get("PILLARBOX_JOURNAL", ""):
        return Path(folder)
    backend, _, rest = variables.get("PILLARBOX_STORE_URL", "").partition(":///")
    file = rest.partition("?")[0]
    return Path(file).parent / "journal" if backend.startswith("sqlite") and file not in ("", ":memory:") else None


def _log_level(variables: Mapping[str, str]) -> str:
    level = variables.get("PILLARBOX_LOG_LEVEL", "info").lower()
    if level not in ("debug", "info", "warning", "error"):
        raise InvalidEnvironment(f"PILLARBOX_LOG_LEVEL: got {level!r}; takes debug, info, warning or error")
    return level
