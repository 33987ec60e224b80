"""Resend and close: what an operator does about mails that the receiver may have. Functions of an open transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import bindparam

from services.scheduler.recall import ANSWERED, note, page_of
from shared.contracts.answers import DoubtfulMail
from shared.contracts.commands import Selector
from shared.contracts.events import DeliveredEvent
from shared.mail_store.rows import chunks
from shared.mail_store.states import RETRACTABLE, State
from shared.mail_store.tables import recipients

_CLOSED = "closed by an operator; the receiver's own answer was lost"


class Cleared(msgspec.Struct, frozen=True):
    """What was done with one page of mails."""

    mails: list[DoubtfulMail]  # as many as were to be named
    recipients: int  # for whom something was done
    following: int | None  # where the next page begins
    final: Sequence[int] = ()  # numbers of mails
    events: Sequence[DeliveredEvent] = ()


def resend(
    connection: sa.Connection,
    selector: Selector,
    now: datetime,
    revision: int,
    after: int = 0,
    name: int = ANSWERED,
) -> Cleared:
    """Send again what waits in doubt, as its next attempt; what goes again by itself is left to its time."""
    rows, following = page_of(connection, selector, after)
    chosen = [row for row in rows if row.state == State.IN_DOUBT]
    for part in chunks([row.no for row in chosen]):
        again = sa.update(recipients).where(recipients.c.no.in_(part))
        connection.execute(
            again.values(state=int(State.DEFERRED), since=now, wake=now, attempt=recipients.c.attempt + 1)
        )
    note(connection, chosen, "sent again by an operator", now, revision)
    answers = _answers(selector, rows, chosen, "it goes again now", "nothing of it waits in doubt")
    return Cleared(answers[:name], len(chosen), following)


def close(
    connection: sa.Connection,
    selector: Selector,
    now: datetime,
    revision: int,
    after: int = 0,
    name: int = ANSWERED,
) -> Cleared:
    """Let what is in doubt count as delivered, also what would go again; what a sender has by now is under way."""
    rows, following = page_of(connection, selector, after)
    chosen = [row for row in rows if row.in_doubt and row.state in RETRACTABLE]
    closed = (
        sa.update(recipients)
        .where(recipients.c.no == bindparam("number"))
        .values(
            state=int(State.DELIVERED), since=now, wake=None, attempt=bindparam("doubtful"), revision=revision,
            site=None, code=0, enhanced="", reply=_CLOSED, bounce_class="",
        )
    )  # fmt: skip
    if chosen:
        connection.execute(closed, [{"number": row.no, "doubtful": _doubtful_attempt(row)} for row in chosen])
    note(connection, chosen, "closed by an operator", now, revision)
    return Cleared(
        _answers(selector, rows, chosen, "it counts as delivered", "nothing of it is in doubt and waits")[:name],
        len(chosen),
        following,
        list({row.mail for row in chosen}),
        [_delivered(row, now, revision) for row in chosen],
    )


def _doubtful_attempt(row: Any) -> int:
    """The row of one that goes again shows its next attempt."""
    return int(row.attempt if row.state == State.IN_DOUBT else row.attempt - 1)


def _answers(
    selector: Selector, rows: Sequence[Any], chosen: Sequence[Any], done: str, nothing: str
) -> list[DoubtfulMail]:
    counts = {row.id: 0 for row in rows}
    for row in chosen:
        counts[row.id] += 1
    if not rows and selector.id:
        return [DoubtfulMail(id=selector.id, recipients=0, detail="no such mail")]
    return [
        DoubtfulMail(id=mail, recipients=count, detail=done if count else nothing) for mail, count in counts.items()
    ]


def _delivered(row: Any, now: datetime, revision: int) -> DeliveredEvent:
    return DeliveredEvent(
        mail=row.id,
        batch=row.batch,
        time=now,
        revision=revision,
        recipient=row.address,
        attempt=_doubtful_attempt(row),
        host=row.host,
        code=0,
        enhanced="",
        reply=_CLOSED,
        in_doubt=True,
    )
