"""The journal of one sender: replies that have decided the fate of mails, until the broker has been told of them.

A sender that is killed between a receiver's reply and the broker's confirm leaves it behind, and whoever takes it over
(`services/sender/takeover.py`) reports what it says. It is written, not synced: it survives the process, not the
machine.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import structlog

from services.sender.journal_file import JournalFile, Noted, Record, new_file, written
from services.sender.session_mails import MailResult, Sent
from services.sender.work import ClaimedWork
from shared import metrics
from shared.contracts.work import RecipientOutcome
from shared.outcomes import Parked

log = structlog.get_logger()

# One that is never quite done with goes on in another file. How much can be in all of them, the window of the lanes
# bounds: a sender that can not report takes no more work.
_ENOUGH = 1024 * 1024


class _Part:
    """A file, and how many of the outcomes in it the broker has not confirmed."""

    __slots__ = ("file", "unconfirmed")

    def __init__(self, file: JournalFile) -> None:
        self.file = file
        self.unconfirmed = 0


class Journal:
    """Notes replies at once, and forgets them when the broker has their outcomes."""

    def __init__(self, folder: Path | None, store_url: str, worker: str, revision: Callable[[], int]) -> None:
        """Without a folder, or in one that can not be written to, it notes nothing."""
        self._folder = folder
        self._store_url = store_url
        self._worker = worker
        self._revision = revision
        self._where: dict[tuple[int, int], _Part] = {}  # by recipient and attempt: what is not confirmed
        self._failing = False
        self._part = self._first_part()
        metrics.JOURNAL_OFF.set(self._part is None)
        metrics.JOURNAL_UNCONFIRMED.set_function(lambda: len(self._where))

    def _first_part(self) -> _Part | None:
        if self._folder is None:
            log.warning("journal_off", reason="PILLARBOX_JOURNAL is not set", next="go_on_without")
            return None
        try:
            return self._new_part(self._folder)
        except OSError as error:
            log.warning("journal_off", folder=str(self._folder), reason=str(error), next="go_on_without")
            return None

    def _new_part(self, folder: Path) -> _Part:
        return _Part(new_file(folder, self._store_url, self._worker))

    def note(self, results: Sequence[MailResult]) -> None:
        """Write down what a server has said."""
        part = self._part
        if part is None:
            return
        mails = tuple(noted for result in results if isinstance(result, Sent) and (noted := _noted(result)).outcomes)
        if not mails:
            return
        try:
            if part.file.size >= _ENOUGH and self._folder is not None:
                part = self._part = self._new_part(self._folder)
            part.file.append(record := written(Record(self._worker, self._revision(), mails)))
        except OSError as error:
            self._complain(error)
            return
        self._recovered(len(record))
        for mail in mails:
            part.unconfirmed += len(mail.outcomes)
            for outcome in mail.outcomes:
                self._where[outcome.recipient, outcome.attempt] = part

    def confirmed(self, outcomes: Iterable[RecipientOutcome]) -> None:
        """The broker has these; those that were not noted are welcome, too."""
        for outcome in outcomes:
            part = self._where.pop((outcome.recipient, outcome.attempt), None)
            if part is not None:
                part.unconfirmed -= 1
                if not part.unconfirmed:
                    self._done_with(part)

    def close(self) -> None:
        """At a stop: what is not confirmed stays, for whoever comes next."""
        parts = set(self._where.values())
        for part in parts:
            path = str(part.file.path)
            log.warning("journal_left", path=path, outcomes=part.unconfirmed, next="reported_by_whoever_finds_it")
            part.file.leave()
        if self._part is not None and self._part not in parts:
            self._remove(self._part)
        self._part = None

    def _done_with(self, part: _Part) -> None:
        if part is not self._part:
            self._remove(part)
            return
        try:
            part.file.clear()
        except OSError as error:
            self._complain(error)

    def _remove(self, part: _Part) -> None:
        try:
            part.file.remove()
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._failing:
            metrics.JOURNAL_OFF.set(1)
            log.error("journal_failed", folder=str(self._folder), reason=str(error), next="go_on_without")
        self._failing = True

    def _recovered(self, octets: int) -> None:
        metrics.JOURNAL_BYTES.inc(octets)
        if self._failing:
            metrics.JOURNAL_OFF.set(0)
        self._failing = False


def _noted(sent: Sent) -> Noted:
    claimed: ClaimedWork = sent.mail.key
    triples = zip(claimed.numbers, claimed.attempts, sent.outcomes, strict=True)
    # What was not tried is no reply; should its report get lost, the lease gives it back.
    return Noted(
        sent.mail.id, tuple(RecipientOutcome(*triple) for triple in triples if not isinstance(triple[2], Parked))
    )
