"""How many mails a site gets in how much time, counted in the mail store for all senders together.

The generic cell rate algorithm (ITU-T I.371): one time per name says when the next mail is due at an even pace, and a
mail may come before that by as much as a second's mails take.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
from msgspec import Struct

from shared.contracts.work import Pace
from shared.mail_store.rows import insert_missing
from shared.mail_store.tables import paces
from shared.settings import interval_of

_BURST = timedelta(seconds=1)


class Spent(Struct, frozen=True):
    """What is remembered of a pace."""

    due: datetime  # the next mail, at an even pace
    promised: datetime  # the last time that was given to mail which had to wait


class Share(Struct, frozen=True):
    """What becomes of the mails that were asked for."""

    now: int  # so many may go
    waits: list[timedelta]  # of each of the others, so that they do not come back together


def spend(spent: Spent, interval: timedelta, wanted: int, now: datetime) -> tuple[Share, Spent]:
    """Share out what is left at this moment; `interval` is the time from one mail to the next."""
    early = max(_BURST - interval, timedelta(0))
    due = max(spent.due, now)
    free = min(wanted, (now + early - due) // interval + 1) if due - early <= now else 0
    due += free * interval
    first = max(due - early, spent.promised + interval)
    waits = [first + number * interval - now for number in range(wanted - free)]
    return Share(free, waits), Spent(due, now + waits[-1] if waits else spent.promised)


def take(connection: sa.Connection, pace: Pace, wanted: int, now: datetime) -> Share:
    """Ask for so many mails at a pace, in one transaction. Another rate begins anew."""
    name, long_ago = f"{pace.name} {pace.rate}", now - timedelta(days=1)
    connection.execute(insert_missing(connection, paces, "name").values(name=name, due=long_ago, promised=long_ago))
    row = connection.execute(sa.select(paces).where(paces.c.name == name).with_for_update()).one()
    share, spent = spend(Spent(row.due, row.promised), interval_of(pace.rate), wanted, now)
    connection.execute(sa.update(paces).where(paces.c.name == name).values(due=spent.due, promised=spent.promised))
    return share
