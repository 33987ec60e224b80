"""The mail store: its tables, its engine, and the claim, which the senders make.

A row per mail, a row per recipient: the state is the recipient's. `wake` is the time at which the scheduler has to look
at a recipient again (hold or retry wait over, lease run out); a final one has none. Content lies in a table of its own,
because changing a row that holds a blob writes the blob again.
"""

import asyncio
import contextlib
import enum
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
import sqlalchemy as sa
import tenacity
from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite

from shared import metrics
from shared.environment import without_password
from shared.hot_statements import HotStatement, among, numbers_for, run_plainly
from shared.store_trouble import StoreAway, StoreUnusable, explained
from shared.trouble import Trouble

P = ParamSpec("P")
T = TypeVar("T")


class State(enum.IntEnum):
    """Where a mail stands for one recipient; the name in lower case is the word used everywhere else."""

    HELD = 1
    RELEASING = 2  # being published to a resolver, or just published
    RELEASED = 3  # with a resolver or in a lane
    CLAIMED = 4  # a sender has it
    DEFERRED = 5
    DELIVERED = 6
    BOUNCED = 7
    RETRACTED = 8
    IN_DOUBT = 9  # the receiver may have it: an operator says whether it goes again


CLAIMABLE = (State.RELEASING, State.RELEASED)  # a sender may be quicker than the scheduler's "released"
RETRACTABLE = (State.HELD, State.RELEASING, State.RELEASED, State.DEFERRED, State.IN_DOUBT)
AWAITING_OUTCOME = (State.RELEASING, State.RELEASED, State.CLAIMED)

# After a crash of the scheduler between its mark and the broker's confirm the message may never have left. No longer:
# what was with it waits so long. A broker that takes longer to confirm gets a second message, which finds no claim.
RELEASING_LEASE = timedelta(seconds=30)
# The broker has it, synced: this is for the case that the broker lost its data.
RELEASED_LEASE = timedelta(hours=6)
# A sender renews its claims while it works; one that stops to has died, and what it had is in doubt.
CLAIM_LEASE = timedelta(seconds=90)
# Claims that lapsed in a row: the mail may be what its senders die of, so the next has nothing else in its hands.
ALONE_AFTER = 2


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


# A store that can not be used is tried again after these waits: soon, as it may only be locked.
_TRY_AGAIN = tenacity.wait_random_exponential(multiplier=0.1, max=3)


