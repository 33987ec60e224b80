"""What senders have left behind that were killed: their journals are read, and their outcomes reported."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
import structlog

from services.sender.journal_file import JournalFile, Record, left_behind, read
from services.sender.reporter import publish_outcomes
from shared import metrics
from shared.broker import Publisher
from shared.contracts.work import OutcomeReport
from shared.mail_store.rows import chunks
from shared.mail_store.states import CLAIM_LEASE
from shared.mail_store.tables import mails, recipients
from shared.mail_store.thread import StoreThread

log = structlog.get_logger()

# Often enough that the claims of the dead have not lapsed.
_LOOK_EVERY_S = CLAIM_LEASE.total_seconds() / 6


class Takeover:
    """Reports what is in the journals of the dead."""

    def __init__(self, folder: Path | None, store_url: str, thread: StoreThread, publisher: Publisher) -> None:
        self._folder = folder
        self._store_url = store_url
        self._thread = thread
        self._publisher = publisher

    async def loop(self) -> None:
        """Look for journals without a sender, at once and for ever."""
        while self._folder is not None:
            await self.look_into(self._folder)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def look_into(self, folder: Path) -> None:
        """Take over what lies there and is nobody's."""
        try:
            for file in left_behind(folder, self._store_url):
                await self._take(file)
        except OSError as error:
            log.error("journals_not_read", folder=str(folder), reason=str(error), next="look_again")

    async def _take(self, file: JournalFile) -> None:
        try:
            records, damaged = read(file.content())
            known = await self._thread.read(ids_of, [number for record in records for number in _numbers(record)])
            reports = [report for record in records if (report := report_of(record, known)).outcomes]
            await publish_outcomes(self._publisher, reports)
        except BaseException:
            file.leave()  # to whoever looks next
            raise
        file.remove()
        outcomes = sum(len(report.outcomes) for report in reports)
        metrics.TAKEN_OVER.inc(outcomes)
        if records or damaged:
            log.warning("journal_taken_over", path=str(file.path), outcomes=outcomes, damaged=damaged, next="reported")


def report_of(record: Record, known: dict[int, str]) -> OutcomeReport:
    """What a record reports; `known` has the mails' ids by recipient.

    A store that was made anew or restored gives the same numbers to other mails: what became of one says nothing of
    another.
    """
    outcomes = [each for mail in record.mails for each in mail.outcomes if known.get(each.recipient) == mail.mail]
    return OutcomeReport(record.worker, record.revision, tuple(outcomes))


def ids_of(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, str]:
    """The ids of recipients' mails, by the recipients' numbers."""
    query = sa.select(recipients.c.no, mails.c.id).join_from(recipients, mails, recipients.c.mail == mails.c.no)
    found: dict[int, str] = {}
    for part in chunks(numbers):
        found.update((row.no, row.id) for row in connection.execute(query.where(recipients.c.no.in_(part))))
    return found


def _numbers(record: Record) -> list[int]:
    return [each.recipient for mail in record.mails for each in mail.outcomes]
