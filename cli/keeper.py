"""Keeps one worker running: starts it again when it ends, later each time it does not live long."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
import tenacity

from cli.child import Child, Ready
from cli.failures import CommandFailed

log = structlog.get_logger()

# Soon the first time; one that can not start is in the end tried twice a minute.
_WAIT = tenacity.wait_exponential(multiplier=0.25, max=30)
_LONG_LIFE_S = 60.0  # whoever lived so long was well: its next end counts as a first one


class Keeper:
    """One worker, kept."""

    def __init__(
        self,
        name: str,
        launch: Callable[[], Awaitable[Child]],
        on_change: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        """`launch` starts a run of it; `on_change` hears of each new run and readiness, `say` tells a person."""
        self.name = name
        self.child: Child | None = None
        self.ready: Ready | None = None
        self._launch = launch
        self._on_change = on_change
        self._say = say
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, patience_s: float) -> None:
        """Start it, and wait until it is ready. Raises CommandFailed with its last words when it never was."""
        self._task = asyncio.create_task(self._keep())
        done, _ = await asyncio.wait({self._task, self._first}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise CommandFailed(f"{self.name} is not ready after {patience_s:g} s: {self._last_words()}")
        await done.pop()

    async def stop(self, patience_s: float) -> None:
        """Ask it to end and wait; it is not started again."""
        self._stopping.set()
        if self.child is not None:
            await self.child.stop(patience_s)
        if self._task is not None:
            await asyncio.wait({self._task})

    def kill(self) -> None:
        """End it at once."""
        self._stopping.set()
        if self.child is not None:
            self.child.kill()

    async def _keep(self) -> None:
        again = tenacity.AsyncRetrying(
            wait=_WAIT, retry=tenacity.retry_if_result(bool), before_sleep=self._tell, sleep=self._pause
        )
        while not self._stopping.is_set():
            await again(self._live)

    async def _live(self) -> bool:
        """One run, to its end. Whether it was so short that the next one has to wait."""
        if self._stopping.is_set():
            return False
        began = time.monotonic()
        try:
            self.child, self.ready = await self._launch(), None
        except OSError as error:
            log.error("worker_not_started", of=self.name, reason=str(error), next="start_again")
            self._never_ready(str(error))
            return True
        log.info("worker_started", started=self.name, pid=self.child.pid)
        self._on_change()
        readiness = asyncio.create_task(self._await_ready(self.child))
        if self._stopping.is_set():  # it was asked while the child was being started
            self.child.kill()
        code = await self.child.wait()
        readiness.cancel()
        if self.ready is None and (ready := self.child.has_been_ready()):  # it ended before anybody looked
            self._note(ready)
        return self._ended(code, time.monotonic() - began)

    def _ended(self, code: int, lived_s: float) -> bool:
        if self._stopping.is_set():
            log.info("worker_stopped", stopped=self.name, code=code)
            return False
        log.warning("worker_ended", ended=self.name, code=code, next="start_again")
        self._say(f"{self.name} {how_it_ended(code)}; it is started again")
        self._never_ready(self._last_words())
        return lived_s < _LONG_LIFE_S

    def _never_ready(self, why: str) -> None:
        if not self._first.done():
            self._first.set_exception(CommandFailed(f"{self.name} did not start: {why}"))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _await_ready(self, child: Child) -> None:
        self._note(await child.ready())

    def _note(self, ready: Ready) -> None:
        self.ready = ready
        self._on_change()
        if not self._first.done():
            self._first.set_result(None)

    def _last_words(self) -> str:
        return "it was not started" if self.child is None else self.child.last_line()

    def _tell(self, state: tenacity.RetryCallState) -> None:
        pause = state.next_action.sleep if state.next_action else 0
        log.info("worker_waits", waiting=self.name, runs=state.attempt_number, pause_s=pause, next="start")


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    return f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
