"""What is known of sites as a whole, in the mail store: who may connect, and who has to wait.

Before a sender connects it asks. Of a site that nobody knows, or that is down and whose pause is over, one sender alone
finds out, under a lease; the others wait for what it finds. So a site that is dead costs one connection a probe,
however many mails, lanes and senders there are. Where a function takes a connection, it is that of an open
transaction.
"""

import enum
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, assert_never

import msgspec
import sqlalchemy as sa
from sqlalchemy import bindparam

from shared.mail_store.rows import insert_missing
from shared.mail_store.tables import sites
from shared.smtp_reply import Reply

# A sender that probes renews its lease; one that stops to has died, and another may probe.
PROBE_LEASE = timedelta(seconds=30)
# A site that worked so lately is taken to work: every sender may connect. Senders that use it say so more often.
KNOWN_FOR = timedelta(minutes=1)

_LONGEST_REPLY = 2000  # characters


class SiteState(enum.IntEnum):
    """What is known of a site."""

    UNKNOWN = 1
    UP = 2
    DOWN = 3  # out of reach, or given a pause


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A site's row."""

    name: str
    state: SiteState
    since: datetime
    worked: datetime | None = None
    failures: int = 0
    until: datetime | None = None
    revision: int = -1
    host: str = ""
    code: int = 0
    enhanced: str = ""
    reply: str = ""
    remote: bool = True  # whether a server said so
    prober: str = ""
    lease_end: datetime | None = None
    called: datetime | None = None
    lets_go: bool = False

    @property
    def said(self) -> Reply:
        """Why it is down."""
        return Reply(self.code, self.enhanced, self.reply, self.remote)

    def probed_by(self, now: datetime) -> str:
        """The sender that alone may connect, "" for none."""
        return self.prober if self.lease_end is not None and now < self.lease_end else ""


# ---------------------------------------------------------------------------------------------------------
# May I connect?


class Open(msgspec.Struct, frozen=True):
    """The site works."""


class Probe(msgspec.Struct, frozen=True):
    """This sender alone may connect, once, and has to note what it found."""

    down: bool  # it was down: it is up when it has taken a mail, and not when it has greeted


class Wait(msgspec.Struct, frozen=True):
    """Another sender is finding out."""


class Closed(msgspec.Struct, frozen=True):
    """The site is down."""


Answer = Open | Probe | Wait | Closed


def judge(site: Site, worker: str, revision: int, now: datetime) -> Answer:
    """Whether a sender may connect to a site; `revision` is that of the route's settings."""
    if site.state is SiteState.UP and site.worked is not None and now - site.worked < KNOWN_FOR:
        return Open()
    down = site.state is SiteState.DOWN
    if site.probed_by(now) not in ("", worker):
        return Closed() if down else Wait()
    # It may be the settings that were wrong, such as a password: new ones need not wait for the end of the pause.
    due = site.called is not None or site.until is None or site.until <= now or site.revision < revision
    return Closed() if down and not due else Probe(down)


# ---------------------------------------------------------------------------------------------------------
# What was found


class CameUp(msgspec.Struct, frozen=True):
    """A connection can be used, or the site refuses all mail by itself, which is the mail's affair."""

    name: str


class WentDown(msgspec.Struct, frozen=True):
    """The site as a whole can not be used now."""

    name: str
    reply: Reply
    host: str
    revision: int  # settings of the route
    begun: datetime  # of the attempt to connect, or of what else failed


class Left(msgspec.Struct, frozen=True):
    """The sender has not found out: it stops, or there was nothing to send."""

    name: str


News = CameUp | WentDown | Left


def after(site: Site, news: News, worker: str, now: datetime, pause_after: Callable[[int], timedelta]) -> Site:
    """A site's row after news; the same one, if they change nothing. `pause_after` takes the failures in a row."""
    change = msgspec.structs.replace
    probing = site.prober == worker
    match news:
        case CameUp() if site.state is SiteState.DOWN and not probing:
            return site  # over a connection from before
        case CameUp():
            came = now if site.state is not SiteState.UP else site.since
            lets_go = site.lets_go or site.state is SiteState.DOWN
            return Site(name=site.name, state=SiteState.UP, since=came, worked=now, lets_go=lets_go)
        case WentDown() if site.state is SiteState.DOWN and not probing:
            return site  # known: connections that fail together are one failure
        case WentDown() if site.worked is not None and news.begun < site.worked:
            return change(site, prober="", lease_end=None) if probing else site  # it has worked since
        case WentDown(_, reply, host, revision):
            return Site(
                name=site.name,
                state=SiteState.DOWN,
                since=site.since if site.state is SiteState.DOWN else now,
                failures=site.failures + 1,
                until=now + pause_after(site.failures + 1),
                revision=revision,
                host=host,
                code=reply.code,
                enhanced=reply.enhanced,
                reply=reply.text[:_LONGEST_REPLY],
                remote=reply.remote,
            )
        case Left():
            return change(site, prober="", lease_end=None) if probing else site
        case never:
            assert_never(never)


