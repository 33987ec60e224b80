"""The scheduler's transactions on the hot path: admit, take what is due, mark released, take outcomes.

Each is a function of an open transaction (`StoreThread.run`); statements work on whole batches.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy import bindparam

from services.scheduler import suppression
from services.scheduler.composed import Draft
from services.scheduler.outcomes import Change, Pending
from services.scheduler.suppression import Suppressed
from shared.contracts.work import Envelope, Recipient, RecipientOutcome, RouteRequest
from shared.hot_statements import HotStatement, among, numbers_for
from shared.mail_store.rows import chunks, insert_missing, next_numbers
from shared.mail_store.states import ALONE_AFTER, RELEASED_LEASE, RELEASING_LEASE, State
from shared.mail_store.tables import contents, history, mails, milliseconds, moment_of, recipients
from shared.smtp_reply import Reply

_HELD, _RELEASING = int(State.HELD), int(State.RELEASING)
_RELEASING_LEASE = RELEASING_LEASE // timedelta(milliseconds=1)

# Rows that are written together have most times in common.
_milliseconds, _moment = lru_cache(maxsize=1000)(milliseconds), lru_cache(maxsize=1000)(moment_of)


class Admitted(msgspec.Struct, frozen=True):
    """A draft that is now a mail."""

    draft: Draft
    recipients: tuple[Recipient, ...]  # without those on the suppression list

    @property
    def leaving(self) -> "Leaving":
        """What the resolver is asked when it goes at once."""
        request = RouteRequest(_envelope_of(self.draft, self.recipients), 1)
        return Leaving(request, self.draft.batch, self.draft.admitted + RELEASING_LEASE)


class Admission(msgspec.Struct, frozen=True):
    """What a batch of drafts became."""

    admitted: list[Admitted]
    duplicates: list[Draft]  # their ids were known
    retracted: list[Draft]  # retracted before they arrived
    suppressed: list[Suppressed]  # recipients that are bounced from the start


class Leaving(msgspec.Struct, frozen=True):
    """Recipients of one mail that are `releasing`."""

    request: RouteRequest
    batch: str
    lease_end: datetime


class Due(msgspec.Struct, frozen=True):
    """What has to be looked at now."""

    leaving: list[Leaving]
    lapsed: list[Pending]  # claims whose sender has died, and what was in doubt until its give-up time
    count: int  # recipients, of both


# ---------------------------------------------------------------------------------------------------------
# Admit


_insert_mail = HotStatement(
    lambda connection: insert_missing(connection, mails, "id"), [column.name for column in mails.c]
)
_mails_there = HotStatement(lambda connection: sa.select(mails.c.no).where(among(connection, mails.c.no)))

_insert_recipient = HotStatement(
    lambda _: sa.insert(recipients), ("no", "mail", "address", "state", "since", "wake", "attempt", "released")
)
_insert_content = HotStatement(lambda _: sa.insert(contents), ("mail", "data"))


def admit(connection: sa.Connection, drafts: Sequence[Draft]) -> Admission:
    """Store drafts; those due at once are `releasing` from the start and are to be published now."""
    fresh: dict[str, Draft] = {}
    for draft in drafts:
        fresh.setdefault(draft.id, draft)  # the first of an id stands
    numbers = _insert_mails(connection, list(fresh.values()))
    new = [(draft, numbers[draft.id]) for draft in fresh.values() if draft.id in numbers]
    rows, suppressed = insert_recipients(connection, new)
    _insert_content.run_for_each(connection, [(number, draft.composed.content) for draft, number in new])
    admitted = [Admitted(draft, tuple(rows[number])) for draft, number in new]
    taken = {id(draft) for draft, _ in new}
    known = [draft for draft in drafts if id(draft) not in taken]
    early = _retracted_before_arrival(connection, known)
    return Admission(
        admitted,
        [draft for draft in known if draft.id not in early],
        [draft for draft in known if draft.id in early],
        suppressed,
    )


def _insert_mails(connection: sa.Connection, drafts: list[Draft]) -> dict[str, int]:
    """Insert mails; the numbers of those whose id was not there, by id."""
    numbers = next_numbers(connection, mails, len(drafts))
    rows = [_mail_row(draft, number) for draft, number in zip(drafts, numbers, strict=True)]
    inserted = _insert_mail.run_for_each(connection, rows)
    given = {draft.id: number for draft, number in zip(drafts, numbers, strict=True)}
    if inserted == len(drafts):
        return given
    there = {
        number
        for part in chunks(numbers)
        for (number,) in _mails_there.run(connection, numbers=numbers_for(connection, part))
    }
    return {id: number for id, number in given.items() if number in there}


def insert_recipients(
    connection: sa.Connection, new: Sequence[tuple[Draft, int]]
) -> tuple[dict[int, list[Recipient]], list[Suppressed]]:
    """Insert the recipients of mails of these numbers: who gets them, by number, and who is suppressed."""
    verdicts = suppression.verdicts(connection, [draft for draft, _ in new])
    found: dict[int, list[Recipient]] = {number: [] for _, number in new}
    going = [(draft, number, to) for draft, number in new for to in _recipients_of(draft, verdicts)]
    rows = []
    for no, (draft, mail, address) in zip(next_numbers(connection, recipients, len(going)), going, strict=True):
        rows.append((no, mail, address, *_start(draft)))
        found[mail].append(Recipient(no, address))
    _insert_recipient.run_for_each(connection, rows)
    suppressed = [one for draft, number in new for one in _suppressed(draft, number, verdicts)]
    if suppressed:
        connection.execute(sa.insert(recipients), [suppression.bounced_row(one) for one in suppressed])
    return found, suppressed


def _suppressed(draft: Draft, number: int, verdicts: dict[str, Reply]) -> list[Suppressed]:
    if draft.ignore_suppression or not verdicts:
        return []
    return [Suppressed(draft, number, to, verdicts[to]) for to in draft.composed.recipients if to in verdicts]


def _recipients_of(draft: Draft, verdicts: dict[str, Reply]) -> Sequence[str]:
    if draft.ignore_suppression or not verdicts:
        return draft.composed.recipients
    return [address for address in draft.composed.recipients if address not in verdicts]


def _start(draft: Draft) -> tuple[int, int, int, int, int | None]:
    """How a recipient begins, from `state` on: held or, where the mail is due at once, already `releasing`."""
    admitted = _milliseconds(draft.admitted)
    if draft.due <= draft.admitted:
        return (_RELEASING, admitted, admitted + _RELEASING_LEASE, 1, admitted)
    return (_HELD, admitted, milliseconds(draft.due), 1, None)


def _mail_row(draft: Draft, number: int) -> tuple[Any, ...]:
    columns = mail_columns(draft)
    columns["admitted"] = _milliseconds(draft.admitted)
    columns["due"] = milliseconds(draft.due)
    columns["give_up"] = milliseconds(draft.give_up)
    return (number, draft.id, *columns.values(), False)


def mail_columns(draft: Draft) -> dict[str, Any]:
    """All columns of a mail but its id, in the table's order."""
    return {
        "batch": draft.batch,
        "reverse_path": draft.composed.reverse_path,
        "subject": draft.composed.subject,
        "size": len(draft.composed.content),
        "eight_bit": not draft.composed.content.isascii(),
        "smtputf8": draft.composed.smtputf8,
        "urgent": draft.urgent,
        "submitted_by": draft.submitted_by,
        "admitted": draft.admitted,
        "due": draft.due,
        "give_up": draft.give_up,
        "revision": draft.revision,
        "held_by": draft.held_by,
        "notify": draft.notify,
        "ret": draft.ret,
    }


