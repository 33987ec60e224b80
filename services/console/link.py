"""The one-time sign-in link: its hash lies in a file, which goes with the first use."""

import hmac
import time
from pathlib import Path

from shared.console_accounts import token_hash

_LASTS_S = 3600.0


class Link:
    """The link that somebody has printed for a person at the keyboard."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def is_valid(self, token: str) -> bool:
        """Whether it would let somebody in."""
        if self._file is None or not token:
            return False
        try:
            if time.time() - self._file.stat().st_mtime > _LASTS_S:
                return False
            kept = self._file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return False
        return hmac.compare_digest(kept, token_hash(token))

    def use(self, token: str) -> bool:
        """Let somebody in, once."""
        if self._file is None or not self.is_valid(token):
            return False
        try:
            self._file.unlink()  # of two at once, one finds it gone
        except OSError:
            return False
        return True
