"""One of many fails, for a reason nobody planned for: it is put aside alone, and the others are done."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from shared.dead import NotPutAside
from shared.store_trouble import StoreFailed
from shared.trouble import what_failed

log = structlog.get_logger()

T = TypeVar("T")


async def each_or_alone(
    items: Sequence[T],
    work: Callable[[Sequence[T]], Awaitable[None]],
    give_up: Callable[[T, Exception], Awaitable[None]],
) -> None:
    """Do the work for all at once; where that fails, for each by itself, and give up those that fail alone.

    The work has to bear being repeated. What ails the store or the broker is raised: it is no fault of an item's.
    """
    try:
        await work(items)
    except (StoreFailed, NotPutAside):
        raise
    except Exception as error:
        if len(items) > 1:
            log.warning("failed_together", items=len(items), reason=what_failed(error), next="one_by_one")
            for item in items:
                await each_or_alone([item], work, give_up)
        else:
            log.error("failed_alone", reason=what_failed(error), next="dead_letter")
            await give_up(items[0], error)
