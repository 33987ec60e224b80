"""Retract, release, replace: what an operator does to mails that have not left. Functions of an open transaction.

A retract is exact: a recipient is either taken back here or was claimed, and a claim is one transaction too.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from services.scheduler import sites, store
from services.scheduler.composed import Draft
from services.scheduler.inquiry import chosen_by, recipient_states
from services.scheduler.store import Admitted, Leaving
from services.scheduler.suppression import Suppressed
from shared.contracts.answers import RecipientState, ReleasedMail, ReplaceResult, RetractedMail, RetractResult
from shared.contracts.commands import Selector
from shared.contracts.words import BounceClass
from shared.mail_store.rows import chunks, insert_missing
from shared.mail_store.states import RETRACTABLE, State
from shared.mail_store.tables import contents, history, mails, recipients

ANSWERED = 1000  # mails named in one answer; the counts are of all
# In one transaction: others are waiting for the lock, and a batch may have a million mails.
_MOST_MAILS = 250
_MOST_RECIPIENTS = 2500

IN_ITS_PLACE = "the new content stands in its place"
_REPLACED = "replaced"  # in the history


class Retraction(msgspec.Struct, frozen=True):
    """What a retract did with one page of mails."""

    mails: list[RetractedMail]  # as many as were to be named
    counts: dict[str, int]  # mails per result
    taken_back: list[tuple[str, str, str]]  # mail id, batch, recipient: newly retracted
    mail_numbers: list[int]
    following: int | None = None  # where the next page begins


class Rescheduling(msgspec.Struct, frozen=True):
    """What a release did with one page of mails."""

    mails: list[ReleasedMail]  # as many as were to be named
    released: int
    following: int | None = None  # where the next page begins


class Replacement(msgspec.Struct, frozen=True):
    """What a replace did; `leaving` where the new mail goes at once."""

    result: ReplaceResult
    detail: str
    leaving: Leaving | None = None
    suppressed: Sequence[Suppressed] = ()
    batch: str = ""  # the new mail's: its own, or else the former's


def retract(
    connection: sa.Connection,
    selector: Selector,
    now: datetime,
    revision: int,
    after: int = 0,
    name: int = ANSWERED,
) -> Retraction:
    """Take back what has not been claimed, and say of each mail what became of it, by name of so many.

    A page of mails: the rest follow `after` what it says.
    """
    rows, following = page_of(connection, selector, after)
    if not rows and selector.id:
        if _remember(connection, selector, now, revision):
            return _unknown(selector)
        rows, following = page_of(connection, selector, after)  # it has arrived meanwhile, at another scheduler
        if not rows:
            return _unknown(selector)
    taken = _take_back(connection, [row for row in rows if row.state in RETRACTABLE], now, revision)
    states = {row.no: State.RETRACTED for row in taken}
    by_mail: dict[int, list[Any]] = {}
    for row in rows:
        by_mail.setdefault(row.mail, []).append(row)
    results = {mail: _mail_result(of, states) for mail, of in by_mail.items()}
    counts: dict[str, int] = {}
    for result in results.values():
        counts[result] = counts.get(result, 0) + 1
    named = list(by_mail)[:name]
    now_there = recipient_states(connection, named, [row.no for mail in named for row in by_mail[mail]])
    return Retraction(
        [_retracted_mail(by_mail[mail][0].id, results[mail], now_there[mail]) for mail in named],
        counts,
        [(row.id, row.batch, row.address) for row in taken],
        list({row.mail for row in taken}),
        following,
    )


def release(
    connection: sa.Connection,
    selector: Selector,
    now: datetime,
    revision: int,
    after: int = 0,
    name: int = ANSWERED,
) -> Rescheduling:
    """Make held and deferred recipients due now: a page of mails, as `retract` does. What is due keeps its place."""
    rows, following = page_of(connection, selector, after)
    waiting = [row for row in rows if row.state in (State.HELD, State.DEFERRED)]
    early = [row for row in waiting if row.wake > now]
    for part in chunks([row.no for row in early]):
        connection.execute(sa.update(recipients).where(recipients.c.no.in_(part)).values(wake=now))
    sites.call(connection, {row.site for row in early if row.site}, now)
    note(connection, early, "released by an operator", now, revision)
    counts = {row.mail: 0 for row in rows}
    for row in waiting:
        counts[row.mail] += 1
    names = {row.mail: row.id for row in rows}
    doubtful = {row.mail for row in rows if row.state == State.IN_DOUBT}
    answered = [_released_mail(names[mail], count, mail in doubtful) for mail, count in list(counts.items())[:name]]
    if not rows and selector.id:
        answered = [ReleasedMail(id=selector.id, released=0, detail="no such mail")]
    return Rescheduling(answered, len(waiting), following)


def replace(connection: sa.Connection, mail: str, draft: Draft, mark: str) -> Replacement:
    """Put a new mail in the place of one of which nothing has been claimed: same id, new recipients, new hold.

    The recipients are new rows, so work messages of the former ones find nothing to claim. `mark` is what the
    command is known by when it comes again.
    """
    rows = _rows(connection, mails.c.id == mail)
    if not rows:
        return Replacement(ReplaceResult.UNKNOWN, "no such mail")
    if any(row.state == State.CLAIMED for row in rows):
        return Replacement(ReplaceResult.IN_FLIGHT, "a sender has it; the outcome event will tell")
    heeded = [row for row in rows if not _is_suppressed(row)] or rows
    if final := next((row for row in heeded if row.state not in RETRACTABLE), None):
        return Replacement(ReplaceResult.TOO_LATE, f"{final.address}: {State(final.state).name.lower()}")
    if doubtful := next((row for row in heeded if row.in_doubt), None):
        return Replacement(ReplaceResult.TOO_LATE, f"{doubtful.address}: the receiver may have taken it")
    number = rows[0].mail
    # A correction stays part of its batch, and its submitter's unless somebody else says so.
    draft = msgspec.structs.replace(
        draft, batch=draft.batch or rows[0].batch, submitted_by=draft.submitted_by or rows[0].submitted_by
    )
    note(connection, rows, _REPLACED, draft.admitted, draft.revision, mark)
    connection.execute(sa.delete(recipients).where(recipients.c.mail == number))
    connection.execute(sa.update(mails).where(mails.c.no == number).values(store.mail_columns(draft)))
    connection.execute(sa.update(contents).where(contents.c.mail == number).values(data=draft.composed.content))
    new, suppressed = store.insert_recipients(connection, [(draft, number)])
    admitted = Admitted(draft, tuple(new[number]))
    at_once = bool(admitted.recipients) and draft.due <= draft.admitted
    return Replacement(
        ReplaceResult.REPLACED,
        IN_ITS_PLACE,
        admitted.leaving if at_once else None,
        suppressed,
    )


def was_replaced(connection: sa.Connection, mail: str, mark: str) -> bool:
    """Whether a replace that has this mark was carried out: by now the new mail may have left, or be replaced, too."""
    query = (
        sa.select(history.c.no)
        .join_from(history, mails, history.c.mail == mails.c.no)
        .where(mails.c.id == mail, history.c.what == _REPLACED, history.c.detail == mark)
    )
    return connection.execute(query.limit(1)).first() is not None


# ---------------------------------------------------------------------------------------------------------


def page_of(connection: sa.Connection, selector: Selector, after: int) -> tuple[Sequence[Any], int | None]:
    """Rows of the next mails with all their recipients that are meant, and where those that follow begin."""
    if selector.recipient:  # one row of each mail: by its number, which the index of addresses has
        rows = _rows(connection, sa.and_(chosen_by(selector), recipients.c.no > after), _MOST_MAILS)
        return rows, rows[-1].no if len(rows) == _MOST_MAILS else None
    numbers, following = _next_mails(connection, selector, after)
    return _rows(connection, recipients.c.mail.in_(numbers)), following


def _next_mails(connection: sa.Connection, selector: Selector, after: int) -> tuple[list[int], int | None]:
    query = sa.select(mails.c.no).where(chosen_by(selector), mails.c.no > after).order_by(mails.c.no).limit(_MOST_MAILS)
    found = connection.execute(query).scalars().all()
    counted = sa.select(recipients.c.mail, sa.func.count()).where(recipients.c.mail.in_(found))
    counts: dict[int, int] = dict(connection.execute(counted.group_by(recipients.c.mail)).all())
    numbers: list[int] = []
    count = 0
    for number in found:
        count += counts.get(number, 0)
        if numbers and count > _MOST_RECIPIENTS:
            return numbers, numbers[-1]
        numbers.append(number)
    return numbers, numbers[-1] if len(found) == _MOST_MAILS else None


def _rows(connection: sa.Connection, condition: Any, most: int | None = None) -> Sequence[Any]:
    return connection.execute(
        sa.select(
            recipients.c.no, recipients.c.mail, recipients.c.address, recipients.c.state, recipients.c.attempt,
            recipients.c.wake, recipients.c.site, recipients.c.bounce_class, recipients.c.in_doubt, recipients.c.host,
            mails.c.id, mails.c.batch, mails.c.submitted_by,
        )
        .join_from(recipients, mails, recipients.c.mail == mails.c.no)
        .where(condition)
        .order_by(recipients.c.no)
        .limit(most)
        .with_for_update(of=recipients)
    ).all()  # fmt: skip


def _take_back(connection: sa.Connection, rows: Sequence[Any], now: datetime, revision: int) -> Sequence[Any]:
    for part in chunks([row.no for row in rows]):
        connection.execute(
            sa.update(recipients)
            .where(recipients.c.no.in_(part))
            .values(state=int(State.RETRACTED), since=now, wake=None, revision=revision)
        )
    return rows


def _remember(connection: sa.Connection, selector: Selector, now: datetime, revision: int) -> bool:
    """The command may overtake its mail: remember it, so that a mail of this id is retracted on arrival.

    Not for a part of a mail: its other recipients are to get it. Returns whether it is remembered now.
    """
    if selector.batch or selector.recipient:
        return False
    values = {
        "id": selector.id, "batch": "", "reverse_path": "", "subject": "", "size": 0, "eight_bit": False,
        "smtputf8": False, "urgent": False, "submitted_by": "", "admitted": now, "due": now, "give_up": now,
        "revision": revision, "held_by": "", "retracted_before_arrival": True,
    }  # fmt: skip
    connection.execute(insert_missing(connection, mails, "id"), [values])
    query = sa.select(mails.c.retracted_before_arrival).where(mails.c.id == selector.id)
    return bool(connection.execute(query).scalar())


def _unknown(selector: Selector) -> Retraction:
    part = bool(selector.batch or selector.recipient)
    detail = (
        "no such mail, or it has no such part" if part else "no such mail; should it still arrive, it will not be sent"
    )
    answer = RetractedMail(id=selector.id or "", result=RetractResult.UNKNOWN, detail=detail)
    return Retraction([answer], {RetractResult.UNKNOWN.value: 1}, [], [])


def _is_suppressed(row: Any) -> bool:
    """Whether the mail never went anywhere, for this recipient."""
    return bool(row.state == State.BOUNCED and row.bounce_class == BounceClass.SUPPRESSED)


def _mail_result(rows: Sequence[Any], taken: Mapping[int, State]) -> RetractResult:
    """The least favourable of its recipients'; those on the suppression list count where there is no other."""
    heeded = [row for row in rows if not _is_suppressed(row)] or rows
    states = [taken.get(row.no, State(row.state)) for row in heeded]
    if any(state in (State.DELIVERED, State.BOUNCED) for state in states):
        return RetractResult.TOO_LATE
    if State.CLAIMED in states:
        return RetractResult.IN_FLIGHT
    return RetractResult.IN_DOUBT if any(row.in_doubt for row in heeded) else RetractResult.RETRACTED


