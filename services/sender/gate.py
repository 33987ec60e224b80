"""Before a sender connects to a site, it asks here whether it may: one answer for all of its lanes.

What is known of sites lies in the mail store (`shared.sites`), for all senders. What a sender was told it remembers for
some seconds, so that a site which works costs no statement per mail or per connection.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import structlog
import tenacity

from shared import metrics
from shared.classify import classify
from shared.contracts.work import Pace
from shared.mail_store.thread import StoreThread
from shared.paces import Share, take
from shared.settings import Retry
from shared.sites import Answer, Asked, CameUp, Closed, Left, News, Open, Probe, Wait, WentDown, exchange, keep_up
from shared.smtp_reply import Reply
from shared.waits import state_after, wait_schedule

log = structlog.get_logger()

_KEEP_UP_S = 10.0  # how long a pause may be unknown to a sender that has connections to the site
_OPEN_FOR_S = 2 * _KEEP_UP_S
_CLOSED_FOR_S = 1.0  # a site that comes up is asked for soon, and a burst of its mail is one question

# A limit may be one mail's own, such as its sender's. So many refusals in a row, no mail taken between, are no chance.
_ENOUGH_REFUSALS = 3

# A sender that finds another one probing looks again after these waits.
_look_again = tenacity.wait_exponential(multiplier=0.05, max=1)


class Entry(msgspec.Struct, frozen=True):
    """A lane may open one connection to a site, and tells what came of it."""

    name: str
    revision: int  # settings of the route
    begun: datetime
    alone: bool = False  # nobody else may until it is told
    down: bool = False  # the site was down: it is up when it has taken a mail


class _Known(msgspec.Struct, frozen=True):
    open: bool
    revision: int  # other settings may open what was closed
    until: float  # monotonic

    def holds(self, revision: int) -> bool:
        return time.monotonic() < self.until and (self.open or revision <= self.revision)


class SiteGate:
    """What one sender knows of sites, asks and tells."""

    def __init__(self, thread: StoreThread, worker: str, retry: Callable[[], Retry]) -> None:
        self._thread = thread
        self._worker = worker
        self._retry = retry
        self._chance = random.Random()  # noqa: S311 - spreads probes, guards nothing
        self._known: dict[str, _Known] = {}
        self._finding_out: dict[str, asyncio.Event] = {}  # a lane asks, or probes; set when there is an answer
        self._probing: set[str] = set()
        self._doubted: set[str] = set()  # of those, the ones that were down: nobody waits for what is found
        self._connected: Counter[str] = Counter()
        self._worked: set[str] = set()  # since the store was told
        self._refusals: Counter[str] = Counter()  # for what we are, since a mail was last judged for itself
        self._asked: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._news: list[tuple[News, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()

    # -- what lanes ask

    async def enter(self, name: str, revision: int) -> Entry | None:
        """Wait until it is known whether the site may be connected to; None when it is down.

        Whoever gets an entry tells what came of it: `came_up`, `went_down` or `left`.
        """
        while True:
            if name in self._doubted:
                return None
            known = self._known.get(name)
            if known is not None and known.holds(revision):
                return Entry(name, revision, datetime.now(UTC)) if known.open else None
            if (others := self._finding_out.get(name)) is not None:
                await others.wait()
            elif (entry := await self._find_out(name, revision)) is not None:
                return entry

    def is_closed(self, name: str) -> bool:
        """Whether the site was down when last heard of: connections to it take no more mail."""
        known = self._known.get(name)
        return known is not None and not known.open

    async def share(self, pace: Pace, wanted: int) -> Share:
        """How many of so many mails may go now, and how long each of the others is to wait."""
        return await self._thread.run(take, pace, wanted, datetime.now(UTC))

    async def _find_out(self, name: str, revision: int) -> Entry | None:
        self._finding_out[name] = asyncio.Event()
        try:
            answer = await self._ask_until_known(name, revision)
        except asyncio.CancelledError:
            self._found_out(name)
            raise
        if isinstance(answer, Probe):
            self._probing.add(name)
            if answer.down:
                self._doubted.add(name)
                self._finding_out[name].set()
            return Entry(name, revision, datetime.now(UTC), alone=True, down=answer.down)
        self._learn(name, revision, open=isinstance(answer, Open))
        self._found_out(name)
        return None

    async def _ask_until_known(self, name: str, revision: int) -> Answer:
        for look in range(1, 1_000_000):
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._asked.append((Asked(name, revision), answer))
            self._arrived.set()
            if not isinstance(found := await answer, Wait):
                return found
            await asyncio.sleep(_look_again(state_after(look)))
        return Closed()

    # -- what lanes tell

    async def came_up(self, entry: Entry) -> None:
        """The site can be used, or refuses mail by itself."""
        self._learn(entry.name, entry.revision, open=True)
        if entry.alone:
            await self._tell(CameUp(entry.name))
            self._found_out(entry.name)

    async def went_down(self, entry: Entry, reply: Reply, host: str, begun: datetime | None = None) -> None:
        """The site as a whole can not be used now; `begun` where not the connecting failed but something later."""
        metrics.PAUSES.labels(classify(reply)).inc()
        log.warning("site_down", site=entry.name, host=host, reply=str(reply), next="its_mail_waits_for_a_probe")
        self._learn(entry.name, entry.revision, open=False)
        await self._tell(WentDown(entry.name, reply, host, entry.revision, begun or entry.begun))
        self._learn(entry.name, entry.revision, open=False)
        if entry.alone:
            self._found_out(entry.name)

    async def left(self, entry: Entry) -> None:
        """It was not found out."""
        if entry.alone and entry.name in self._probing:
            await self._tell(Left(entry.name))
            self._found_out(entry.name)

    def connected(self, name: str) -> None:
        """A connection is open."""
        self._connected[name] += 1

    def disconnected(self, name: str) -> None:
        """It is closed."""
        self._connected[name] -= 1

    def works(self, name: str) -> None:
        """The site has answered for a mail."""
        self._worked.add(name)
        self._refusals.pop(name, None)

    def turned_away(self, entry: Entry) -> bool:
        """The site has refused a mail for what we are; whether it is to be left alone for a while."""
        self._refusals[entry.name] += 1
        return entry.down or self._refusals[entry.name] >= _ENOUGH_REFUSALS

    def _learn(self, name: str, revision: int, *, open: bool) -> None:
        until = time.monotonic() + (_OPEN_FOR_S if open else _CLOSED_FOR_S)
        self._known[name] = _Known(open, revision, until)

    def _found_out(self, name: str) -> None:
        self._probing.discard(name)
        self._doubted.discard(name)
        if (others := self._finding_out.pop(name, None)) is not None:
            others.set()

    async def _tell(self, news: News) -> None:
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._news.append((news, told))
        self._arrived.set()
        await told

    # -- with the store

    async def run(self) -> None:
        """Exchange what is known with the store, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._exchange_loop())
            tasks.create_task(self._keep_up_loop())

    async def _exchange_loop(self) -> None:
        """Ask and tell, for ever; what came while one transaction ran goes into the next."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            asked = [(question, answer) for question, answer in self._asked if not answer.done()]
            news, self._asked, self._news = self._news, [], []
            answers = await self._exchange([piece for piece, _ in news], [question for question, _ in asked])
            for question, answer in asked:
                if not answer.done():
                    answer.set_result(answers[question.name])
                elif isinstance(answers[question.name], Probe):
                    # The lane that asked has stopped meanwhile.
                    self._news.append((Left(question.name), asyncio.get_running_loop().create_future()))
                    self._arrived.set()
            for _, told in news:
                if not told.done():
                    told.set_result(None)

    async def _exchange(self, news: Sequence[News], asked: Sequence[Asked]) -> dict[str, Answer]:
        retry = self._retry()
        schedule = wait_schedule(retry.probe_schedule, retry.jitter, self._chance)
        return await self._thread.run(
            exchange,
            news,
            asked,
            self._worker,
            datetime.now(UTC),
            lambda failures: timedelta(seconds=schedule(state_after(failures))),
        )

    async def _keep_up_loop(self) -> None:
        """Renew leases, say which sites work, and learn which are down, for ever."""
        while True:
            await asyncio.sleep(_KEEP_UP_S)
            self._forget()
            used = [name for name, connections in self._connected.items() if connections]
            worked, self._worked = self._worked, set()
            if not (used or worked or self._probing):
                continue
            now = datetime.now(UTC)
            down = await self._thread.run(keep_up, used, list(self._probing), list(worked), self._worker, now)
            for name in used:
                known = self._known.get(name)
                if known is not None and name not in self._probing:
                    self._learn(name, known.revision, open=known.open and name not in down)

    def _forget(self) -> None:
        self._connected = +self._connected
        now = time.monotonic()
        old = [name for name, known in self._known.items() if known.until < now and name not in self._connected]
        for name in old:
            del self._known[name]
            self._refusals.pop(name, None)
