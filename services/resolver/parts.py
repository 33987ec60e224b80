"""What travels in one message to the senders: mails of one site that were routed together, and their lane. Pure."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from services.resolver.lanes import lanes_for
from services.resolver.routing import Assigned
from shared.contracts.work import Pace


class Part(Struct, frozen=True):
    """Work of one site for one lane."""

    lane: int
    sends: list[Assigned]


def parts_of(sends: Iterable[Assigned], lanes: int) -> Iterator[Part]:
    """Work by site, so that no site waits for another's mail, and spread over the site's lanes."""
    by_site: dict[tuple[str, Pace | None, int], list[Assigned]] = {}
    for send in sends:
        leg = send.leg
        by_site.setdefault((leg.route.site, leg.route.pace, leg.width), []).append(send)
    for those in by_site.values():
        leg, first = those[0].leg, those[0].request.envelope.mail
        taken = lanes_for(leg.route.site, first, len(those), leg.width, lanes)
        for step, lane in enumerate(taken):
            yield Part(lane, those[step :: len(taken)])
