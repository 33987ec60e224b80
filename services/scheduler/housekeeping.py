"""Off the hot path: final mails lose their content in bulk, and are forgotten after the history time."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
import structlog

from services.scheduler.sites import forget_sites
from services.scheduler.suppression import forget_suppressions
from shared.hot_statements import HotStatement, among, numbers_for
from shared.mail_store.rows import chunks
from shared.mail_store.tables import contents, history, mails, recipients, traces
from shared.mail_store.thread import StoreThread
from shared.presence import forget_gone
from shared.settings_feed import SettingsFeed

log = structlog.get_logger()

_SWEEP_EVERY_S = 5.0
_PURGE_EVERY_S = 60.0
_BETWEEN_S = 0.1  # transactions that forget
_PURGE_MOST = 500  # mails in one transaction: others are waiting for the lock

_open = sa.exists().where(recipients.c.mail == contents.c.mail, recipients.c.wake.is_not(None))
_drop = HotStatement(lambda connection: sa.delete(contents).where(among(connection, contents.c.mail), ~_open))


class Housekeeper:
    """Drops what is no longer needed."""

    def __init__(self, thread: StoreThread, feed: SettingsFeed) -> None:
        self._thread = thread
        self._feed = feed
        self._final: list[int] = []

    def final(self, mail_numbers: Sequence[int]) -> None:
        """A recipient of these mails has become final; their content may be droppable."""
        self._final += mail_numbers

    async def sweep_loop(self) -> None:
        """Drop the content of final mails, for ever; first of those that became final before a crash."""
        last = 0
        while (following := await self._thread.run(drop_final_contents_after, last)) is not None:
            last = following
        while True:
            await asyncio.sleep(_SWEEP_EVERY_S)
            final, self._final = self._final, []
            for part in chunks(final):
                await self._thread.run(drop_contents, part)

    async def purge_loop(self) -> None:
        """Forget old mails, sites that nobody uses, senders that are gone and suppressions that are over, for ever."""
        while True:
            cutoff, last = datetime.now(UTC) - self._feed.settings.history, 0
            while (following := await self._thread.run(purge, cutoff, last)) is not None:
                last = following
                await asyncio.sleep(_BETWEEN_S)
            await self._thread.run(forget_sites, datetime.now(UTC))
            await self._thread.run(forget_gone, datetime.now(UTC))
            more = True
            while more:
                more = await self._thread.run(forget_suppressions, datetime.now(UTC))
                await asyncio.sleep(_BETWEEN_S)
            await asyncio.sleep(_PURGE_EVERY_S)


def drop_contents(connection: sa.Connection, mail_numbers: Sequence[int]) -> None:
    """Drop the content of those of the mails that have no open recipient."""
    _drop.run(connection, numbers=numbers_for(connection, mail_numbers))


def drop_final_contents_after(connection: sa.Connection, last: int) -> int | None:
    """Drop the contents of final mails among the next thousand; returns where to go on, None at the end."""
    numbers = connection.execute(
        sa.select(contents.c.mail).where(contents.c.mail > last).order_by(contents.c.mail).limit(1000)
    ).scalars().all()  # fmt: skip
    if not numbers:
        return None
    drop_contents(connection, numbers)
    return int(numbers[-1])


def purge(connection: sa.Connection, cutoff: datetime, last: int) -> int | None:
    """Forget those among the next mails of which every recipient has been final since before the cutoff.

    Returns where to go on, None at the end. Numbers ascend with admission, so no index on the time is needed.
    """
    page = connection.execute(
        sa.select(mails.c.no, mails.c.admitted).where(mails.c.no > last).order_by(mails.c.no).limit(_PURGE_MOST)
    ).all()
    old = [row.no for row in page if row.admitted < cutoff]
    if not old:
        return None
    needed = sa.or_(recipients.c.wake.is_not(None), recipients.c.since >= cutoff)
    still_shown = set(
        connection.execute(sa.select(recipients.c.mail).where(recipients.c.mail.in_(old), needed)).scalars()
    )
    forgotten = [number for number in old if number not in still_shown]
    if forgotten:
        for column in (contents.c.mail, recipients.c.mail, history.c.mail, traces.c.mail, mails.c.no):
            connection.execute(sa.delete(column.table).where(column.in_(forgotten)))
        log.info("history_purged", mails=len(forgotten))
    return int(old[-1])
