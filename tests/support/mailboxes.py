"""What real receivers leave behind: mails in a maildir, and a log that says how they dealt with their clients."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from tests.support.ports import wait_until


@dataclass(frozen=True)
class ReceivedMail:
    """A mail as a receiver delivered it to one recipient."""

    sender: str  # the reverse-path
    recipient: str
    mail: EmailMessage
    content: bytes  # with the headers that the receiver added


@dataclass
class Dealings:
    """What a receiver's log says."""

    connections: int = -1  # whoever starts a receiver connects to it once, to see that it listens
    taken: Counter[tuple[str, str]] = field(default_factory=Counter)  # queue id and recipient
    refused: Counter[str] = field(default_factory=Counter)  # recipients


class LogReader:
    """Knows a receiver's log: expressions that find their lines, with groups `id` and `recipient`."""

    def __init__(self, connection: str, taken: str, refused: str) -> None:
        self._connection, self._taken, self._refused = map(re.compile, (connection, taken, refused))

    def read(self, lines: Iterable[str]) -> Dealings:
        """What the log says."""
        dealings = Dealings()
        for line in lines:
            if self._connection.search(line):
                dealings.connections += 1
            elif taken := self._taken.search(line):
                dealings.taken[taken["id"], taken["recipient"]] += 1
            elif refused := self._refused.search(line):
                dealings.refused[refused["recipient"]] += 1
        return dealings


class Maildir:
    """The one mailbox of a receiver. The receiver names the recipient in a header."""

    def __init__(self, folder: Path, recipient_header: str) -> None:
        self._new = folder / "new"
        self._recipient_header = recipient_header

    @property
    def mails(self) -> list[ReceivedMail]:
        """What is in it, the oldest first; a mail to several recipients is there for each of them."""
        return [self._read(file) for file in sorted(self._new.glob("*"), key=lambda file: file.stat().st_mtime_ns)]

    def wait_for(self, count: int, timeout: float) -> list[ReceivedMail]:
        """Wait until that many mails are in it."""
        wait_until(lambda: len(list(self._new.glob("*"))) >= count, f"{count} mails in {self._new}", timeout)
        return self.mails

    def _read(self, file: Path) -> ReceivedMail:
        content = file.read_bytes()
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        sender, recipient = str(mail["Return-Path"] or "").strip("<>"), str(mail[self._recipient_header])
        return ReceivedMail(sender, recipient, mail, content)
