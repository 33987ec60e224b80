"""Very much mail becomes due at once: it stays in the store, where it can be taken back, until senders need more."""

import asyncio
import time

from services.scheduler.lanes import _ENOUGH
from services.scheduler.release import _SOME
from shared.broker import Message
from shared.mail_store.states import State
from shared.topology import LANE_QUEUES, LANES, SEND
from tests.support.broker import opened
from tests.support.pipeline import a_mail, relay_to

MAILS, RECIPIENTS = 10, 1000
ALL = MAILS * RECIPIENTS


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
    many = [f"b{number}@mx.example" for number in range(RECIPIENTS)]
    news = [pipeline.submit(a_mail(f"n{n}", to=many, hold="1d", batch="news"), f"n{n}") for n in range(MAILS)]
    wait_until(lambda: pipeline.count(State.HELD) == ALL, "all are held")

    pipeline.control("release", batch="news")
    wait_until(lambda: pipeline.count(State.HELD) < ALL, "the first of them go")
    time.sleep(1.5)  # in which all of them would be gone
    held, since = pipeline.count(State.HELD), time.monotonic()
    assert held >= ALL // 2
    time.sleep(1)
    assert held - pipeline.count(State.HELD) <= _SOME * (time.monotonic() - since + 1)  # so many go each second
    assert any("due since" in why for why in pipeline.control("show", id=news[MAILS // 2])["mail"]["waits"])
    for mail in news[2:]:
        assert pipeline.control("retract", id=mail)["counts"] == {"retracted": 1}

    pipeline.start(sender=1)
    pipeline.wait_for_all([sink], [first, *news[:2]])
    assert len(sink.mails) == len({(mail.content, *mail.recipients) for mail in sink.mails})
