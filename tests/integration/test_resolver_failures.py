"""A request over which the resolver fails for a reason nobody planned for is deferred; others of its message go."""

import asyncio
from datetime import UTC, datetime

import msgspec

from services.resolver.worker import ResolverWorker
from shared import topology
from shared.broker import Message
from shared.contracts.work import Envelope, OutcomeReport, Recipient, RouteRequest, RouteRequests
from shared.outcomes import Deferred
from shared.settings import SettingsDocument, parse_settings
from shared.settings_feed import InForce
from shared.topology import LANES, OUTCOME, RESOLVE, lane_queue
from tests.support.broker import opened, run, until_counted

DIRECT = {"delivery": {"mode": "direct"}, "routes": {"good.example": {"host": "relay.example"}}}


class BrokenMx:
    """In the place of DNS: a mistake as one of ours could be."""

    def cached(self, domain: str) -> None:
        """Fail."""
        raise KeyError(domain)


def _request(number: int, domain: str) -> RouteRequest:
    envelope = Envelope(f"mail-{number}", "a@x.example", (Recipient(number, f"b@{domain}"),), 99, False, False)
    return RouteRequest(envelope, 1)


def test_the_others_of_its_message_go_and_it_is_deferred_with_the_error(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url) as broker:
            await topology.declare(broker)
            in_force = InForce(parse_settings(DIRECT), 1, SettingsDocument(settings=DIRECT), datetime.now(UTC))
            worker = ResolverWorker("r", broker.publisher, broker.consume_warily(RESOLVE, 10), lambda: in_force)
            worker._mx = BrokenMx()
            routing = asyncio.create_task(worker.loop())
            requests = RouteRequests((_request(1, "bad.example"), _request(2, "good.example")))
            await broker.publisher.publish([Message(RESOLVE, "", msgspec.msgpack.encode(requests))])
            await until_counted(broker, OUTCOME, 1)
            peek = await broker.get(OUTCOME, 1)
            [failed] = msgspec.msgpack.decode(peek.deliveries[0].body, type=OutcomeReport).outcomes
            await peek.close()
            assert sum([await broker.count(lane_queue(lane)) for lane in range(LANES)]) == 1
            assert not routing.done()
            routing.cancel()
        assert failed.recipient == 1
        assert isinstance(failed.outcome, Deferred)
        assert "KeyError: 'bad.example' (test_resolver_failures.py:" in failed.outcome.reply.text

    run(scene())
