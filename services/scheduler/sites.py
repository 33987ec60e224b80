"""Mail that waits for its site: the scheduler's transactions, and the loop that lets it out again.

A recipient whose site is down is `deferred`, with the site's name in its row, and goes out when the site is up, or as
the one whose connection shows whether it is. Its `wake` lies hours ahead: only then it goes out by itself.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from services.scheduler.alarm import Alarm
from services.scheduler.outcomes import Change
from shared import metrics
from shared.contracts.answers import SiteLine
from shared.contracts.commands import ListSites
from shared.mail_store.states import State
from shared.mail_store.tables import recipients, sites
from shared.mail_store.thread import StoreThread
from shared.outcomes import Parked
from shared.settings_feed import SettingsFeed
from shared.sites import Site, SiteState, read_sites, save, site_of
from shared.worker import finish

_TEND_EVERY_S = 1.0
_MOST_SITES = 100  # in one transaction
_MOST_FREED = 1000  # recipients of one site in one transaction: others are waiting for the lock
# The mail that was let out may have been retracted, or have gone elsewhere: then another one is.
_CALL_LEASE = timedelta(minutes=2)
_KEPT_FOR = timedelta(hours=1)  # what is known of a site that nobody uses


class Tended(msgspec.Struct, frozen=True):
    """What a round did."""

    released: int  # recipients that are due now
    down: int  # sites


class SiteDesk:
    """Lets mail out that waits for its site."""

    def __init__(self, thread: StoreThread, feed: SettingsFeed, alarm: Alarm) -> None:
        self._thread = thread
        self._feed = feed
        self._alarm = alarm

    async def loop(self) -> None:
        """Look after the sites that mail waits for, for ever."""
        while True:
            if not await finish(self._tend()):
                await asyncio.sleep(_TEND_EVERY_S)

    async def _tend(self) -> int:
        now = datetime.now(UTC)
        tended = await self._thread.run(tend, now, self._feed.revision)
        metrics.SITES_DOWN.set(tended.down)
        if tended.released:
            self._alarm.set_for(now)
        return tended.released


# ---------------------------------------------------------------------------------------------------------


def _waiting(site: Any, now: datetime) -> sa.ColumnElement[bool]:
    # That which has been released and is still to be taken waits no more: its `wake` has come.
    return sa.and_(recipients.c.site == site, recipients.c.state == int(State.DEFERRED), recipients.c.wake > now)


def _nobody_probes(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(sites.c.lease_end.is_(None), sites.c.lease_end <= now)


def tend(connection: sa.Connection, now: datetime, revision: int) -> Tended:
    """Release mail whose site is up, and of each site whose pause is over one mail, for the probe."""
    released = sum(_let_go(connection, site, now) for site in _sites(connection, sites.c.lets_go))
    due = sa.and_(
        sites.c.state == int(SiteState.DOWN),
        _nobody_probes(now),
        sa.or_(sites.c.until <= now, sites.c.revision < revision),
        sa.or_(sites.c.called.is_(None), sites.c.called <= now - _CALL_LEASE),
        sa.exists().where(_waiting(sites.c.name, now)),
    )
    called = _sites(connection, due)
    for site in called:
        released += let_out(connection, site.name, now, most=1)
    save(connection, [msgspec.structs.replace(site, called=now) for site in called])
    down = sa.select(sa.func.count()).where(sites.c.state == int(SiteState.DOWN))
    return Tended(released, int(connection.execute(down).scalar_one()))


def _sites(connection: sa.Connection, condition: Any) -> list[Site]:
    query = sa.select(sites).where(condition).order_by(sites.c.name).limit(_MOST_SITES)
    return [site_of(row) for row in connection.execute(query.with_for_update(skip_locked=True))]


def _let_go(connection: sa.Connection, site: Site, now: datetime) -> int:
    released = let_out(connection, site.name, now, _MOST_FREED)
    if not released and connection.execute(sa.select(sa.exists().where(_waiting(site.name, now)))).scalar() is False:
        save(connection, [msgspec.structs.replace(site, lets_go=False)])
    return released


def let_out(connection: sa.Connection, site: str, now: datetime, most: int, wake: Any = None) -> int:
    """Make due what waits for this, those that came first; how many recipients that are.

    `wake`: since when, if not now.
    """
    some = sa.select(recipients.c.no).where(_waiting(site, now)).order_by(recipients.c.no).limit(most)
    numbers = connection.execute(some.with_for_update(skip_locked=True)).scalars().all()
    if numbers:
        connection.execute(
            sa.update(recipients).where(recipients.c.no.in_(numbers)).values(wake=now if wake is None else wake)
        )
    return len(numbers)


# ---------------------------------------------------------------------------------------------------------
# With the outcomes


def sites_of(connection: sa.Connection, outcomes: Sequence[Any]) -> dict[str, Site]:
    """The sites that mail was parked for; locked, so that none comes up before its mail is known to wait for it."""
    names = {each.outcome.site for each in outcomes if isinstance(each.outcome, Parked) and each.outcome.site}
    return read_sites(connection, names, lock=True)


def note_detours(connection: sa.Connection, changes: Sequence[Change], now: datetime) -> None:
    """A mail that was let out for a probe was delivered elsewhere: its site may be the wrong one for others too.

    They go out, and whoever still has to do with that site finds nothing known of it.
    """
    delivered = [change.pending for change in changes if change.state is State.DELIVERED and change.pending.site]
    found = read_sites(connection, {each.site for each in delivered if each.site}, lock=True)
    deserted = {
        site.name
        for each in delivered
        if each.site in found and each.claimed is not None
        for site in [found[each.site]]
        if site.state is SiteState.DOWN and site.called is not None and site.called <= each.claimed
    }
    save(
        connection,
        [Site(name=name, state=SiteState.UNKNOWN, since=now, lets_go=True) for name in sorted(deserted)],
    )


# ---------------------------------------------------------------------------------------------------------
# With commands, and at the end


def call(connection: sa.Connection, names: set[str], now: datetime) -> None:
    """Mail of these sites was released by an operator: the first of it may probe, whatever the pause."""
    if names:
        connection.execute(
            sa.update(sites)
            .where(sites.c.name.in_(sorted(names)), sites.c.state == int(SiteState.DOWN), _nobody_probes(now))
            .values(called=now)
        )


_STATES: dict[SiteState, Literal["down", "up", "unknown"]] = {
    SiteState.DOWN: "down",
    SiteState.UP: "up",
    SiteState.UNKNOWN: "unknown",
}


def list_sites(connection: sa.Connection, now: datetime, command: ListSites) -> list[SiteLine]:
    """The sites that are down, longest first, and how many recipients wait for each; then those that worked last."""
    down = sites.c.state == int(SiteState.DOWN)
    first = (sa.case((down, 0), else_=1), sa.case((down, sites.c.since)))
    query = sa.select(sites).where(sa.true() if command.all else down)
    query = query.order_by(*first, sites.c.worked.desc().nulls_last(), sites.c.name).limit(command.limit)
    listed = [site_of(row) for row in connection.execute(query)]
    waiting: dict[str | None, int] = dict(
        connection.execute(
            sa.select(recipients.c.site, sa.func.count())
            .where(recipients.c.site.in_([site.name for site in listed]), recipients.c.state == int(State.DEFERRED))
            .group_by(recipients.c.site)
        ).all()
    )  # fmt: skip
    return [
        SiteLine(
            site=site.name,
            state=_STATES[site.state],
            since=site.since,
            worked=site.worked,
            next_probe=site.until,
            failures=site.failures,
            host=site.host,
            code=site.code,
            enhanced=site.enhanced,
            reply=site.reply,
            prober=site.probed_by(now),
            waiting=waiting.get(site.name, 0),
        )
        for site in listed
    ]


def forget_sites(connection: sa.Connection, now: datetime) -> None:
    """Forget sites that nobody uses or waits for."""
    waits = sa.exists().where(recipients.c.site == sites.c.name, recipients.c.state == int(State.DEFERRED))
    used = sa.func.coalesce(sites.c.worked, sites.c.until, sites.c.since)
    connection.execute(
        sa.delete(sites).where(
            used < now - _KEPT_FOR,
            ~sites.c.lets_go,
            _nobody_probes(now),
            sa.or_(sites.c.state != int(SiteState.DOWN), ~waits),
        )
    )
