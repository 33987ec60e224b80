"""The tables of the mail store.

A row per mail, a row per recipient: the state is the recipient's. `wake` is the time at which the scheduler has to look
at a recipient again (hold or retry wait over, lease run out); a final one has none. Content lies in a table of its own,
because changing a row that holds a blob writes the blob again.
"""

from datetime import UTC, datetime

import sqlalchemy as sa


def milliseconds(moment: datetime) -> int:
    """Since 1970."""
    return round(moment.timestamp() * 1000)


def moment_of(milliseconds: int) -> datetime:
    """The time of so many milliseconds since 1970."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware datetime, kept as milliseconds since 1970."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        """To milliseconds."""
        return None if value is None else milliseconds(value)

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:
        """From milliseconds."""
        return None if value is None else moment_of(value)


_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite numbers rows by INTEGER keys only

metadata = sa.MetaData()

# Of the tables below: one more with every change but a new table or index; CHANGELOG.md says how a store gets there.
# A store from before it had a version is of the first.
VERSION = 1

# One row.
store_version = sa.Table("store_version", metadata, sa.Column("version", sa.Integer, nullable=False))

mails = sa.Table(
    "mails",
    metadata,
    sa.Column("no", _Number, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("batch", sa.Text, nullable=False),
    sa.Column("reverse_path", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("eight_bit", sa.Boolean, nullable=False),
    sa.Column("smtputf8", sa.Boolean, nullable=False),
    sa.Column("urgent", sa.Boolean, nullable=False),
    sa.Column("submitted_by", sa.Text, nullable=False),
    sa.Column("admitted", Instant, nullable=False),
    sa.Column("due", Instant, nullable=False),  # when its hold was to be over
    sa.Column("give_up", Instant, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("held_by", sa.Text, nullable=False),  # what set the hold: a phrase for `show`
    sa.Column("notify", sa.Text, nullable=False, server_default=""),  # as the envelope has it
    sa.Column("ret", sa.Text, nullable=False, server_default=""),
    sa.Column("retracted_before_arrival", sa.Boolean, nullable=False),  # no such mail yet: it may not leave
    sqlite_autoincrement=True,
)
sa.Index("mails_batch", mails.c.batch, sqlite_where=mails.c.batch != "", postgresql_where=mails.c.batch != "")

recipients = sa.Table(
    "recipients",
    metadata,
    sa.Column("no", _Number, primary_key=True, autoincrement=True),
    sa.Column("mail", sa.BigInteger, nullable=False, index=True),
    sa.Column("address", sa.Text, nullable=False, index=True),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("since", Instant, nullable=False),
    sa.Column("wake", Instant),
    sa.Column("attempt", sa.Integer, nullable=False),  # waiting, under way, or the last
    sa.Column("released", Instant),  # when this attempt was
    sa.Column("claimed", Instant),  # when this attempt was
    sa.Column("worker", sa.Text, nullable=False, server_default=""),
    sa.Column("revision", sa.Integer, nullable=False, server_default="-1"),
    sa.Column("host", sa.Text, nullable=False, server_default=""),
    sa.Column("code", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("enhanced", sa.Text, nullable=False, server_default=""),
    sa.Column("reply", sa.Text, nullable=False, server_default=""),
    sa.Column("bounce_class", sa.Text, nullable=False, server_default=""),  # of a failed attempt
    sa.Column("in_doubt", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column(
        "told_late", sa.Boolean, nullable=False, server_default=sa.false()
    ),  # the reverse-path knows of the delay
    sa.Column("site", sa.Text),  # that kept it from being sent, since its last attempt; or the queue of a full lane
    sa.Column("lapses", sa.SmallInteger, nullable=False, server_default="0"),  # claims in a row whose sender died
    # A number is never given again (`count_on`, too): the work message of a replaced recipient would claim its
    # successor, and the new content would go to the former address.
    sqlite_autoincrement=True,
)
sa.Index(
    "recipients_wake",
    recipients.c.wake,
    recipients.c.state,  # with it the open recipients are counted from the index alone
    sqlite_where=recipients.c.wake.is_not(None),
    postgresql_where=recipients.c.wake.is_not(None),
)

# Who waits for a site; mail that gets through is not in it.
sa.Index(
    "recipients_site",
    recipients.c.site,
    recipients.c.state,
    recipients.c.no,
    sqlite_where=recipients.c.site.is_not(None),
    postgresql_where=recipients.c.site.is_not(None),
)

contents = sa.Table(
    "contents",
    metadata,
    sa.Column("mail", _Number, primary_key=True, autoincrement=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

# The trace contexts of mails (`shared.tracing`), where traces are wanted.
traces = sa.Table(
    "traces",
    metadata,
    sa.Column("mail", _Number, primary_key=True, autoincrement=False),
    sa.Column("context", sa.Text, nullable=False),
)

# What is known of a site as a whole (`shared.sites`).
sites = sa.Table(
    "sites",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("since", Instant, nullable=False),
    sa.Column("worked", Instant),  # when a sender last found it working
    sa.Column("failures", sa.Integer, nullable=False),  # probes in vain, one after another
    sa.Column("until", Instant),  # down: no connection before
    sa.Column("revision", sa.Integer, nullable=False),  # settings under which it failed
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("code", sa.SmallInteger, nullable=False),
    sa.Column("enhanced", sa.Text, nullable=False),
    sa.Column("reply", sa.Text, nullable=False),
    sa.Column("remote", sa.Boolean, nullable=False),  # whether a server said so
    sa.Column("prober", sa.Text, nullable=False),  # the sender that alone may connect, "" for none
    sa.Column("lease_end", Instant),  # until then
    sa.Column("called", Instant),  # when the scheduler let a mail out for the next probe
    sa.Column("lets_go", sa.Boolean, nullable=False),  # mail that waited for it is being released
)
sa.Index("sites_state", sites.c.state)

# How much mail has gone where there are limits (`shared.paces`).
paces = sa.Table(
    "paces",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("due", Instant, nullable=False),
    sa.Column("promised", Instant, nullable=False),
)

# The senders that run (`shared.presence`).
senders = sa.Table(
    "senders",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("machine", sa.Text, nullable=False),
    sa.Column("started", Instant, nullable=False),
    sa.Column("seen", Instant, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("lanes", sa.Integer, nullable=False),
    sa.Column("connections", sa.Integer, nullable=False),
    sa.Column("claimed", sa.BigInteger, nullable=False),
)

# What each of them says in EHLO, by the address that it connects from.
greetings = sa.Table(
    "greetings",
    metadata,
    sa.Column("sender", sa.Text, primary_key=True),
    sa.Column("address", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
)

# Addresses that no mail goes to (`services/scheduler/suppression.py`).
suppressions = sa.Table(
    "suppressions",
    metadata,
    sa.Column("address", sa.Text, primary_key=True),  # as `suppression.key_of` spells it
    sa.Column("bounce_class", sa.Text, nullable=False),  # "" where somebody put it there
    sa.Column("code", sa.SmallInteger, nullable=False),
    sa.Column("enhanced", sa.Text, nullable=False),
    sa.Column("reply", sa.Text, nullable=False),  # what the server said, or why somebody put it there
    sa.Column("mail", sa.Text, nullable=False),  # the id of the mail that was refused
    sa.Column("time", Instant, nullable=False),
    sa.Column("author", sa.Text, nullable=False),  # "" where nobody put it there
    sa.Column("until", Instant),  # None: until somebody removes it
)
sa.Index(
    "suppressions_until",
    suppressions.c.until,
    sqlite_where=suppressions.c.until.is_not(None),
    postgresql_where=suppressions.c.until.is_not(None),
)

# What the rows above no longer show: earlier attempts, and what operators did.
history = sa.Table(
    "history",
    metadata,
    sa.Column("no", _Number, primary_key=True, autoincrement=True),
    sa.Column("mail", sa.BigInteger, nullable=False, index=True),
    sa.Column("time", Instant, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("code", sa.SmallInteger, nullable=False),
    sa.Column("enhanced", sa.Text, nullable=False),
    sa.Column("reply", sa.Text, nullable=False),
    sa.Column("bounce_class", sa.Text, nullable=False, server_default=""),
    sa.Column("next_try", Instant),
    sa.Column("detail", sa.Text, nullable=False),
)

settings_history = sa.Table(
    "settings_history",
    metadata,
    sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", Instant, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("restores", sa.Integer),
    sa.Column("settings", sa.LargeBinary, nullable=False),  # JSON, as published
)
