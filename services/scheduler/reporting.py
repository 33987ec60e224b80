"""Reports to reverse-paths, admitted in the transaction that settles the outcomes they tell of: each is made once.

Nothing here costs a delivered mail anything.
"""

import socket
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from services.scheduler import dsn, store
from services.scheduler.composed import Draft
from services.scheduler.dsn import Action, Fate, Original
from services.scheduler.outcomes import Change
from services.scheduler.suppression import Suppressed
from shared.mail_store.rows import chunks
from shared.mail_store.states import State
from shared.mail_store.tables import contents, history, mails, recipients
from shared.settings import Settings

_MOST = 500  # recipients in one report
_HEADER = 64 * 1024  # octets of a header that a report returns
_CONTENT = 1024 * 1024  # octets of a mail that a report returns
# It is released by the loop that releases everything: here is no time to wait for the broker.
_AT_ONCE = timedelta(milliseconds=1)


class Report(msgspec.Struct, frozen=True):
    """A report that is now a mail."""

    draft: Draft
    about: str  # the id of the mail it is about
    action: Action
    recipients: int
    suppressed: Sequence[Suppressed] = ()


def write_reports(
    connection: sa.Connection, changes: Sequence[Change], settings: Settings, revision: int, now: datetime
) -> list[Report]:
    """Compose and admit what the changes give reason to tell; returns the new mails."""
    if settings.bounces != "dsn":
        return []
    failed = [change for change in changes if change.state is State.BOUNCED]
    late = _late(connection, changes, settings, now)
    if not failed and not late:
        return []
    originals = _originals(connection, [*failed, *late])
    reports = [
        *_compose(failed, "failed", originals, settings, revision, now),
        *_compose(late, "delayed", originals, settings, revision, now),
    ]
    if not reports:
        return []
    admission = store.admit(connection, [report.draft for report in reports])
    admitted = {mail.draft.id for mail in admission.admitted}
    suppressed: dict[str, list[Suppressed]] = {}
    for one in admission.suppressed:
        suppressed.setdefault(one.draft.id, []).append(one)
    made = [
        msgspec.structs.replace(report, suppressed=suppressed.get(report.draft.id, ()))
        for report in reports
        if report.draft.id in admitted
    ]
    _note(connection, made, originals, now)
    return made


def _late(connection: sa.Connection, changes: Sequence[Change], settings: Settings, now: datetime) -> list[Change]:
    """Those that are not delivered after so long a time, and were not said to be."""
    if settings.delay_notice is None:
        return []
    enough = now - settings.delay_notice
    waiting = {
        change.pending.number: change
        for change in changes
        if change.state is State.DEFERRED and change.pending.admitted <= enough
    }
    found: list[Change] = []
    for part in chunks(list(waiting)):
        rows = connection.execute(
            sa.update(recipients)
            .where(recipients.c.no.in_(part), ~recipients.c.told_late)
            .where(recipients.c.mail.in_(sa.select(mails.c.no).where(mails.c.due <= enough)))
            .values(told_late=True)
            .returning(recipients.c.no)
        )
        found += [waiting[number] for number in rows.scalars()]
    return found


class _Found(msgspec.Struct, frozen=True):
    original: Original
    notify: str


def _originals(connection: sa.Connection, changes: Sequence[Change]) -> dict[int, _Found]:
    """The mails that may be reported on, by number: a reverse-path, and no report itself."""
    query = sa.select(
        mails.c.no, mails.c.id, mails.c.reverse_path, mails.c.subject, mails.c.admitted, mails.c.give_up,
        mails.c.notify,
        sa.func.substr(contents.c.data, 1, _HEADER, type_=sa.LargeBinary).label("head"),
        sa.case((sa.and_(mails.c.ret == "full", mails.c.size <= _CONTENT), contents.c.data)).label("content"),
    ).join_from(mails, contents, mails.c.no == contents.c.mail, isouter=True)  # fmt: skip
    found: dict[int, _Found] = {}
    for part in chunks(list({change.pending.mail_no for change in changes})):
        for row in connection.execute(query.where(mails.c.no.in_(part), mails.c.reverse_path != "")):
            original = _original(row)
            if not dsn.is_report(original.header):
                found[row.no] = _Found(original, row.notify)
    return found


