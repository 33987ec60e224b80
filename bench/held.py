"""Mails that are held, as many as one likes, and let go all at once."""

import asyncio
from collections.abc import Collection

from bench.pillarbox import Numbered
from bench.pipeline import FAILURES, Pipeline
from shared.contracts.answers import ReleaseAnswer
from shared.contracts.commands import Release

HOLD = {"hold": "1d"}  # the group `sending` of the settings

_PORTION = 10_000  # published while as many are being admitted: the queue stays short, and so does our list


async def admit(pipeline: Pipeline, message: Numbered, numbers: range) -> None:
    """Publish these and wait until the scheduler has admitted all. Raises Failed."""
    before = (await pipeline.totals())["admitted"]
    await pipeline.while_all_live(_admit(pipeline, message, numbers, before))


async def _admit(pipeline: Pipeline, message: Numbered, numbers: range, before: int) -> None:
    for start in range(0, len(numbers), _PORTION):
        await pipeline.publish([message(number) for number in numbers[start : start + _PORTION]])
        await pipeline.reach("admitted", before + start)
    await pipeline.reach("admitted", before + len(numbers))


async def release(pipeline: Pipeline, batch: str, total: str, count: int, unwanted: Collection[str] = FAILURES) -> None:
    """Let a batch go, and wait until a total is so much higher. Raises Failed, or CommandFailed."""
    before = (await pipeline.totals())[total]
    await pipeline.while_all_live(
        asyncio.gather(
            pipeline.ask(Release(batch=batch), ReleaseAnswer),
            pipeline.reach(total, before + count, unwanted),
        )
    )
