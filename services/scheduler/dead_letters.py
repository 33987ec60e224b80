"""How many dead letters lie there: whatever put them aside, a worker or the broker, somebody is to hear of it."""

import asyncio

import structlog

from shared import metrics
from shared.broker import Broker, BrokerRefused
from shared.topology import DEAD

log = structlog.get_logger()

_COUNT_EVERY_S = 15.0


async def count_dead_letters(broker: Broker) -> None:
    """Keep the metric up to date, and say when there are more, for ever."""
    known, refusal = 0, ""
    while True:
        try:
            waiting = await broker.count(DEAD)
        except BrokerRefused as refused:
            if refusal != str(refused):
                refusal = str(refused)
                log.warning("dead_letters_not_counted", reason=refusal, next="try_again")
        else:
            metrics.DEAD_WAITING.set(waiting)
            if waiting > known:
                log.warning("dead_letters", waiting=waiting, next="wait_for_an_operator")
            known = waiting
        await asyncio.sleep(_COUNT_EVERY_S)