def _original(row: Any) -> Original:
    head = bytes(row.head or b"")
    header, end, _ = head.partition(b"\r\n\r\n")
    if not end:  # cut off within the header: its last whole line is the end
        header = header.rpartition(b"\r\n")[0]
    return Original(
        id=row.id,
        reverse_path=row.reverse_path,
        subject=row.subject,
        admitted=row.admitted,
        give_up=row.give_up,
        header=header + b"\r\n" if header else b"",
        content=bytes(row.content or b""),
    )


def _compose(
    changes: Iterable[Change], action: Action, originals: dict[int, _Found], settings: Settings, revision: int,
    now: datetime,
) -> list[Report]:  # fmt: skip
    by_mail: dict[int, list[Fate]] = {}
    for change in changes:
        found = originals.get(change.pending.mail_no)
        if found is not None and _is_wanted(found.notify, action):
            by_mail.setdefault(change.pending.mail_no, []).append(_fate(change))
    return [
        _report(originals[mail].original, action, fates[start : start + _MOST], settings, revision, now)
        for mail, fates in by_mail.items()
        for start in range(0, len(fates), _MOST)
    ]


def _is_wanted(notify: str, action: Action) -> bool:
    """RFC 3461 section 4.1; who says nothing is told of failures, and of delays where the setting says so."""
    return not notify or ("failure" if action == "failed" else "delay") in notify


def _fate(change: Change) -> Fate:
    said = change.reply if change.reply.remote else change.last
    return Fate(
        number=change.pending.number,
        address=change.pending.address,
        verdict=change.reply,
        said=said if said is not None and said.remote else None,
        host=change.host,
    )


def _report(
    original: Original, action: Action, fates: list[Fate], settings: Settings, revision: int, now: datetime
) -> Report:
    names = dsn.names_of(settings.identity, socket.gethostname(), original.reverse_path)
    if action == "delayed":  # RFC 3461 section 4.3: RET is for failures
        original = msgspec.structs.replace(original, content=b"")
    due = now + _AT_ONCE
    draft = Draft(
        id=dsn.report_id(original.id, action, fates),
        composed=dsn.compose(original, action, fates, names, now),
        batch="",
        urgent=False,
        submitted_by="",
        admitted=now,
        due=due,
        give_up=due + min(settings.retry.give_up_dsn, settings.retry.give_up),
        revision=revision,
        held_by="nothing: it is a report",
        notify="never",  # RFC 3461 section 6.1
    )
    return Report(draft, original.id, action, len(fates))


def _note(connection: sa.Connection, made: Sequence[Report], originals: dict[int, _Found], now: datetime) -> None:
    """For `show`: which mail the report is about, and what reports there are of a mail."""
    numbers = {found.original.id: number for number, found in originals.items()}
    for part in (made[start : start + 500] for start in range(0, len(made), 500)):
        query = sa.select(mails.c.id, mails.c.no).where(mails.c.id.in_([report.draft.id for report in part]))
        numbers.update({row.id: row.no for row in connection.execute(query)})
    rows = [(numbers[report.about], "reported", report.draft.id, report) for report in made]
    rows += [(numbers[report.draft.id], "about", report.about, report) for report in made]
    if rows:
        connection.execute(
            sa.insert(history),
            [
                {
                    "mail": mail, "time": now, "what": what, "recipient": "", "attempt": 0,
                    "revision": report.draft.revision, "worker": "", "host": "", "code": 0, "enhanced": "",
                    "reply": "", "next_try": None, "detail": detail,
                }
                for mail, what, detail, report in rows
            ],
        )  # fmt: skip
