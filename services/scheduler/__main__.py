"""`python -m services.scheduler`: the parts of the scheduler, handed to each other, and run."""

import asyncio
from datetime import UTC, datetime
from functools import partial

from services.scheduler.alarm import Alarm
from services.scheduler.announce import Announcer
from services.scheduler.census import count_what_waits
from services.scheduler.control import ControlDesk
from services.scheduler.dead_letters import count_dead_letters
from services.scheduler.housekeeping import Housekeeper
from services.scheduler.intake import Intake
from services.scheduler.lanes import LaneDesk
from services.scheduler.outcome_desk import OutcomeDesk
from services.scheduler.recent import Recent
from services.scheduler.release import Releaser
from services.scheduler.settings_keeper import SettingsKeeper
from services.scheduler.sites import SiteDesk
from shared.broker import Broker
from shared.environment import Environment
from shared.mail_store.thread import StoreThread
from shared.settings_feed import SettingsFeed
from shared.topology import CONTROL, OUTCOME, SUBMIT
from shared.tracing import tracer_of
from shared.worker import run, run_until, unless_stopped

# Twice what one transaction takes, so that the next batch arrives while this one is written.
_PREFETCH = 400
# Of submissions, outcomes and commands each, whatever the prefetch: mails may have 25 MB.
_MOST_OCTETS = 32 * 1024 * 1024


async def serve(environment: Environment, broker: Broker, stop: asyncio.Event) -> None:
    """Build the parts and run their loops until asked to stop."""
    thread = StoreThread(environment.store_url)
    if not await unless_stopped(thread.make_ready(datetime.now(UTC)), stop):
        return
    keeper = SettingsKeeper(thread, broker.publisher)
    feed = SettingsFeed(broker, on_reject=keeper.on_reject)
    feed.watch(keeper.on_change)
    announcer = Announcer(broker.publisher, feed)
    housekeeper = Housekeeper(thread, feed)
    alarm, recent = Alarm(), Recent()
    outcomes = OutcomeDesk(
        thread, broker.publisher, feed, announcer, alarm, housekeeper.final, partial(broker.count, OUTCOME), recent
    )
    tracer = tracer_of("scheduler", environment.worker, environment.traces)
    lanes = LaneDesk(thread, broker.count, alarm)
    releaser = Releaser(thread, broker.publisher, announcer, outcomes, alarm, lanes, tracer)
    intake = Intake(thread, broker.publisher, feed, announcer, releaser, alarm, housekeeper.final, recent, tracer)
    control = ControlDesk(thread, broker.publisher, feed, announcer, releaser, alarm, housekeeper, keeper, recent)

    async def after_settings() -> None:
        await feed.first()
        submissions = broker.consume_warily(SUBMIT, _PREFETCH, most_octets=_MOST_OCTETS)
        await run_until(
            stop,
            intake.loop(submissions),
            intake.heavy_loop(submissions),
            outcomes.loop(broker.consume_warily(OUTCOME, _PREFETCH, most_octets=_MOST_OCTETS)),
            control.loop(broker.consume_warily(CONTROL, 10, most_octets=_MOST_OCTETS)),
            releaser.release_loop(),
            releaser.mark_loop(),
            SiteDesk(thread, feed, alarm).loop(),
            lanes.loop(),
            housekeeper.sweep_loop(),
            housekeeper.purge_loop(),
            keeper.note_loop(announcer),
            count_dead_letters(broker),
            count_what_waits(thread, broker, environment.metrics_port),
        )

    feed.subscribe()
    await run_until(stop, feed.follow(), keeper.fill_an_empty_stream(feed.subscribed()), after_settings())
    thread.close()


if __name__ == "__main__":
    run("scheduler", serve)