def _envelope_of(draft: Draft, rows: tuple[Recipient, ...]) -> Envelope:
    composed = draft.composed
    return Envelope(
        mail=draft.id,
        reverse_path=composed.reverse_path,
        recipients=rows,
        size=len(composed.content),
        eight_bit=not composed.content.isascii(),
        smtputf8=composed.smtputf8,
        notify=draft.notify,
        ret=draft.ret,
        trace=draft.trace,
    )


def _retracted_before_arrival(connection: sa.Connection, known: list[Draft]) -> set[str]:
    if not known:
        return set()
    rows = connection.execute(
        sa.select(mails.c.id).where(mails.c.id.in_([draft.id for draft in known]), mails.c.retracted_before_arrival)
    )
    return set(rows.scalars())


# ---------------------------------------------------------------------------------------------------------
# Release

_pending_columns = (
    recipients.c.no,
    recipients.c.mail,
    recipients.c.address,
    recipients.c.state,
    recipients.c.attempt,
    recipients.c.worker,
    recipients.c.released,
    recipients.c.claimed,
    recipients.c.site,
    recipients.c.in_doubt,
    recipients.c.lapses,
    mails.c.id,
    mails.c.batch,
    mails.c.admitted,
    mails.c.give_up,
)

_envelope_columns = tuple(mails.c[name] for name in ("reverse_path", "size", "eight_bit", "smtputf8", "notify", "ret"))