class StoreThread:
    """The one thread of a worker that talks to the store; its transactions run one after another."""

    def __init__(self, url: str) -> None:
        """Raises StoreUnusable for a URL that is none."""
        try:
            self.engine = open_engine(url)
        except sa.exc.ArgumentError as error:
            raise StoreUnusable(str(error), "correct PILLARBOX_STORE_URL") from error
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._connection: sa.Connection | None = None  # kept: a transaction over one from the pool 42 µs, over this 15
        self._trouble = Trouble("store_unavailable", store=without_password(url))

    async def run(
        self, function: Callable[Concatenate[sa.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function in a transaction of its own; what it raises rolls back and comes out here.

        As long as the store can not be used (full, locked, out of reach) it is tried again, so it bears being repeated
        like every step. Raises StoreUnusable where waiting would not help.
        """
        return await self._carry_out(transact, function, *args, **kwargs)

    async def read(
        self, function: Callable[Concatenate[sa.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function that writes nothing: on SQLite it waits for no other worker that does. Otherwise as `run`."""
        return await self._carry_out(consult, function, *args, **kwargs)

    async def _carry_out(self, way: Callable[..., T], function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        def transaction() -> T:
            started = time.perf_counter()
            try:
                result = way(self._open_connection(), function, *args, **kwargs)
            except sa.exc.DBAPIError as error:
                self._drop_connection()
                raise explained(error) from error
            metrics.TRANSACTION.labels(function.__name__).observe(time.perf_counter() - started)
            return result

        try:
            result = await asyncio.get_running_loop().run_in_executor(self._executor, transaction)
        except StoreAway as away:
            self._say(away)
            result = await self._try_again(transaction)
        if self._trouble.lasts:
            self._trouble.over()
            metrics.STORE_UNAVAILABLE.set(0)
        return result

    def _open_connection(self) -> sa.Connection:
        if self._connection is None:
            self._connection = self.engine.connect()
        return self._connection

    def _drop_connection(self) -> None:
        """It may be broken; the next one is looked at when it is taken out of the pool."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def _try_again(self, transaction: Callable[[], T]) -> T:
        async for attempt in tenacity.AsyncRetrying(
            wait=_TRY_AGAIN, retry=tenacity.retry_if_exception(self._is_away), stop=tenacity.stop_never
        ):
            with attempt:
                result = await asyncio.get_running_loop().run_in_executor(self._executor, transaction)
        return result

    def _is_away(self, error: BaseException) -> bool:
        if isinstance(error, StoreAway):
            self._say(error)
            return True
        return False

    def _say(self, away: StoreAway) -> None:
        metrics.STORE_UNAVAILABLE.set(1)
        self._trouble.seen(str(away), do=away.cure, next="wait_and_try_again")

    def close(self) -> None:
        """Wait for the transaction under way and close the store."""
        self._executor.shutdown(wait=True)
        self._drop_connection()
        self.engine.dispose()


def transact(
    connection: sa.Connection,
    function: Callable[Concatenate[sa.Connection, P], T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run a function in a transaction, and again where PostgreSQL has ended it for a deadlock.

    Rows are locked in order wherever a statement allows to say so; an UPDATE of many does not.
    """

    def once() -> T:
        with connection.begin():
            return function(connection, *args, **kwargs)

    try:
        return once()
    except sa.exc.OperationalError as error:
        if not _was_deadlock(error):
            raise
    return _AFTER_A_DEADLOCK(once)


_BEGIN = "begin"  # where a connection is told how its next transaction begins, on SQLite


def consult(
    connection: sa.Connection,
    function: Callable[Concatenate[sa.Connection, P], T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run a function that writes nothing, in a transaction."""
    if connection.dialect.name == "sqlite":
        connection.info[_BEGIN] = "BEGIN"
    with connection.begin():
        return function(connection, *args, **kwargs)


def _was_deadlock(error: BaseException) -> bool:
    return isinstance(error, sa.exc.OperationalError) and getattr(error.orig, "sqlstate", "") == "40P01"


_AFTER_A_DEADLOCK = tenacity.Retrying(
    retry=tenacity.retry_if_exception(_was_deadlock),
    stop=tenacity.stop_after_attempt(9),
    wait=tenacity.wait_random(0, 0.1),
    reraise=True,
)


# Of drivers; what a URL says itself stands. A store that hangs must become one that can not be used.
_SQLITE_OPTIONS = {"timeout": 10}  # seconds for a lock
_POSTGRESQL_OPTIONS = {
    "connect_timeout": 10,  # seconds
    "tcp_user_timeout": 30_000,  # milliseconds
    "client_encoding": "utf8",  # psycopg gives octets of a database in SQL_ASCII else, on which SQLAlchemy fails
}


def open_engine(url: str) -> sa.Engine:
    """An engine for SQLite (WAL, every commit synced) or PostgreSQL.

    Its first connection raises StoreUnusable where a PostgreSQL database, or the URL, has another encoding than UTF8.
    """
    parsed = sa.make_url(url)
    on_sqlite = parsed.get_backend_name() == "sqlite"
    options = _SQLITE_OPTIONS if on_sqlite else _POSTGRESQL_OPTIONS
    connect_args = {name: value for name, value in options.items() if name not in parsed.query}
    if not on_sqlite:
        engine = sa.create_engine(parsed, pool_pre_ping=True, pool_size=2, connect_args=connect_args)
        sa.event.listen(engine, "connect", _check_encoding, insert=True)  # before SQLAlchemy asks for texts
        return engine
    engine = sa.create_engine(parsed, connect_args=connect_args)

    @sa.event.listens_for(engine, "do_connect")
    def _create(_dialect: Any, _record: Any, arguments: Sequence[Any], _options: Any) -> None:
        # For its owner alone, whatever the umask: it holds mail. SQLite gives -wal and -shm the mode of the file.
        if not arguments[0].startswith(("file:", ":memory:")):
            with contextlib.suppress(OSError):  # SQLite says better what is wrong
                os.close(os.open(arguments[0], os.O_RDWR | os.O_CREAT, 0o600))

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not guessed by the driver
        cursor = connection.cursor()
        # Large contents like large pages, but whatever a transaction touches is written by the page. At a fifth of the
        # capacity the slowest hundredth of mails took 153 ms with 16 KiB, 104 with these; mails of 100 KB went at 361 a
        # second with these, 298 with 4 KiB.
        cursor.execute("PRAGMA page_size = 8192")
        # Debian's SQLite overwrites what is deleted: to drop a content of 100 KB took 328 µs and wrote all of it again,
        # and takes 32 without.
        cursor.execute("PRAGMA secure_delete = OFF")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA cache_size = -65536")  # 64 MiB
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A transaction that turns from reader to writer can fail at once; one that begins as a writer waits.
        run_plainly(connection, connection.info.pop(_BEGIN, "BEGIN IMMEDIATE"))

    return engine


def _check_encoding(connection: Any, _record: Any) -> None:
    """In another one there is no place for the subjects and addresses of some mails, or texts come as octets."""
    found = connection.info.parameter_status("server_encoding")
    if found != "UTF8":
        raise StoreUnusable(
            f"the database has the encoding {found}; takes UTF8",
            "make it anew in UTF8: docs/operations.md, When the store fails",
        )
    asked = connection.info.parameter_status("client_encoding")
    if asked != "UTF8":
        raise StoreUnusable(f"its URL asks for the encoding {asked}; takes UTF8", "leave client_encoding out of it")


def make_ready(connection: sa.Connection, now: datetime) -> None:
    """What a scheduler does to its store when it starts. Raises StoreUnusable where that is of another version."""
    create_tables(connection)
    count_on(connection, now)


_CREATION = 0x70696C6C  # any number that nobody else in the database locks


def create_tables(connection: sa.Connection) -> None:
    """Create what is missing; idempotent. Raises StoreUnusable where the store is of another version."""
    if connection.dialect.name == "postgresql":
        # Of two that start at once, both would find nothing there.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION)))
    metadata.create_all(connection)
    if connection.execute(sa.select(store_version.c.version)).scalar() is None:
        connection.execute(sa.insert(store_version), {"version": VERSION})
    check_version(connection)


def check_version(connection: sa.Connection) -> None:
    """Whether this program knows the tables. Raises StoreUnusable where the store is of another version."""
    found = connection.execute(sa.select(store_version.c.version)).scalar()
    if found != VERSION:
        raise StoreUnusable(
            f"the store is of version {found}, and this program is for version {VERSION}",
            "start the release it belongs to, or bring it to this version: docs/operations.md, Upgrading",
        )


_NUMBERS_PER_MS = 1 << 10  # more recipients than any store takes in

# A row appears there with the table's first row (SQLite, section "AUTOINCREMENT").
_COUNT_FROM_ON_SQLITE = (
    "INSERT INTO sqlite_sequence (name, seq) SELECT 'recipients', 0"
    " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'recipients')",
    "UPDATE sqlite_sequence SET seq = :start WHERE name = 'recipients' AND seq < :start",
)
_COUNT_FROM_ON_POSTGRESQL = (
    "SELECT setval('recipients_no_seq', :start) FROM recipients_no_seq WHERE last_value < :start",
)


def count_on(connection: sa.Connection, now: datetime) -> None:
    """Number recipients from now on past every number there can have been.

    A store that was restored, or lost, knows nothing of the numbers given since its backup; work messages and outcomes
    that have them may still lie in the broker, and would be taken for those of other mails.
    """
    on_sqlite = connection.dialect.name == "sqlite"
    start = int(now.timestamp() * 1000) * _NUMBERS_PER_MS
    for statement in _COUNT_FROM_ON_SQLITE if on_sqlite else _COUNT_FROM_ON_POSTGRESQL:
        connection.execute(sa.text(statement), {"start": start} if ":start" in statement else {})


_LAST_ON_SQLITE = (
    "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = '{table}'), 0),"
    " coalesce((SELECT max(no) FROM {table}), 0))"
)
_NEXT_ON_POSTGRESQL = "SELECT nextval(%s) FROM generate_series(1, %s)"


def next_numbers(connection: sa.Connection, table: sa.Table, count: int) -> Sequence[int]:
    """Numbers for rows that this transaction is about to insert: to ask for them beforehand costs less than RETURNING.

    On SQLite nobody else writes meanwhile, and they are those that AUTOINCREMENT would give.
    """
    if connection.dialect.name == "sqlite":
        [(last,)] = run_plainly(connection, _LAST_ON_SQLITE.format(table=table.name))
        return range(last + 1, last + 1 + count)
    return [number for (number,) in run_plainly(connection, _NEXT_ON_POSTGRESQL, (f"{table.name}_no_seq", count))]


def insert_missing(connection: sa.Connection, table: sa.Table, key: str) -> Any:
    """An INSERT that leaves a row of the same key as it is: on PostgreSQL another scheduler may have been quicker."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table).on_conflict_do_nothing(index_elements=[key])


_CHUNK = 500  # numbers in one IN list; SQLite takes 32,766 parameters, its planner likes fewer


def chunks(numbers: Sequence[int]) -> Iterable[list[int]]:
    """Numbers in parts that fit one IN list; in order, so that two who lock rows seldom wait for each other."""
    ordered = sorted(numbers)
    return (ordered[start : start + _CHUNK] for start in range(0, len(ordered), _CHUNK))


# ---------------------------------------------------------------------------------------------------------
# The claim


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
