"""`python -m services.sender`: takes batches off the lanes, claims them, and delivers them over SMTP."""

import asyncio

from services.sender.broken_tls import BrokenTls
from services.sender.claims import ClaimDesk
from services.sender.connection import Connection, Unreachable, connect
from services.sender.helo import HeloNames
from services.sender.lane import Lane
from services.sender.login import Logins
from services.sender.reporter import Reporter
from shared.broker import Broker
from shared.contracts import Route
from shared.environment import Environment
from shared.mail_store import StoreThread
from shared.settings import Settings
from shared.settings_feed import InForce, SettingsFeed
from shared.topology import LANES
from shared.worker import run, run_until


class Dialler:
    """Opens connections under the settings in force."""

    def __init__(self, settings: Settings) -> None:
        self._names = self._names_of(settings)
        self._of = settings
        self._broken_tls = BrokenTls()
        self._logins = Logins()

    def on_change(self, accepted: InForce) -> None:
        """Another HELO name, or other name servers to ask for it."""
        now, former = accepted.settings, self._of
        if (now.identity.helo_name, now.dns) != (former.identity.helo_name, former.dns):
            self._names = self._names_of(now)
        self._of = now

    async def connect(self, route: Route) -> Connection | Unreachable:
        """Open a connection to the first host of the route that can be used."""
        return await connect(
            route,
            helo=self._names,
            fallback=self._of.fallback,
            broken_tls=self._broken_tls,
            logins=self._logins,
        )

    @staticmethod
    def _names_of(settings: Settings) -> HeloNames:
        return HeloNames(settings.identity.helo_name, settings.dns.servers)


async def serve(environment: Environment, broker: Broker, stop: asyncio.Event) -> None:
    """Send until asked to stop; then what is under way is finished, and the rest goes back."""
    feed = SettingsFeed(broker)
    feed.subscribe()
    thread = StoreThread(environment.store_url)
    desk = ClaimDesk(thread, environment.worker)
    reporter = Reporter(environment.worker, broker.publisher, desk, lambda: feed.revision)
    finished = asyncio.Event()

    async def lanes() -> None:
        await feed.first_unless(stop)
        if not stop.is_set():
            dialler = Dialler(feed.settings)
            feed.watch(dialler.on_change)
            every = [
                Lane(number, broker, dialler.connect, desk, reporter, lambda: feed.settings.sending.max_per_connection)
                for number in range(LANES)
            ]
            await asyncio.gather(*(lane.run(stop) for lane in every))
        finished.set()

    await run_until(finished, feed.follow(), desk.claim_loop(), desk.renew_loop(), reporter.loop(), lanes())
    thread.close()


if __name__ == "__main__":
    run("sender", serve)
