"""The resolver's loop: requests in, work for the lanes out, and outcomes for those that have no route."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
import structlog

from services.resolver.mx import MxResolver
from services.resolver.parts import Part, parts_of
from services.resolver.routing import Routed, route
from shared import metrics
from shared.broker import Consumer, Delivery, Message, Publisher
from shared.contracts.work import OutcomeReport, RecipientOutcome, RouteRequest, RouteRequests, SendRequests
from shared.dead import put_aside
from shared.outcomes import Deferred, Parked
from shared.refusals import UNREADABLE
from shared.settings_feed import InForce
from shared.smtp_reply import own_verdict
from shared.topology import LANES, OUTCOME, RESOLVE, SEND
from shared.trouble import Trouble, what_failed

if TYPE_CHECKING:
    from shared.otel import Tracer

log = structlog.get_logger()

# For a scheduler of the version before, which waits so long, and not for the lane.
_WHEN_FULL_S = 10.0

_decoder = msgspec.msgpack.Decoder(RouteRequests)
_encoder = msgspec.msgpack.Encoder()


class ResolverWorker:
    """Routes what comes, many messages at a time: a slow name server holds up only its own."""

    def __init__(
        self,
        name: str,
        publisher: Publisher,
        consumer: Consumer,
        now: Callable[[], InForce],
        tracer: "Tracer | None" = None,
    ) -> None:
        """`now` gives the settings in force."""
        self._name = name
        self._publisher = publisher
        self._consumer = consumer
        self._now = now
        self._tracer = tracer
        self._mx_settings: object = None
        self._full = {lane: Trouble("lane_full", lane=lane) for lane in range(LANES)}
        self._unreported = Trouble("outcomes_refused")
        self.on_change(now())

    def on_change(self, accepted: InForce) -> None:
        """New settings: other name servers may say other things, so what was remembered goes with the old ones."""
        settings = accepted.settings
        identity = settings.identity
        used = settings.dns, settings.delivery.address_literals, identity.helo_name, identity.own_hosts
        if self._mx_settings != used:
            self._mx_settings = used
            self._mx = MxResolver.of(settings)

    async def loop(self) -> None:
        """Route, for ever; the consumer's prefetch bounds what is under way."""
        async with asyncio.TaskGroup() as group:
            while True:
                for delivery in await self._consumer.batch(100):
                    group.create_task(self._take(delivery))

    async def _take(self, delivery: Delivery) -> None:
        try:
            requests = _decoder.decode(delivery.body).requests
        except UNREADABLE as error:
            log.error("request_not_understood", reason=str(error), next="dead_letter")
            await put_aside(self._publisher, delivery, RESOLVE, str(error))
        else:
            in_force, begun = self._now(), time.perf_counter()
            routed = await asyncio.gather(*(self._route(request, in_force) for request in requests))
            await self._publish(routed, in_force.revision)
            took = time.perf_counter() - begun
            metrics.ROUTE.observe(took)
            if self._tracer is not None:
                _trace(self._tracer, requests, routed, took)
        # Confirm before ack: a crash between the two repeats the work messages, and the claim bears it.
        self._consumer.ack([delivery])

    async def _route(self, request: RouteRequest, in_force: InForce) -> Routed:
        try:
            return await route(request, in_force.settings, in_force.revision, self._mx, LANES)
        except Exception as error:
            # Nobody planned for this. It concerns one request of many, so these go on; the store tries it again.
            failure = what_failed(error)
            log.error("route_failed", mail=request.envelope.mail, reason=failure, next="deferred")
            failed = Deferred(own_verdict(451, "4.3.0", f"no route could be looked for: {failure}"))
            return Routed([], [RecipientOutcome(to.no, request.attempt, failed) for to in request.envelope.recipients])

    async def _publish(self, routed: Iterable[Routed], revision: int) -> None:
        failures = [failure for one in routed for failure in one.failures]
        parts = list(parts_of((assigned for one in routed for assigned in one.sends), LANES))
        sends = {id(message := _message(part)): (message, part) for part in parts}
        refused = await self._publisher.publish([message for message, _ in sends.values()])
        for refusal in refused:
            _, part = sends[id(refusal.message)]
            failures += _parked(part, refusal.reason)
            self._full[part.lane].seen(refusal.reason, next="its_mail_waits_for_room")
        for lane in {part.lane for part in parts} - {int(refusal.message.key) for refusal in refused}:
            self._full[lane].over()
        metrics.ROUTED.inc(sum(len(assigned.request.envelope.recipients) for part in parts for assigned in part.sends))
        metrics.UNROUTABLE.inc(len(failures))
        if failures:
            await self._report(failures, revision)

    async def _report(self, failures: list[RecipientOutcome], revision: int) -> None:
        message = Message(OUTCOME, "", _encoder.encode(OutcomeReport(self._name, revision, tuple(failures))))
        while refused := await self._publisher.publish([message]):
            self._unreported.seen(refused[0].reason, next="try_again_each_second")
            await asyncio.sleep(1)
        self._unreported.over()


def _trace(tracer: "Tracer", requests: Sequence[RouteRequest], routed: Sequence[Routed], seconds: float) -> None:
    begun_ns = time.time_ns() - int(seconds * 1e9)
    for request, found in zip(requests, routed, strict=True):
        envelope = request.envelope
        if envelope.trace:
            said: dict[str, str | int] = {
                "pillarbox.mail": envelope.mail,
                "pillarbox.attempt": request.attempt,
                "pillarbox.sites": ",".join(assigned.leg.route.site for assigned in found.sends),
            }
            failure = f"{len(found.failures)} recipients without a route" if found.failures else ""
            tracer.record("pillarbox.resolve", envelope.trace, begun_ns, said, failure)


def _message(part: Part) -> Message:
    requests = SendRequests(part.sends[0].leg.route, tuple(assigned.request for assigned in part.sends))
    return Message(SEND, str(part.lane), _encoder.encode(requests))


def _parked(part: Part, reason: str) -> Iterator[RecipientOutcome]:
    for assigned in part.sends:
        parked = Parked(f"the lane of {assigned.leg.route.site} is full: {reason}", _WHEN_FULL_S, lane=part.lane)
        for recipient in assigned.request.envelope.recipients:
            yield RecipientOutcome(recipient.no, assigned.request.attempt, parked)
