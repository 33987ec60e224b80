"""The trace contexts of mails that wait: kept beside the mails, and put into their envelopes when they go.

Functions of an open transaction; none of them is called where no traces are wanted.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa

from services.scheduler import store
from services.scheduler.composed import Draft
from services.scheduler.store import Admission, Due, Leaving
from shared.mail_store.states import State
from shared.mail_store.tables import mails, recipients, traces

_IN_ONE_LIST = 500


class Hold(msgspec.Struct, frozen=True):
    """A hold that is over."""

    mail: str
    trace: str
    begun: datetime


class TracedDue(msgspec.Struct, frozen=True):
    """What has to be looked at now, and the holds that are over with it."""

    due: Due
    holds: list[Hold]


def admit(connection: sa.Connection, drafts: Sequence[Draft]) -> Admission:
    """As `store.admit`; the contexts of those that wait are kept."""
    admission = store.admit(connection, drafts)
    kept = {mail.draft.id: mail.draft.trace for mail in admission.admitted if mail.draft.trace and mail.recipients}
    for part in _parts(list(kept)):
        numbered = connection.execute(sa.select(mails.c.no, mails.c.id).where(mails.c.id.in_(part))).all()
        connection.execute(sa.insert(traces), [{"mail": row.no, "context": kept[row.id]} for row in numbered])
    return admission


def take_due(connection: sa.Connection, now: datetime, most: int) -> TracedDue:
    """As `store.take_due`; what leaves carries its context."""
    first = _never_released(connection, now, most)
    due = store.take_due(connection, now, most)
    contexts = _contexts(connection, [leaving.request.envelope.mail for leaving in due.leaving])
    traced = [_with(leaving, contexts.get(leaving.request.envelope.mail, "")) for leaving in due.leaving]
    holds = [
        Hold(leaving.request.envelope.mail, leaving.request.envelope.trace, first[leaving.request.envelope.mail])
        for leaving in traced
        if leaving.request.envelope.trace and leaving.request.envelope.mail in first
    ]
    return TracedDue(msgspec.structs.replace(due, leaving=traced), holds)


def _never_released(connection: sa.Connection, now: datetime, most: int) -> dict[str, datetime]:
    """When those of the due mails were admitted that have been held until now: those due first, and last."""
    held = (
        sa.select(mails.c.id, mails.c.admitted)
        .join_from(recipients, mails, recipients.c.mail == mails.c.no)
        .where(recipients.c.wake <= now, recipients.c.state == int(State.HELD), recipients.c.released.is_(None))
        .limit(most)
    )
    orders = (recipients.c.wake, recipients.c.wake.desc())
    return {row.id: row.admitted for order in orders for row in connection.execute(held.order_by(order))}


def _contexts(connection: sa.Connection, ids: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in _parts(ids):
        rows = connection.execute(
            sa.select(mails.c.id, traces.c.context)
            .join_from(traces, mails, traces.c.mail == mails.c.no)
            .where(mails.c.id.in_(part))
        )
        found.update((row.id, row.context) for row in rows)
    return found


def _with(leaving: Leaving, context: str) -> Leaving:
    if not context:
        return leaving
    envelope = msgspec.structs.replace(leaving.request.envelope, trace=context)
    return msgspec.structs.replace(leaving, request=msgspec.structs.replace(leaving.request, envelope=envelope))


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """What fits one IN list."""
    return (ids[start : start + _IN_ONE_LIST] for start in range(0, len(ids), _IN_ONE_LIST))
