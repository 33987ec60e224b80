"""The accounts, as the file has them now."""

from pathlib import Path

import structlog

from shared.accounts import Account, parse_accounts
from shared.file_watch import FileWatch
from shared.refusals import Invalid

log = structlog.get_logger()


class AccountBook:
    """Read at the start and whenever the file changes. A broken file leaves the last good one in force."""

    def __init__(self, file: Path | None) -> None:
        """None: there are no accounts."""
        self._file = file
        self._watch = FileWatch(*([] if file is None else [file]))
        self._accounts: dict[str, Account] = {}
        if file is not None:
            self._read(file)

    def get(self, name: str) -> Account | None:
        """The account of this name."""
        return self._accounts.get(name)

    def look(self) -> None:
        """Read the file if it has changed."""
        if self._watch.changed() and self._file is not None:
            self._read(self._file)

    def _read(self, file: Path) -> None:
        try:
            self._accounts = parse_accounts(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, Invalid) as error:
            reason = getattr(error, "strerror", None) or str(error)
            log.error("accounts_not_read", file=str(file), reason=reason, next="the_former_stay")
        else:
            log.info("accounts_read", file=str(file), accounts=len(self._accounts))
