"""The suppression list: addresses that no mail goes to, because a server has said that it would be useless for good.

What is on it is asked once for a batch of mails, and not at all where nothing is.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite

from services.scheduler.composed import Draft
from services.scheduler.outcomes import Change
from shared.addresses import ascii_domain_of, check_spec, refuse_control_characters
from shared.classify import condemns_address
from shared.contracts.answers import (
    RefusedAddress,
    SuppressionLine,
    SuppressionsAdded,
    SuppressionsAnswer,
    SuppressionsRemoved,
)
from shared.contracts.commands import AddSuppressions, ListSuppressions, RemoveSuppressions, SuppressedAddress
from shared.contracts.events import BouncedEvent
from shared.contracts.words import BounceClass
from shared.hot_statements import HotStatement
from shared.mail_store.states import State
from shared.mail_store.tables import suppressions
from shared.settings import Suppression
from shared.smtp_reply import Reply, own_verdict

_CODE, _ENHANCED = 550, "5.7.1"  # RFC 3463 section 3.8: delivery not authorized
_AT_ONCE = 500  # addresses in one question
_FORGOTTEN = 500  # addresses in one transaction: others are waiting for the lock
_SHOWN = 500  # characters of a server's reply that a verdict repeats


class Suppressed(msgspec.Struct, frozen=True):
    """A recipient that a mail did not go to."""

    draft: Draft
    mail_no: int
    recipient: str
    verdict: Reply


def key_of(address: str) -> str:
    """How the list spells a checked address: who is known as Ann@ and as ann@ is one, and so is a domain (RFC 5891)."""
    return f"{address.rpartition('@')[0].lower()}@{ascii_domain_of(address).lower()}"


_any = HotStatement(lambda _: sa.select(sa.literal(1)).select_from(suppressions).limit(1))

_valid = sa.or_(suppressions.c.until.is_(None), suppressions.c.until > bindparam("now"))

_among = sa.select(
    suppressions.c.address, suppressions.c.bounce_class, suppressions.c.code, suppressions.c.enhanced,
    suppressions.c.reply, suppressions.c.time,
).where(suppressions.c.address.in_(bindparam("addresses", expanding=True)), _valid)  # fmt: skip


def verdicts(connection: sa.Connection, drafts: Iterable[Draft]) -> dict[str, Reply]:
    """The verdicts on those recipients of the drafts that are on the list, by address as the draft spells it."""
    asking = [draft for draft in drafts if not draft.ignore_suppression]
    if not asking or not _any.run(connection):
        return {}
    now = max(draft.admitted for draft in asking)
    keys = {address: key_of(address) for draft in asking for address in draft.composed.recipients}
    asked = sorted(set(keys.values()))
    found: dict[str, Reply] = {}
    for start in range(0, len(asked), _AT_ONCE):
        rows = connection.execute(_among, {"addresses": asked[start : start + _AT_ONCE], "now": now})
        found.update((row.address, _verdict(row)) for row in rows)
    return {address: found[key] for address, key in keys.items() if key in found}


def _verdict(row: Any) -> Reply:
    said = str(Reply(row.code, row.enhanced, row.reply[:_SHOWN])) if row.code else row.reply[:_SHOWN]
    why = ": ".join(part for part in (row.bounce_class, said) if part)
    since = f"on the suppression list since {row.time.date().isoformat()}" + (f" ({why})" if why else "")
    return own_verdict(_CODE, _ENHANCED, f"{since}; remove it, or submit with ignore_suppression")


def bounced_row(one: Suppressed) -> dict[str, Any]:
    """The row of a recipient that is final from the start."""
    return {
        "mail": one.mail_no,
        "address": one.recipient,
        "state": int(State.BOUNCED),
        "since": one.draft.admitted,
        "wake": None,
        "attempt": 0,
        "revision": one.draft.revision,
        "code": one.verdict.code,
        "enhanced": one.verdict.enhanced,
        "reply": one.verdict.text,
        "bounce_class": BounceClass.SUPPRESSED.value,
    }


def event_of(one: Suppressed) -> BouncedEvent:
    """The event that tells of it."""
    return BouncedEvent(
        mail=one.draft.id,
        batch=one.draft.batch,
        time=one.draft.admitted,
        revision=one.draft.revision,
        recipient=one.recipient,
        attempt=0,
        host="",
        code=one.verdict.code,
        enhanced=one.verdict.enhanced,
        reply=one.verdict.text,
        bounce_class=BounceClass.SUPPRESSED,
    )


# ---------------------------------------------------------------------------------------------------------


def condemned(changes: Sequence[Change]) -> list[Change]:
    """Those that show that mail to their recipient is useless for good.

    The answer to the end of a mail is one for all of its recipients, whichever of them it means: what two recipients
    of a mail were told in the same words condemns neither.
    """
    bounced = [change for change in changes if change.state is State.BOUNCED and condemns_address(change.reply)]
    told = Counter((change.pending.mail_no, change.reply) for change in bounced)
    return [change for change in bounced if told[change.pending.mail_no, change.reply] == 1]


def add_condemned(connection: sa.Connection, changes: Sequence[Change], rule: Suppression) -> list[str]:
    """Put the recipients of those on the list, if the settings say so; returns the addresses.

    What somebody has put there stays as it is.
    """
    if not rule.automatic:
        return []
    rows = {key_of(change.pending.address): _row(change, rule) for change in condemned(changes)}
    if rows:
        # In order: two schedulers that lock the same rows must not wait for each other.
        connection.execute(_replace_automatic(connection), [rows[key] for key in sorted(rows)])
    return sorted(rows)


def _row(change: Change, rule: Suppression) -> dict[str, Any]:
    return {
        "address": key_of(change.pending.address),
        "bounce_class": change.bounce_class or "",
        "code": change.reply.code,
        "enhanced": change.reply.enhanced,
        "reply": change.reply.text,
        "mail": change.pending.mail,
        "time": change.time,
        "author": "",
        "until": change.time + rule.keep,
    }


def _replace_automatic(connection: sa.Connection) -> Any:
    return _replace_any(connection, where=suppressions.c.until.is_not(None))


def _replace_any(connection: sa.Connection, where: sa.ColumnElement[bool] | None = None) -> Any:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(suppressions)
    new = {column.name: insert.excluded[column.name] for column in suppressions.c if not column.primary_key}
    return insert.on_conflict_do_update(index_elements=["address"], set_=new, where=where)


# ---------------------------------------------------------------------------------------------------------
# What operators do


def list_suppressions(connection: sa.Connection, command: ListSuppressions, now: datetime) -> SuppressionsAnswer:
    """A page of the list."""
    query = sa.select(suppressions).where(_valid, suppressions.c.address > command.after)
    if command.address is not None:
        query = query.where(suppressions.c.address == _known_key(command.address))
    rows = connection.execute(query.order_by(suppressions.c.address).limit(command.limit + 1), {"now": now}).all()
    page = rows[: command.limit]
    return SuppressionsAnswer(
        entries=[_line(row) for row in page], next=page[-1].address if len(rows) > command.limit else None
    )


def add_suppressions(connection: sa.Connection, command: AddSuppressions, now: datetime) -> SuppressionsAdded:
    """Put addresses there, as the entries say; what the list has of them makes way."""
    rows: dict[str, dict[str, Any]] = {}
    refused: list[RefusedAddress] = []
    for entry in command.entries:
        try:
            key = key_of(check_spec(entry.address.strip()))
            checked = _checked(entry)
        except ValueError as error:
            refused.append(RefusedAddress(address=entry.address[:_SHOWN], reason=str(error)))
        else:
            rows[key] = _own_row(key, checked, command.author, now)
    if rows:
        connection.execute(_replace_any(connection), [rows[key] for key in sorted(rows)])
    return SuppressionsAdded(added=len(rows), refused=refused)


def remove_suppressions(connection: sa.Connection, command: RemoveSuppressions) -> SuppressionsRemoved:
    """Take addresses off."""
    keys = {_known_key(address): address for address in command.addresses}
    known = suppressions.c.address.in_(sorted(keys))
    found = set(connection.execute(sa.delete(suppressions).where(known).returning(suppressions.c.address)).scalars())
    return SuppressionsRemoved(removed=len(found), unknown=[keys[key] for key in keys if key not in found])


def _known_key(address: str) -> str:
    """How the list spells it; what is no address is not on it."""
    try:
        return key_of(check_spec(address.strip()))
    except ValueError:
        return ""


def _checked(entry: SuppressedAddress) -> SuppressedAddress:
    """The entry itself. Raises ValueError for texts that could not be shown; a server's reply has several lines."""
    for text in (*entry.reason.split("\n"), entry.author or "", entry.enhanced, entry.mail):
        refuse_control_characters(text)
    return entry


def _own_row(key: str, entry: SuppressedAddress, author: str, now: datetime) -> dict[str, Any]:
    return {
        "address": key,
        "bounce_class": entry.bounce_class.value if entry.bounce_class else "",
        "code": entry.code,
        "enhanced": entry.enhanced,
        "reply": entry.reason,
        "mail": entry.mail,
        "time": entry.since or now,
        "author": author if entry.author is None else entry.author,
        "until": entry.until,
    }


def _line(row: Any) -> SuppressionLine:
    return SuppressionLine(
        address=row.address,
        since=row.time,
        until=row.until,
        author=row.author,
        bounce_class=row.bounce_class,
        code=row.code,
        enhanced=row.enhanced,
        reply=row.reply,
        mail=row.mail,
    )


def forget_suppressions(connection: sa.Connection, now: datetime) -> bool:
    """Delete what has been on the list long enough, some of it: whether there may be more."""
    old = sa.select(suppressions.c.address).where(suppressions.c.until <= now).limit(_FORGOTTEN)
    found = connection.execute(old).scalars().all()
    if found:
        connection.execute(sa.delete(suppressions).where(suppressions.c.address.in_(found)))
    return len(found) == _FORGOTTEN
