"""The mail of one site in one lane: one connection at a time, fed while there is work.

work arrives → is the site up? → connect → claim a batch → send → report …
until max_per_connection, 300 s, or nothing to do → QUIT
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from itertools import takewhile

import msgspec
import structlog

from services.sender.claims import ClaimDesk
from services.sender.connection import Connection, Unreachable
from services.sender.envelope import OutgoingMail
from services.sender.gate import Entry, SiteGate
from services.sender.reporter import Reporter
from services.sender.session_mails import NOT_OURS, OUR_FAULT, MailResult, Sent, Untouched
from services.sender.signing import Signing, Unsigned
from services.sender.spans import AttemptSpans
from services.sender.work import ClaimedWork, Work, claimed_mail, first_of
from shared import metrics
from shared.classify import turns_us_away
from shared.contracts.work import RecipientOutcome, Route
from shared.mail_store.claim import Claim
from shared.outcomes import Bounced, Deferred, Delivered, Outcome, Parked
from shared.smtp_reply import Reply, own_verdict
from shared.store_trouble import StoreFailed
from shared.trouble import what_failed

log = structlog.get_logger()

_OLDEST_S = 300.0  # a connection this old takes no more mail: receivers and firewalls tire of long ones
_IDLE_S = 2.0  # worth keeping for the next mail; longer only occupies the receiver
_ENOUGH = 8 * 1024 * 1024  # octets claimed and not sent, beyond which nothing more is claimed
# Large mails that slow sites hold may take all room there is; those that wait for it longer go back to the store.
_PATIENCE_S = 30.0
_NO_ROOM = Parked("the sender has its hands full of large mail", 30.0)
# At a stop a server gets so long to answer for what it has. Longer, and whoever stops us takes to `kill -9`, which
# leaves the mails to the lease of their claims.
_STOP_WITHIN_S = 20.0

# Replies of the site as a whole, whatever they answer: no more now (RFC 5321 section 3.8), or it does not let us in.
_OF_THE_SITE = frozenset({421}) | OUR_FAULT

# After an error of ours, so that it is not made again and again without a pause.
_FAILED_PAUSE_S = 30.0

Connect = Callable[[Route], Awaitable[Connection | Unreachable]]


class _Session(msgspec.Struct, eq=False):
    """A connection, and what it has shown of its site."""

    connection: Connection
    entry: Entry
    told: bool  # that the site is up
    works: bool = False  # it has answered for a mail
    settled: int = 0  # mails that the site has taken, or refused for good
    failure: Reply | None = None  # of the site as a whole


class SiteQueue:
    """Work of one site that waits in this lane, and the connection that takes it."""

    def __init__(
        self,
        connect: Connect,
        gate: SiteGate,
        desk: ClaimDesk,
        reporter: Reporter,
        max_per_connection: Callable[[], int],
        signing: Signing,
        spans: AttemptSpans | None = None,
    ) -> None:
        self._connect = connect
        self._signing = signing
        self._spans = spans
        self._gate = gate
        self._desk = desk
        self._reporter = reporter
        self._max_per_connection = max_per_connection
        self._waiting: deque[Work] = deque()
        self._again: deque[OutgoingMail] = deque()  # claimed, and given back by a connection that ended
        self._route: Route | None = None  # of the newest settings among the work seen
        self._arrived = asyncio.Event()
        self._submitted = asyncio.Event()
        self._room = asyncio.Event()
        self._claimed: set[ClaimedWork] = set()  # and not reported
        self._unsent = 0  # octets submitted without a result
        self._session: _Session | None = None
        self._parking: Parked | None = None  # what becomes of mail that the present connection gives back
        self._fed = False  # the present connection gets nothing more
        self._probing = False  # the site was down: one mail shows whether it is up
        self._stop = asyncio.Event()
        self._opening: asyncio.Future[_Session | Outcome] | None = None
        self._asking: asyncio.Future[bool] | None = None  # for room
        self._claiming = False  # it waits for room or for the store
        self.stalled_s = 0.0  # without an answer for a mail, as far as the lane has looked

    @property
    def _stopping(self) -> bool:
        return self._stop.is_set()

    @property
    def load(self) -> int:
        """Pieces of work that are not done."""
        return len(self._waiting) + len(self._claimed)

    def put(self, work: Sequence[Work]) -> None:
        """Add work of one route: one piece at least."""
        route = work[0].route
        if self._probing:
            taken = 0 if self.load else 1
            for each in work[taken:]:
                self._report(each, _wait_for(route.site))
            work = work[:taken]
        if self._route is None or route.revision >= self._route.revision:
            self._route = route
        if not (self._waiting or self._unsent):
            self.stalled_s = 0.0  # it had nothing to do: that is not slow
        self._waiting.extend(work)
        self._arrived.set()

    def pass_time(self, seconds: float) -> None:
        """The lane says how much has passed; a store that is busy does not make the site slow."""
        if not self._claiming:
            self.stalled_s += seconds

    def park(self, keep: int, reason: str, pause_s: float) -> None:
        """Give back to the scheduler what waits beyond the first `keep`; no attempt is counted."""
        while self._waiting and self.load > keep:
            self._report(self._waiting.pop(), Parked(reason, pause_s))
        if self.load > keep and self._session is not None:
            self._parking = Parked(reason, pause_s)
            self._session.connection.take_back()

    def stop(self) -> None:
        """Take no more work: what is not claimed stays in its lane, what is under way is finished."""
        self._stop.set()
        self._arrived.set()
        self._room.set()
        for waiting in (self._opening, self._asking):
            if waiting is not None:
                waiting.cancel()

    async def run(self) -> None:
        """Send what waits, over one connection after another, until nothing comes for a while.

        An error that nobody planned for costs the mails of this site in this lane a try, and no others.
        """
        try:
            await self._run()
        except StoreFailed:
            raise
        except Exception as error:
            self._abandon(what_failed(error))

    async def _run(self) -> None:
        while not self._stopping and await self._work_within(_IDLE_S):
            assert self._route is not None
            route = self._route
            match await self._open_unless_stopped(route):
                case _Session() as session:
                    await self._use(session, _terms(route))
                case None:
                    pass
                case outcome:
                    self._report_all(outcome)
            self.stalled_s = 0.0
        self._park_claimed(Parked("the sender stops"))

    def _abandon(self, failure: str) -> None:
        log.error("site_failed", reason=failure, claimed=len(self._claimed), next="in_doubt_and_retried")
        self._again.clear()
        # Some may have been sent: what failed does not tell.
        outcome = Deferred(own_verdict(451, "4.3.0", f"the sender failed: {failure}"), in_doubt=True)
        for claimed in list(self._claimed):
            self._report_mail(claimed, [outcome] * len(claimed.numbers))
        while self._waiting:
            self._report(self._waiting.popleft(), Parked(f"the sender failed: {failure}", _FAILED_PAUSE_S))

    async def _open_unless_stopped(self, route: Route) -> "_Session | Outcome | None":
        self._opening = asyncio.ensure_future(self._open(route))
        try:
            return await self._opening
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            return None
        finally:
            self._opening = None

    async def _open(self, route: Route) -> "_Session | Outcome":
        """A connection, where the site is not known to be down; else what becomes of all that waits."""
        entry = await self._gate.enter(route.site, route.revision)
        if entry is None:
            return _wait_for(route.site)
        if entry.down:
            self._probe_with_one(route.site)
        begun = time.perf_counter()
        try:
            found = await self._connect(route)
        except BaseException:
            await self._gate.left(entry)
            raise
        result = "connected" if isinstance(found, Connection) else "failed"
        metrics.CONNECT.labels(result).observe(time.perf_counter() - begun)
        match found:
            case Connection() as connection:
                if not entry.down:
                    await self._gate.came_up(entry)
                return _Session(connection, entry, told=not entry.down)
            case Unreachable(Deferred(reply, host)):
                await self._gate.went_down(entry, reply, host)
                return _wait_for(route.site)
            case Unreachable(outcome):
                await self._gate.came_up(entry)
                return outcome

    def _probe_with_one(self, site: str) -> None:
        """The others go back, and do not wait for what may take minutes; nor are they charged if it ends with a 421."""
        self._probing = True
        while len(self._waiting) > 1:
            self._report(self._waiting.pop(), _wait_for(site))

    def _report_all(self, outcome: Outcome) -> None:
        """One for all that waits; what is not claimed needs no claim."""
        self._probing = False
        waiting, self._waiting = self._waiting, deque()
        for work in waiting:
            self._report(work, outcome)
        self._park_claimed(outcome)

    # -- one connection ----------------------------------------------------------------------------------

    async def _use(self, session: _Session, terms: Route) -> None:
        metrics.CONNECTIONS.inc()
        self._gate.connected(session.entry.name)
        connection = session.connection
        self._session, self._parking = session, None
        reader = asyncio.create_task(self._read(connection))
        try:
            await self._feed(session, terms)
            self._submitted.set()
            await self._unless_stopped(reader, connection)
            await self._judge(session)
            await connection.quit()
        except Exception:
            connection.abort()
            raise
        finally:
            reader.cancel()
            self._session, self._probing = None, False
            self._gate.disconnected(session.entry.name)
            metrics.CONNECTIONS.dec()

    async def _judge(self, session: _Session) -> None:
        """Tell what the connection has shown of its site."""
        connection, entry = session.connection, session.entry
        # Receivers hang up on who names many addresses that they do not know; those behind go over the next connection.
        in_vain = connection.broke_off and not session.settled and (self._again or not session.told)
        if session.failure is not None or (in_vain and not self._stopping):
            reply = session.failure or connection.end_reply
            await self._gate.went_down(entry, reply, connection.host, datetime.now(UTC))
            self._park_claimed(_wait_for(entry.name))
        elif not session.told:
            await (self._gate.left(entry) if self._stopping else self._gate.came_up(entry))

    async def _unless_stopped(self, reader: asyncio.Task[None], connection: Connection) -> None:
        """Wait for all results. At a stop what is under way is finished, within limits; what is not comes back."""
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait((reader, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not reader.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_WITHIN_S):
                    await connection.quit()
        await reader

    async def _feed(self, session: _Session, terms: Route) -> None:
        """Claim and submit, for as long as this connection may take more."""
        connection = session.connection
        self._fed, room = False, self._max_per_connection()
        try:
            while room > 0 and await self._work_for(session, terms):
                room -= await self._submit_next(connection, room)
                room = min(room, self._max_per_connection() - connection.begun)
                await self._room_for_more()
        finally:
            self._fed = True

    async def _work_for(self, session: _Session, terms: Route) -> bool:
        # What made it unusable may have come with the work, or while there was none.
        usable = self._usable(session, terms) and await self._work_within(_IDLE_S)
        return usable and self._usable(session, terms)

    def _usable(self, session: _Session, terms: Route) -> bool:
        connection = session.connection
        if session.failure is not None or (session.told and self._gate.is_closed(session.entry.name)):
            return False
        young = time.monotonic() - connection.opened_at < _OLDEST_S
        assert self._route is not None
        # New settings, such as a TLS mode, mean a new connection.
        return young and not (self._stopping or connection.closed) and terms == _terms(self._route)

    async def _next_mails(self, room: int) -> list[OutgoingMail]:
        """The next mails to submit: what is claimed already, or else what can be claimed of the work that waits."""
        if self._again:  # they do not wait for a claim, which may wait until nothing is claimed
            return [self._again.popleft() for _ in range(min(room, len(self._again)))]
        self._claiming = True
        batch = await self._next_batch(room)
        claims = await self._claims_of(batch) if batch else {}
        self._claiming = False
        fresh: list[OutgoingMail] = []
        for work in batch:
            if (mail := claimed_mail(work, claims, self._desk.trusts)) is not None:
                fresh.append(mail)
            else:
                self._desk.rooms.give(work.size)
        self._claimed.update(mail.key for mail in fresh)
        if self._spans is not None:
            self._spans.begin(mail.key for mail in fresh)
        return await self._signed(fresh)

    async def _claims_of(self, batch: Sequence[Work]) -> dict[int, Claim]:
        numbers = [number for work in batch for number in work.numbers]
        return await self._desk.claim(numbers, alone=batch[0].alone)

    async def _next_batch(self, most: int) -> list[Work]:
        """The next work, for whose contents there is room; none, when that was waited for in vain."""
        wanted = await self._in_pace(first_of(self._waiting, most, _ENOUGH))
        if not wanted:
            return []
        self._asking = asyncio.ensure_future(self._desk.rooms.take([work.size for work in wanted], _PATIENCE_S))
        try:
            found = await self._asking
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            return []
        finally:
            self._asking = None
        batch: list[Work] = []
        for work in wanted:
            if self._waiting and self._waiting[0] is work:
                batch.append(self._waiting.popleft())
            elif found:  # it was parked meanwhile
                self._desk.rooms.give(work.size)
        if found:
            return batch
        for work in batch:
            self._report(work, _NO_ROOM)
        return []

    async def _in_pace(self, wanted: list[Work]) -> list[Work]:
        """Those of them that may go now, by the limits of the site; the others go back until it is their turn."""
        pace = wanted[0].route.pace if wanted else None
        together = list(takewhile(lambda work: work.route.pace == pace, wanted))
        if pace is None:
            return together
        share = await self._gate.share(pace, len(together))
        for work, wait in zip(together[share.now :], share.waits, strict=True):
            if work in self._waiting:  # else it was parked meanwhile
                self._waiting.remove(work)
                self._report(work, Parked(f"the limit of {pace.name} is {pace.rate}", wait.total_seconds()))
        return [work for work in together[: share.now] if work in self._waiting]

    async def _signed(self, mails: Sequence[OutgoingMail]) -> list[OutgoingMail]:
        """What goes; a mail that should be signed and can not be is deferred."""
        ready: list[OutgoingMail] = []
        for result in await self._signing.sign(mails):
            match result:
                case Unsigned(mail, reason):
                    self._report_mail(mail.key, [Deferred(reason)] * len(mail.recipients))
                case mail:
                    ready.append(mail)
        return ready

    async def _submit_next(self, connection: Connection, room: int) -> int:
        """How many were submitted. Nothing here may keep them: they go from memory with their results."""
        mails = await self._next_mails(room)
        if mails:
            self._unsent += sum(len(mail.content) for mail in mails)
            connection.submit(mails)
            self._submitted.set()
        return len(mails)

    async def _room_for_more(self) -> None:
        while self._unsent >= _ENOUGH and not self._stopping:
            self._room.clear()
            await self._room.wait()

    async def _read(self, connection: Connection) -> None:
        """Take results until all that was submitted has one."""
        while not (self._fed and not connection.in_flight):
            await self._submitted.wait()
            self._submitted.clear()
            while await self._take_next(connection):
                await self._tell_that_it_works()
        self._take(await connection.results())

    async def _take_next(self, connection: Connection) -> bool:
        results = await connection.results()
        self._take(results)
        return bool(results)

    def _take(self, results: Sequence[MailResult]) -> None:
        octets = 0
        for result in results:
            self._unsent -= len(result.mail.content)
            match result:
                case Sent(mail, outcomes):
                    if any(isinstance(outcome, Delivered) for outcome in outcomes):
                        octets += len(mail.content)
                    self.stalled_s, self._parking = 0.0, None
                    self._learn_from(outcomes)
                    self._report_mail(mail.key, outcomes)
                case Untouched(mail) if self._parking is not None:
                    self._report_mail(mail.key, [self._parking] * len(mail.recipients))
                case Untouched(mail) if not mail.is_ours():
                    self._report_mail(mail.key, [Parked(NOT_OURS)] * len(mail.recipients))
                case Untouched(mail):
                    self._again.append(mail)
        metrics.DELIVERED_BYTES.inc(octets)
        self._room.set()

    def _learn_from(self, outcomes: Sequence[Outcome]) -> None:
        session = self._session
        assert session is not None
        session.settled += any(
            isinstance(outcome, Delivered | Bounced) and outcome.reply.remote for outcome in outcomes
        )
        said = [outcome.reply for outcome in outcomes if not isinstance(outcome, Parked) and outcome.reply.remote]
        if not said or session.failure is not None:
            return
        session.failure = next((reply for reply in said if reply.code in _OF_THE_SITE), None)
        if session.failure is None and self._turned_away(outcomes):
            session.failure = said[-1] if self._gate.turned_away(session.entry) else None
        elif session.failure is None:
            self._gate.works(session.entry.name)
        if session.failure is None:
            session.works = True
        else:
            session.connection.take_back()
            self._arrived.set()  # whoever waits for more has waited enough

    def _turned_away(self, outcomes: Sequence[Outcome]) -> bool:
        """Whether a mail was refused for what we are; one recipient that it is taken for shows that it was not."""
        assert self._route is not None
        relay = self._route.to_relay
        return all(
            isinstance(outcome, Deferred | Bounced) and turns_us_away(outcome.reply, relay=relay)
            for outcome in outcomes
        )

    async def _tell_that_it_works(self) -> None:
        session = self._session
        if session is not None and session.works and not session.told and session.failure is None:
            session.told, self._probing = True, False
            await self._gate.came_up(session.entry)

    # -- what becomes of work ----------------------------------------------------------------------------

    async def _work_within(self, limit_s: float) -> bool:
        if not (self._waiting or self._again or self._stopping):
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), limit_s)
        return bool(self._waiting or self._again) and not self._stopping

    def _park_claimed(self, outcome: Outcome) -> None:
        again, self._again = self._again, deque()
        for mail in again:
            self._report_mail(mail.key, [outcome] * len(mail.recipients))

    def _report(self, work: Work, outcome: Outcome) -> None:
        """Report work that is not claimed: but for recipients that this sender has claimed by another copy of it."""
        attempt = work.request.attempt
        numbers = [number for number in work.numbers if not self._desk.holds(number)]
        self._reporter.report(work, [RecipientOutcome(number, attempt, outcome) for number in numbers])

    def _report_mail(self, claimed: ClaimedWork, outcomes: Sequence[Outcome]) -> None:
        self._claimed.discard(claimed)
        if self._spans is not None:
            self._spans.end(claimed, outcomes)
        self._desk.rooms.give(claimed.work.size)
        triples = zip(claimed.numbers, claimed.attempts, outcomes, strict=True)
        self._reporter.report(claimed.work, [RecipientOutcome(*triple) for triple in triples])


def _wait_for(site: str) -> Parked:
    return Parked(f"{site} is down", site=site)


def _terms(route: Route) -> Route:
    """What makes a connection of one route good for mail of another; MX hosts are shuffled for each mail."""
    return msgspec.structs.replace(route, hosts=(), revision=0, pace=None)
