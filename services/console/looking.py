"""One look at the pipeline serves everybody who looks at about the same time."""

import asyncio
import time
from datetime import timedelta

from services.console.desk import Desk, within
from shared.commander import Commander, NotAnswered, NotTaken
from shared.contracts.answers import SiteLine, SitesAnswer
from shared.contracts.commands import ListSites
from shared.stages import Sample, look, with_rates

_FRESH_S = 1.0
_TIMES_THE_LOOK = 10  # a million recipients take the scheduler some tenths of a second to count
_FRESH_AT_MOST_S = 10.0
SITES = 30  # of those that work few are of interest; those that are down come first
_COMPARABLE_S = 60.0  # a rate over a longer time says nothing of now
# Whether the scheduler answers at all is what people look for here: they are told of it before the broker is given up.
# One that is busy with a large command may answer later.
_ANSWER_TIME, _WITHIN = timedelta(seconds=4), timedelta(seconds=10)


class Looks:
    """Keeps the last look."""

    def __init__(self, desk: Desk) -> None:
        self._broker = desk.broker
        self._commander = Commander(desk.broker, _ANSWER_TIME)
        self._looking = asyncio.Lock()
        self._last: Sample | None = None
        self._sites: list[SiteLine] | None = None
        self._at, self._took_s = float("-inf"), 0.0

    async def latest(self) -> tuple[Sample, list[SiteLine] | None]:
        """What there is to see, about a second old at most; with rates where somebody looked in the minute before.

        And the sites, None where the scheduler does not answer. Raises Away.
        """
        async with self._looking:
            begun = time.monotonic()
            age = begun - self._at
            fresh = max(_FRESH_S, min(_TIMES_THE_LOOK * self._took_s, _FRESH_AT_MOST_S))
            if self._last is None or age > fresh:
                before = self._last if age < _COMPARABLE_S else None
                found = await within(_WITHIN, look(self._broker, self._commander, before))
                self._sites = await self._ask_for_sites() if found.scheduler else None
                self._last, self._at = with_rates(found, before), time.monotonic()
                self._took_s = self._at - begun if found.scheduler else 0.0
            return self._last, self._sites

    async def _ask_for_sites(self) -> list[SiteLine] | None:
        try:
            return (await self._commander.ask(ListSites(all=True, limit=SITES), SitesAnswer)).sites
        except (NotAnswered, NotTaken):
            return None
