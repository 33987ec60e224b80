"""The mail of one site in one lane of a sender: a real store and gate; the lane and the reporter only remember."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from services.sender.claims import ClaimDesk
from services.sender.connection import Connection, Note, Unreachable, connect
from services.sender.gate import SiteGate
from services.sender.helo import HeloNames
from services.sender.signing import Signing
from services.sender.site import SiteQueue
from services.sender.work import Work, work_of
from shared.broker import Delivery, Properties
from shared.contracts.work import (
    Credentials,
    Envelope,
    Host,
    Recipient,
    RecipientOutcome,
    Route,
    SendRequest,
    SendRequests,
    TlsMode,
)
from shared.durations import Duration
from shared.mail_store.thread import StoreThread
from shared.metrics import REGISTRY
from shared.settings import Retry
from tests.support.sinks import RecordingSink
from tests.support.store import OpenStore, a_draft

AT_ONCE = a_draft().admitted - a_draft().admitted
PROBED_EVERY = Duration(minutes=5)  # longer than any test


def _retry() -> Retry:
    return Retry(probe_schedule=(PROBED_EVERY,), jitter=0)


def exchanges() -> int:
    """How often senders of this process have asked or told the store something of sites."""
    return int(REGISTRY.get_sample_value("pillarbox_store_transaction_seconds_count", {"what": "exchange"}) or 0)


class Lane:
    """In the place of a consumer: remembers what is acknowledged."""

    def __init__(self) -> None:
        self.acked: list[Delivery] = []

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        self.acked += deliveries


class Reports:
    """In the place of the reporter: remembers outcomes, takes the work off its lane, lets go of the claims."""

    def __init__(self, desk: ClaimDesk) -> None:
        self._desk = desk
        self.outcomes: list[RecipientOutcome] = []

    def report(self, work: Work, outcomes: Sequence[RecipientOutcome]) -> None:
        self.outcomes += outcomes
        self._desk.give_up(outcome.recipient for outcome in outcomes)
        work.done()

    @property
    def told(self) -> list[tuple[int, str]]:
        """Recipient and outcome, in order."""
        return [(one.recipient, type(one.outcome).__name__.lower()) for one in self.outcomes]


class Site:
    """A running SiteQueue and what is around it."""

    def __init__(
        self,
        url: str,
        sink: RecordingSink,
        most: int = 20,
        worker: str = "sender-1",
        beside: "Site | None" = None,
        note: Note | None = None,
        fails: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        """`beside`: another lane of the same sender; `note`: its journal's; `fails`: breaks its connections."""
        self._thread = beside._thread if beside is not None else StoreThread(url)
        self._owner = beside is None
        self._sink = sink
        self._dial = partial(connect, helo=HeloNames("robot.example"), note=note)
        self._fails = fails
        self.lane = Lane()
        self.desk = beside.desk if beside is not None else ClaimDesk(self._thread, worker)
        self.gate = beside.gate if beside is not None else SiteGate(self._thread, worker, _retry)
        self.reports = Reports(self.desk)
        self.queue = SiteQueue(
            self._connect,
            self.gate,
            self.desk,
            self.reports,  # type: ignore[arg-type]  # has what is used of a Reporter
            lambda: most,
            Signing({}),
        )

    async def _connect(self, route: Route) -> Connection | Unreachable:
        found = await self._dial(route)
        if isinstance(found, Connection):
            self._fails(found)
        return found

    def put(
        self,
        *numbers: int,
        tls: TlsMode = TlsMode.NONE,
        revision: int = 1,
        login: Credentials | None = None,
        name: str = "mx:sink",
        alone: bool = False,
    ) -> None:
        """Work for recipients, a mail each, called as `released` calls them in an empty store."""
        for number in numbers:
            envelope = Envelope(
                f"order-{number - 1}",
                "shop@x.example",
                (Recipient(number, "b@y.example"),),
                99,
                False,
                False,
                alone=alone,
            )
            route = Route(name, (Host("sink", self._sink.port, ("127.0.0.1",)),), tls, login, revision)
            delivery = Delivery(b"", number, 1, False, Properties())
            requests = SendRequests(route, (SendRequest(envelope, 1),))
            self.queue.put(work_of(requests, delivery, self.lane))  # type: ignore[arg-type]  # a Consumer's ack

    async def until_reported(self, count: int) -> None:
        """Wait for so many outcomes."""
        async with asyncio.timeout(20):
            while len(self.reports.outcomes) < count:
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        loops = [asyncio.create_task(loop) for loop in (self.desk.claim_loop(), self.gate.run())] if self._owner else []
        run = asyncio.create_task(self.queue.run())
        try:
            yield run
            self.queue.stop()
            await asyncio.wait_for(run, 20)
        finally:
            for loop in loops:
                loop.cancel()
            if self._owner:
                self._thread.close()


def released(store: OpenStore, count: int) -> list[int]:
    """Mails that may be claimed, with their ids as their subjects; their recipients' numbers."""
    drafts = [
        a_draft(f"order-{n}", hold=AT_ONCE, content=f"Subject: order-{n}\r\n\r\nx\r\n".encode()) for n in range(count)
    ]
    return store.admit_released(*drafts)
