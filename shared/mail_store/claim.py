"""The claim, which the senders make: the gate between "can still be retracted" and "in flight"."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import bindparam

from shared.hot_statements import HotStatement, among, numbers_for
from shared.mail_store.rows import chunks
from shared.mail_store.states import ALONE_AFTER, CLAIM_LEASE, CLAIMABLE, State
from shared.mail_store.tables import contents, milliseconds, recipients


class Claim(msgspec.Struct, frozen=True):
    """A recipient that this sender has claimed."""

    attempt: int
    content: bytes  # of its mail; shared with the mail's other recipients


_ANY_LAPSES = 2**15 - 1  # the most that the column takes

_claim = HotStatement(
    lambda connection: (
        sa.update(recipients)
        .where(among(connection, recipients.c.no), sa.or_(*(recipients.c.state == int(state) for state in CLAIMABLE)))
        # A copy of the work from before its claims lapsed does not say that it goes alone.
        .where(recipients.c.lapses < bindparam("less_than"))
        .values(
            state=int(State.CLAIMED),
            since=bindparam("now"),
            claimed=bindparam("now"),
            wake=bindparam("lease_end"),
            worker=bindparam("by"),
        )
        .returning(recipients.c.no, recipients.c.mail, recipients.c.attempt)
    )
)

# By itself, not with the claim: the content that several recipients share is read once.
_read_contents = HotStatement(
    lambda connection: sa.select(contents.c.mail, contents.c.data).where(among(connection, contents.c.mail))
)

_renew = (
    sa.update(recipients)
    .where(recipients.c.no.in_(bindparam("numbers", expanding=True)))
    .where(recipients.c.state == int(State.CLAIMED))
    .where(recipients.c.worker == bindparam("by"))
    .values(wake=bindparam("lease_end"))
    .returning(recipients.c.no)
)


def claim(
    connection: sa.Connection, numbers: Sequence[int], worker: str, now: datetime, alone: bool = False
) -> dict[int, Claim]:
    """Claim released recipients for a sender and read their mails' contents; by recipient number.

    Those missing from the result were retracted, replaced, claimed by another or are final: they are not to be sent.
    `alone`: the sender has nothing else in hand, so it may have what others died with.
    """
    times = {"now": milliseconds(now), "lease_end": milliseconds(now + CLAIM_LEASE)}
    less_than = _ANY_LAPSES if alone else ALONE_AFTER
    claimed: list[tuple[Any, ...]] = []
    for part in chunks(numbers):
        those = numbers_for(connection, part)
        claimed += _claim.run(connection, numbers=those, by=worker, less_than=less_than, **times)
    found: dict[int, bytes] = {}
    for part in chunks(list({mail for _, mail, _ in claimed})):
        found.update(_read_contents.run(connection, numbers=numbers_for(connection, part)))
    return {number: Claim(attempt, found[mail]) for number, mail, attempt in claimed}


def renew_claims(connection: sa.Connection, numbers: Sequence[int], worker: str, now: datetime) -> frozenset[int]:
    """Keep claims that take longer than the lease; returns those that are still this sender's."""
    parameters = {"lease_end": now + CLAIM_LEASE, "by": worker}
    return frozenset(
        number
        for part in chunks(numbers)
        for number in connection.execute(_renew, {"numbers": part, **parameters}).scalars()
    )