class _DueRow(NamedTuple):
    """Of both, in their order."""

    no: int
    mail: int
    address: str
    state: int
    attempt: int
    worker: str
    released: int | None
    claimed: int | None
    site: str | None
    in_doubt: bool
    lapses: int
    id: str
    batch: str
    admitted: int
    give_up: int
    reverse_path: str
    size: int
    eight_bit: bool
    smtputf8: bool
    notify: str
    ret: str


def _due_by(order: sa.ColumnElement[Any]) -> HotStatement:
    query = (
        sa.select(*_pending_columns, *_envelope_columns)
        .join_from(recipients, mails, recipients.c.mail == mails.c.no)
        .where(recipients.c.wake <= bindparam("now"))
        .order_by(order)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True, of=recipients)  # two schedulers on PostgreSQL take different rows
    )
    return HotStatement(lambda _: query)


_due = _due_by(recipients.c.wake)
_due_last = _due_by(recipients.c.wake.desc())
# Where more is due than is taken, one in so many is of what became due last: the one mail that comes behind a million
# does not wait for them.
_LAST_ONE_IN = 10

_releasing = HotStatement(
    lambda connection: (
        sa.update(recipients)
        .where(among(connection, recipients.c.no))
        .values(
            state=int(State.RELEASING),
            since=bindparam("now"),
            released=bindparam("now"),
            wake=bindparam("lease_end"),
            claimed=None,
            worker="",
        )
    )
)

_released = HotStatement(
    lambda connection: (
        sa.update(recipients)
        .where(among(connection, recipients.c.no))
        .where(recipients.c.state == int(State.RELEASING))
        .values(state=int(State.RELEASED), wake=bindparam("lease_end"))
    )
)

_still_releasing = HotStatement(
    lambda _: sa.select(recipients.c.no).where(
        recipients.c.wake.between(bindparam("first"), bindparam("last")), recipients.c.state == _RELEASING
    )
)

_put_back = (
    sa.update(recipients)
    .where(recipients.c.no.in_(bindparam("numbers", expanding=True)))
    .where(recipients.c.state == int(State.RELEASING))
    .values(
        state=sa.case((recipients.c.attempt == 1, int(State.HELD)), else_=int(State.DEFERRED)), wake=bindparam("wake")
    )
)

# Not sent by themselves when their time comes.
_LAPSES = (State.CLAIMED, State.IN_DOUBT)

_look_later = (
    sa.update(recipients)
    .where(recipients.c.no.in_(bindparam("numbers", expanding=True)))
    .where(recipients.c.state.in_([int(state) for state in _LAPSES]), recipients.c.wake <= bindparam("now"))
    .values(wake=bindparam("later"))
)