def _retracted_mail(mail: str, result: RetractResult, states: list[RecipientState]) -> RetractedMail:
    match result:
        case RetractResult.RETRACTED:
            detail = "it will not be sent"
        case RetractResult.IN_FLIGHT:
            detail = "a sender has it; the outcome event will tell"
        case RetractResult.IN_DOUBT:
            detail = "it will not be sent again, but the receiver may have taken it at an earlier try"
        case _:
            final = next(state for state in states if state.state in ("delivered", "bounced"))
            told = f"{final.code} {final.enhanced} {final.reply}".replace("\n", " ").strip()
            detail = (
                f"{final.state} at {final.since.isoformat(timespec='seconds')}, {final.host or 'no host'} said: {told}"
            )
    return RetractedMail(id=mail, result=result, detail=detail, recipients=states)


def _released_mail(mail: str, count: int, in_doubt: bool) -> ReleasedMail:
    nothing = "it is in doubt: `resend` or `close` it" if in_doubt else "nothing of it was waiting"
    return ReleasedMail(id=mail, released=count, detail="it goes now" if count else nothing)


def note(
    connection: sa.Connection, rows: Sequence[Any], what: str, now: datetime, revision: int, detail: str = ""
) -> None:
    """Write into the history what was done for recipients."""
    if rows:
        connection.execute(
            sa.insert(history),
            [
                {
                    "mail": row.mail, "time": now, "what": what, "recipient": row.address, "attempt": row.attempt,
                    "revision": revision, "worker": "", "host": "", "code": 0, "enhanced": "", "reply": "",
                    "next_try": None, "detail": detail,
                }
                for row in rows
            ],
        )  # fmt: skip
