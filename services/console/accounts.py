"""The files of tokens and users, read anew when they change."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from shared.console_accounts import Token, User, parse_tokens, parse_users, token_hash
from shared.environment import InvalidEnvironment
from shared.file_watch import FileWatch
from shared.refusals import Invalid

log = structlog.get_logger()

T = TypeVar("T")


class WatchedFile(Generic[T]):
    """A file, parsed; one that was spoilt meanwhile changes nothing."""

    def __init__(self, path: Path | None, variable: str, parse: Callable[[str], T], nothing: T) -> None:
        """Raises InvalidEnvironment, which names the variable, where the file can not be read."""
        self._path = path
        self._watch = FileWatch(*([] if path is None else [path]))
        self._parse = parse
        self._value = nothing
        if path is not None:
            try:
                self._read(path)
            except (OSError, UnicodeDecodeError, Invalid) as error:
                raise InvalidEnvironment(f"{variable}: {path}: {error}") from error

    @property
    def value(self) -> T:
        """What it says now."""
        if self._path is not None and self._watch.changed():
            try:
                self._read(self._path)
            except (OSError, UnicodeDecodeError, Invalid) as error:
                log.error("accounts_not_read", file=str(self._path), reason=str(error), next="the_former_stay")
        return self._value

    def _read(self, path: Path) -> None:
        self._value = self._parse(path.read_text(encoding="utf-8"))


class Accounts:
    """Who there is."""

    def __init__(self, tokens: Path | None, users: Path | None) -> None:
        """Raises InvalidEnvironment where a file can not be read."""
        no_tokens: Mapping[str, Token] = {}
        no_users: Mapping[str, User] = {}
        self._tokens = WatchedFile(tokens, "PILLARBOX_CONSOLE_TOKENS", parse_tokens, no_tokens)
        self._users = WatchedFile(users, "PILLARBOX_CONSOLE_USERS", parse_users, no_users)

    def by_token(self, token: str) -> tuple[str, Token] | None:
        """The token's name and what it may do; None for one that is unknown."""
        presented = token_hash(token)
        # Compared are hashes of 256 random bits: how long it takes tells nothing that could be used.
        return next(((name, known) for name, known in self._tokens.value.items() if known.hash == presented), None)

    def user(self, name: str) -> User | None:
        """A person by name."""
        return self._users.value.get(name)