_next_wake = sa.select(sa.func.min(recipients.c.wake)).where(recipients.c.wake.is_not(None))


def take_due(connection: sa.Connection, now: datetime, most: int) -> Due:
    """Take up to `most` recipients whose time has come; all but what has lapsed are `releasing` afterwards.

    Also those whose lease has run out go again: their attempt number stays, so whichever copy comes first counts.
    """
    rows = _due_rows(connection, milliseconds(now), most)
    lapsed = [_pending(row) for row in rows if row.state in _LAPSES]
    going = [row for row in rows if row.state not in _LAPSES]
    lease_end = now + RELEASING_LEASE
    times = {"now": milliseconds(now), "lease_end": milliseconds(lease_end)}
    for part in chunks([row.no for row in going]):
        _releasing.run(connection, numbers=numbers_for(connection, part), **times)
    return Due(_leaving(going, lease_end), lapsed, len(rows))


def _due_rows(connection: sa.Connection, now: int, most: int) -> list[_DueRow]:
    last = most // _LAST_ONE_IN
    rows = list(_due.run(connection, now=now, most=most - last))
    if len(rows) == most - last:
        known = {row[0] for row in rows}
        rows += [row for row in _due_last.run(connection, now=now, most=last) if row[0] not in known]
    return [_DueRow._make(row) for row in rows]


def _leaving(rows: Sequence[_DueRow], lease_end: datetime) -> list[Leaving]:
    groups: dict[tuple[int, int, bool], list[_DueRow]] = {}
    for row in rows:
        groups.setdefault((row.mail, row.attempt, _goes_alone(row)), []).append(row)
    return [Leaving(_request(group), group[0].batch, lease_end) for group in groups.values()]


def _goes_alone(row: _DueRow) -> bool:
    return row.lapses >= ALONE_AFTER


def _request(rows: list[_DueRow]) -> RouteRequest:
    """The request for recipients of one mail that are at the same attempt."""
    mail = rows[0]
    to = tuple(Recipient(row.no, row.address) for row in rows)
    envelope = Envelope(
        mail=mail.id,
        reverse_path=mail.reverse_path,
        recipients=to,
        size=mail.size,
        eight_bit=bool(mail.eight_bit),
        smtputf8=bool(mail.smtputf8),
        notify=mail.notify,
        ret=mail.ret,
        alone=_goes_alone(mail),
    )
    return RouteRequest(envelope, mail.attempt)


def mark_released(connection: sa.Connection, numbers: Sequence[int], now: datetime) -> None:
    """The broker has confirmed these; those that a sender has claimed meanwhile stay claimed."""
    lease_end = milliseconds(now + RELEASED_LEASE)
    for part in chunks(numbers):
        _released.run(connection, numbers=numbers_for(connection, part), lease_end=lease_end)


def mark_unclaimed(
    connection: sa.Connection, numbers: Sequence[int], first: datetime, last: datetime, now: datetime
) -> None:
    """Mark those of these that are `releasing` with a lease that ends between two times, as theirs do.

    Where all are claimed by then, it costs one look into an index and no row is written.
    """
    left = _still_releasing.run(connection, first=milliseconds(first), last=milliseconds(last))
    mark_released(connection, list({number for (number,) in left}.intersection(numbers)), now)


def put_back(connection: sa.Connection, numbers: Sequence[int], wake: datetime) -> None:
    """The broker did not take these: they wait here."""
    for part in chunks(numbers):
        connection.execute(_put_back, {"numbers": part, "wake": wake})


def look_later(connection: sa.Connection, numbers: Sequence[int], now: datetime, later: datetime) -> None:
    """Take these for lapsed no earlier, unless they are renewed or settled by now."""
    for part in chunks(numbers):
        connection.execute(_look_later, {"numbers": part, "now": now, "later": later})


def next_wake(connection: sa.Connection) -> datetime | None:
    """The earliest time at which something has to be looked at."""
    found: datetime | None = connection.execute(_next_wake).scalar()
    return found


