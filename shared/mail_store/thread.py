"""How a worker speaks to the mail store: in one thread, and again and again while the store can not be used."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
import tenacity

from shared import metrics
from shared.environment import without_password
from shared.mail_store.engine import open_engine
from shared.mail_store.making_ready import check_version, make_ready
from shared.mail_store.transactions import consult, transact
from shared.store_trouble import StoreAway, StoreUnusable, explained
from shared.trouble import Trouble

P = ParamSpec("P")
T = TypeVar("T")

# A store that can not be used is tried again after these waits: soon, as it may only be locked.
_TRY_AGAIN = tenacity.wait_random_exponential(multiplier=0.1, max=3)


class StoreThread:
    """The one thread of a worker that talks to the store; its transactions run one after another."""

    def __init__(self, url: str) -> None:
        """Raises StoreUnusable for a URL that is none."""
        try:
            self.engine = open_engine(url)
        except sa.exc.ArgumentError as error:
            raise StoreUnusable(str(error), "correct PILLARBOX_STORE_URL") from error
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._connection: sa.Connection | None = None  # kept: a transaction over one from the pool 42 µs, over this 15
        self._trouble = Trouble("store_unavailable", store=without_password(url))

    async def make_ready(self, now: datetime) -> None:
        """What a scheduler does to it when it starts. Raises StoreUnusable where it is of another version."""
        await self.run(make_ready, now)

    async def check_version(self) -> None:
        """What a sender does to it when it starts. Raises StoreUnusable where it is of another version."""
        await self.read(check_version)

    async def run(
        self, function: Callable[Concatenate[sa.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function in a transaction of its own; what it raises rolls back and comes out here.

        As long as the store can not be used (full, locked, out of reach) it is tried again, so it bears being repeated
        like every step. Raises StoreUnusable where waiting would not help.
        """
        return await self._carry_out(transact, function, *args, **kwargs)

    async def read(
        self, function: Callable[Concatenate[sa.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function that writes nothing: on SQLite it waits for no other worker that does. Otherwise as `run`."""
        return await self._carry_out(consult, function, *args, **kwargs)

    async def _carry_out(self, way: Callable[..., T], function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        def transaction() -> T:
            started = time.perf_counter()
            try:
                result = way(self._open_connection(), function, *args, **kwargs)
            except sa.exc.DBAPIError as error:
                self._drop_connection()
                raise explained(error) from error
            metrics.TRANSACTION.labels(function.__name__).observe(time.perf_counter() - started)
            return result

        try:
            result = await asyncio.get_running_loop().run_in_executor(self._executor, transaction)
        except StoreAway as away:
            self._say(away)
            result = await self._try_again(transaction)
        if self._trouble.lasts:
            self._trouble.over()
            metrics.STORE_UNAVAILABLE.set(0)
        return result

    def _open_connection(self) -> sa.Connection:
        if self._connection is None:
            self._connection = self.engine.connect()
        return self._connection

    def _drop_connection(self) -> None:
        """It may be broken; the next one is looked at when it is taken out of the pool."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def _try_again(self, transaction: Callable[[], T]) -> T:
        async for attempt in tenacity.AsyncRetrying(
            wait=_TRY_AGAIN, retry=tenacity.retry_if_exception(self._is_away), stop=tenacity.stop_never
        ):
            with attempt:
                result = await asyncio.get_running_loop().run_in_executor(self._executor, transaction)
        return result

    def _is_away(self, error: BaseException) -> bool:
        if isinstance(error, StoreAway):
            self._say(error)
            return True
        return False

    def _say(self, away: StoreAway) -> None:
        metrics.STORE_UNAVAILABLE.set(1)
        self._trouble.seen(str(away), do=away.cure, next="wait_and_try_again")

    def close(self) -> None:
        """Wait for the transaction under way and close the store."""
        self._executor.shutdown(wait=True)
        self._drop_connection()
        self.engine.dispose()
