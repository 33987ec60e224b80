"""Overview, senders: what runs, what waits, how fast it moves."""

import asyncio
from typing import Any

import msgspec
from litestar import get
from litestar.response import Template

from services.console.desk import Desk
from services.console.looking import SITES, Looks
from services.console.pages.showing import Showing
from services.console.reading import Incoming
from shared.contracts.answers import SendersAnswer, StageTime
from shared.contracts.commands import ListSenders
from shared.stages import Sample
from shared.topology import DEAD, LANES, OUTCOME, RESOLVE, SUBMIT, lane_queue

_LANES = [lane_queue(lane) for lane in range(LANES)]


class Stage(msgspec.Struct, frozen=True):
    """One line of the table of stages."""

    name: str
    meaning: str
    waiting: int | None
    rate: float | None  # per second
    time: StageTime | None


class Tile(msgspec.Struct, frozen=True):
    """A number that stands out."""

    name: str
    count: int | None
    href: str
    meaning: str
    alarming: bool = False


def stages(sample: Sample) -> list[Stage]:
    """The way of a mail, stage by stage."""
    times = {time.stage: time for time in sample.times}
    rates, states = sample.rates, sample.states

    def waiting(*queues: str) -> int | None:
        known = [sample.queues.get(queue) for queue in queues]
        return None if None in known else sum(count for count in known if count is not None)

    due = states["releasing"] + sum(sample.overdue.values()) if states else None
    final = [rates[name] for name in ("delivered", "bounced") if name in rates]
    settled = sum(final) if final else None
    return [
        Stage("Admission", "judged and stored", waiting(SUBMIT), rates.get("admitted"), times.get("admission")),
        Stage("Hold", "can still be taken back", still_waiting(sample, "held"), None, None),
        Stage("Release", "due, or being handed on", due, rates.get("released"), times.get("release")),
        Stage("Route", "a resolver finds where it goes", waiting(RESOLVE), None, None),
        Stage("Lanes", "behind other mail of its site", waiting(*_LANES), None, times.get("claim")),
        Stage("Delivery", "a sender has it", states.get("claimed"), rates.get("delivered"), times.get("delivery")),
        Stage("Outcome", "told to the scheduler", waiting(OUTCOME), settled, times.get("outcome")),
    ]  # fmt: skip


def still_waiting(sample: Sample, state: str) -> int | None:
    """Recipients in a state whose hold or wait is not over."""
    count = sample.states.get(state)
    return None if count is None else count - sample.overdue.get(state, 0)


def tiles(sample: Sample) -> list[Tile]:
    """What somebody wants to know first."""
    states, dead = sample.states, sample.queues.get(DEAD)
    doubtful = states.get("in_doubt")
    under_way = sum(states.get(name, 0) for name in ("releasing", "released", "claimed"))
    due = under_way + sum(sample.overdue.values()) if states else None
    return [
        Tile("Held", still_waiting(sample, "held"), "/held", "can be taken back"),
        Tile("Due", due, "/mails?state=released", "their turn has come"),
        Tile("Deferred", still_waiting(sample, "deferred"), "/mails?state=deferred", "tried again later"),
        Tile("In doubt", doubtful, "/mails?state=in_doubt", "wait for your word", bool(doubtful)),
        Tile("Dead letters", dead, "/dead-letters", "put aside", bool(dead)),
    ]  # fmt: skip


@get("/")
async def overview(request: Incoming, looks: Looks, showing: Showing) -> Template:
    """The first page."""
    return showing.page(request, "overview", **await _seen(looks))


@get("/overview/live")
async def live(request: Incoming, looks: Looks, showing: Showing) -> Template:
    """The part of it that changes."""
    return showing.page(request, "overview_live", **await _seen(looks))


async def _seen(looks: Looks) -> dict[str, Any]:
    sample, sites = await looks.latest()
    return {"sample": sample, "stages": stages(sample), "tiles": tiles(sample), "sites": sites, "most_sites": SITES}


@get("/senders")
async def senders(request: Incoming, desk: Desk, looks: Looks, showing: Showing) -> Template:
    """Replicas, lanes, connections."""
    return showing.page(request, "senders", **await _senders(desk, looks))


@get("/senders/live")
async def senders_live(request: Incoming, desk: Desk, looks: Looks, showing: Showing) -> Template:
    """The part of it that changes."""
    return showing.page(request, "senders_live", **await _senders(desk, looks))


async def _senders(desk: Desk, looks: Looks) -> dict[str, Any]:
    answer, (sample, _) = await asyncio.gather(desk.ask(ListSenders(), SendersAnswer), looks.latest())
    lanes = [(lane, sample.queues.get(lane_queue(lane))) for lane in range(LANES)]
    return {"senders": answer.senders, "lanes": lanes, "revision": sample.revision}


HANDLERS: list[Any] = [overview, live, senders, senders_live]
