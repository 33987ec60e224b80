"""`python -m services.sender`: takes batches off the lanes, claims them, and delivers them over SMTP."""

import asyncio
from functools import partial

import structlog

from services.sender.claims import ClaimDesk
from services.sender.dialler import Dialler
from services.sender.gate import SiteGate
from services.sender.journal import Journal
from services.sender.lane import Lane
from services.sender.presence import Presence
from services.sender.reporter import Reporter
from services.sender.site import SiteQueue
from services.sender.spans import attempt_spans
from services.sender.takeover import Takeover
from shared.broker import Broker
from shared.environment import Environment
from shared.mail_store.thread import StoreThread
from shared.settings_feed import SettingsFeed
from shared.topology import LANES
from shared.tracing import tracer_of
from shared.worker import run, run_until, unless_stopped

log = structlog.get_logger()

# Longer, and whoever stops us takes to `kill -9`. Only where the store or the broker does not answer.
_STOPS_WITHIN_S = 25.0


async def serve(environment: Environment, broker: Broker, stop: asyncio.Event) -> None:
    """Send until asked to stop; then what is under way is finished, and the rest goes back."""
    thread = StoreThread(environment.store_url)
    if not await unless_stopped(thread.check_version(), stop):
        return
    feed = SettingsFeed(broker)
    feed.subscribe()
    desk = ClaimDesk(thread, environment.worker)
    gate = SiteGate(thread, environment.worker, lambda: feed.settings.retry)
    journal = Journal(environment.journal, environment.store_url, environment.worker, lambda: feed.revision)
    reporter = Reporter(environment.worker, broker.publisher, desk, journal, lambda: feed.revision)
    finished = asyncio.Event()
    dialler: Dialler | None = None
    presence = Presence(thread, environment.worker, lambda: feed.revision, lambda: dialler.greetings if dialler else {})

    def most() -> int:
        return feed.settings.sending.max_per_connection

    async def lanes() -> None:
        nonlocal dialler
        await feed.first_unless(stop)
        if not stop.is_set():
            dialler = Dialler(feed.settings, journal.note)
            feed.watch(dialler.on_change)
            spans = attempt_spans(tracer_of("sender", environment.worker, environment.traces))
            new_site = partial(SiteQueue, dialler.connect, gate, desk, reporter, most, dialler.signing, spans)
            every = [Lane(number, broker, reporter, most, new_site) for number in range(LANES)]
            await asyncio.gather(*(lane.run(stop) for lane in every))
        finished.set()

    async def present() -> None:
        await feed.first()
        await presence.loop()

    async def no_longer() -> None:
        await stop.wait()
        await asyncio.sleep(_STOPS_WITHIN_S)
        log.error("stop_cut_short", next="claims_run_out")
        finished.set()

    takeover = Takeover(environment.journal, environment.store_url, thread, broker.publisher)
    loops = feed.follow(), desk.claim_loop(), desk.renew_loop(), gate.run(), reporter.loop(), takeover.loop()
    await run_until(finished, *loops, lanes(), present(), no_longer())
    journal.close()
    thread.close()


if __name__ == "__main__":
    run("sender", serve)
