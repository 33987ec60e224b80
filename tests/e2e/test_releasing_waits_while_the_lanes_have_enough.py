"""Very much mail becomes due at once: it stays in the store, where it can be taken back, until senders need more."""

import asyncio
import time

from services.scheduler.lanes import _ENOUGH, _LOOK_AFTER
from shared.broker import Message
from shared.mail_store import State
from shared.topology import LANE_QUEUES, LANES, SEND
from tests.support.broker import opened
from tests.support.pipeline import a_mail, relay_to

AT_ONCE = _LOOK_AFTER // 2  # recipients of a mail


async def fill_the_lanes(url: str) -> None:
    """With copies of the one work message that is there: whoever has one of them finds nothing to claim."""
    async with opened(url) as broker:
        while not (bodies := [body for lane in range(LANES) for body in await first_of(broker, lane)]):
            await asyncio.sleep(0.02)
        copies = [Message(SEND, str(lane), bodies[0]) for lane in range(LANES) for _ in range(_ENOUGH)]
        assert await broker.publisher.publish(copies) == []


async def first_of(broker, lane: int) -> list[bytes]:
    peek = await broker.get(LANE_QUEUES[lane], 1)
    await peek.close()
    return [delivery.body for delivery in peek.deliveries]


def test_what_the_senders_do_not_need_yet_stays_held(start_pipeline, sink):
    pipeline = start_pipeline(relay_to(sink), senders=0)
    wait_until = pipeline.client.wait_until
    first = pipeline.submit(a_mail("first"), "first")
    asyncio.run(fill_the_lanes(pipeline.amqp_url))
    many = [f"b{number}@mx.example" for number in range(AT_ONCE)]
    held = [pipeline.submit(a_mail(id, to=many, hold="1d", batch="news"), id) for id in ("n1", "n2", "n3", "n4")]
    wait_until(lambda: pipeline.count(State.HELD) == 4 * AT_ONCE, "all are held")

    pipeline.control("release", batch="news")
    wait_until(lambda: pipeline.count(State.HELD) == 2 * AT_ONCE, "the first of them go")
    time.sleep(1)  # in a tenth of it the others would be gone
    assert pipeline.count(State.HELD) == 2 * AT_ONCE
    assert any("due since" in why for why in pipeline.control("show", id=held[-1])["mail"]["waits"])
    assert pipeline.control("retract", id=held[-1])["counts"] == {"retracted": 1}

    pipeline.start(sender=1)
    pipeline.wait_for_all([sink], [first, *held[:-1]])
    assert len(sink.mails) == len({(mail.content, *mail.recipients) for mail in sink.mails})