# ---------------------------------------------------------------------------------------------------------
# Outcomes

_pending_by_number = HotStatement(
    lambda connection: (
        sa.select(*_pending_columns)
        .join_from(recipients, mails, recipients.c.mail == mails.c.no)
        .where(among(connection, recipients.c.no))
        .with_for_update(of=recipients)
    )
)

_SETTLED = (
    "state", "since", "wake", "attempt", "worker", "revision", "host", "code", "enhanced", "reply", "bounce_class",
    "in_doubt", "site", "lapses",
)  # fmt: skip

_settle = HotStatement(
    lambda _: (
        sa.update(recipients)
        .where(recipients.c.no == bindparam("number"))
        .values({name: bindparam(f"new_{name}") for name in _SETTLED})
    ),
    (*(f"new_{name}" for name in _SETTLED), "number"),
)


def find_pending(connection: sa.Connection, outcomes: Iterable[RecipientOutcome]) -> dict[int, Pending]:
    """The rows that outcomes are for, by recipient number; replaced recipients have none."""
    found: dict[int, Pending] = {}
    for part in chunks([outcome.recipient for outcome in outcomes]):
        for row in _pending_by_number.run(connection, numbers=numbers_for(connection, part)):
            found[row[0]] = _pending(row)
    return found


def settle(connection: sa.Connection, changes: Sequence[Change]) -> None:
    """Write what outcomes have changed; a deferred attempt goes into the history, as the row shows the next one."""
    if not changes:
        return
    _settle.run_for_each(connection, [_settle_row(change) for change in changes])
    earlier = [_attempt_row(change) for change in changes if _is_history(change)]
    if earlier:
        connection.execute(sa.insert(history), earlier)


def _pending(row: tuple[Any, ...]) -> Pending:
    """Of a row that begins with `_pending_columns`."""
    number, mail_no, address, state, attempt, worker, released, claimed, site, in_doubt, lapses, *of_mail = row[:15]
    mail, batch, admitted, give_up = of_mail
    return Pending(
        number=number,
        mail_no=mail_no,
        mail=mail,
        batch=batch,
        address=address,
        state=State(state),
        attempt=attempt,
        worker=worker,
        admitted=_moment(admitted),
        give_up=_moment(give_up),
        released=None if released is None else _moment(released),
        claimed=None if claimed is None else _moment(claimed),
        site=site,
        in_doubt=bool(in_doubt),
        lapses=lapses,
    )


def _settle_row(change: Change) -> tuple[Any, ...]:
    """Those of `_SETTLED`, and the number."""
    reply = change.reply
    return (
        int(change.state),
        _milliseconds(change.time),
        None if change.wake is None else milliseconds(change.wake),
        change.attempt,
        change.worker,
        change.revision,
        change.host,
        reply.code,
        reply.enhanced,
        reply.text,
        change.bounce_class or "",
        change.in_doubt,
        change.site,
        change.lapses,
        change.pending.number,
    )


def _is_history(change: Change) -> bool:
    return change.wake is not None and (change.ends_attempt or change.next_probe is not None)


def _attempt_row(change: Change) -> dict[str, Any]:
    return {
        "mail": change.pending.mail_no,
        "time": change.time,
        "what": change.state.name.lower(),
        "recipient": change.pending.address,
        "attempt": change.pending.attempt,
        "revision": change.revision,
        "worker": change.worker,
        "host": change.host,
        "code": change.reply.code,
        "enhanced": change.reply.enhanced,
        "reply": change.reply.text,
        "bounce_class": change.bounce_class or "",
        "next_try": None if change.state is State.IN_DOUBT else change.next_probe or change.wake,
        "detail": _detail(change),
    }


def _detail(change: Change) -> str:
    if change.site:
        return f"{change.site} is down: no attempt is counted"
    return "in doubt: the receiver may have taken it" if change.in_doubt else ""