# ---------------------------------------------------------------------------------------------------------
# Transactions


class Asked(msgspec.Struct, frozen=True):
    """A sender has mail for a site."""

    name: str
    revision: int  # settings of its route


_columns = [column.name for column in sites.columns if column.name != "name"]
_write = (
    sa.update(sites)
    .where(sites.c.name == bindparam("of"))
    .values({name: bindparam(f"new_{name}") for name in _columns})
)
_renew = (
    sa.update(sites)
    .where(sites.c.name.in_(bindparam("names", expanding=True)))
    .where(sites.c.prober == bindparam("by"))
    .values(lease_end=bindparam("new_lease_end"))
)
_confirm = (
    sa.update(sites)
    .where(sites.c.name.in_(bindparam("names", expanding=True)))
    .where(sites.c.state == int(SiteState.UP))
    .values(worked=bindparam("now"))
)
_down = sa.select(sites.c.name).where(sites.c.name.in_(bindparam("names", expanding=True))).where(
    sites.c.state == int(SiteState.DOWN)
)  # fmt: skip


def exchange(
    connection: sa.Connection,
    news: Sequence[News],
    asked: Sequence[Asked],
    worker: str,
    now: datetime,
    pause_after: Callable[[int], timedelta],
) -> dict[str, Answer]:
    """Write what a sender has found, then answer what it asks, by site."""
    names = {each.name for each in news} | {each.name for each in asked}
    before = _locked(connection, names, now)
    found = dict(before)
    for piece in news:
        found[piece.name] = after(found[piece.name], piece, worker, now, pause_after)
    answers: dict[str, Answer] = {}
    for one in asked:
        answers[one.name] = answer = judge(found[one.name], worker, one.revision, now)
        if isinstance(answer, Probe):
            site = found[one.name]
            found[one.name] = msgspec.structs.replace(site, prober=worker, lease_end=now + PROBE_LEASE, called=None)
    save(connection, [site for name, site in found.items() if site != before[name]])
    return answers


def keep_up(
    connection: sa.Connection,
    used: Sequence[str],
    probing: Sequence[str],
    working: Sequence[str],
    worker: str,
    now: datetime,
) -> set[str]:
    """Renew the leases of sites that this sender is probing, confirm those that work; which of the used are down."""
    if probing:
        connection.execute(_renew, {"names": sorted(probing), "by": worker, "new_lease_end": now + PROBE_LEASE})
    if working:
        connection.execute(_confirm, {"names": sorted(working), "now": now})
    return set(connection.execute(_down, {"names": sorted(used)}).scalars()) if used else set()


def read_sites(connection: sa.Connection, names: Collection[str], *, lock: bool = False) -> dict[str, Site]:
    """The rows of sites that have one."""
    if not names:
        return {}
    query = sa.select(sites).where(sites.c.name.in_(sorted(names))).order_by(sites.c.name)
    rows = connection.execute(query.with_for_update() if lock else query)
    return {row.name: site_of(row) for row in rows}


def save(connection: sa.Connection, changed: Sequence[Site]) -> None:
    """Write rows that are there."""
    if changed:
        connection.execute(_write, [_row_of(site) for site in sorted(changed, key=lambda site: site.name)])


def site_of(row: Any) -> Site:
    """A row of the table."""
    values = {name: getattr(row, name) for name in _columns}
    return Site(name=row.name, **{**values, "state": SiteState(row.state)})


def _locked(connection: sa.Connection, names: set[str], now: datetime) -> dict[str, Site]:
    """Their rows, which nobody else changes in the meantime; those that have none get one."""
    found = read_sites(connection, names, lock=True)
    if missing := sorted(names - found.keys()):
        fresh = [_fresh_row(name, now) for name in missing]
        connection.execute(insert_missing(connection, sites, "name"), fresh)
        found |= read_sites(connection, missing, lock=True)
    return found


def _fresh_row(name: str, now: datetime) -> dict[str, Any]:
    site = Site(name=name, state=SiteState.UNKNOWN, since=now)
    return {**msgspec.structs.asdict(site), "state": int(site.state)}


def _row_of(site: Site) -> dict[str, Any]:
    values = {**msgspec.structs.asdict(site), "state": int(site.state)}
    return {"of": site.name, **{f"new_{name}": values[name] for name in _columns}}
