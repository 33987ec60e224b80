"""A keeper and its worker, which here is a shell."""

import asyncio
import os
import time
from collections.abc import Coroutine
from functools import partial
from pathlib import Path

import pytest

from cli.child import Child, Ready
from cli.failures import CommandFailed
from cli.keeper import Keeper

READY = "echo event=ready metrics_port=7; exec sleep 60"


async def until(condition) -> None:
    """Wait for a condition that no event announces."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


def keeper_of(script: str, log: Path, said: list[str]) -> Keeper:
    launch = partial(Child.start, ["sh", "-c", script], dict(os.environ), log)
    return Keeper("worker", launch, lambda: None, said.append)


def run(work: Coroutine[None, None, None]) -> None:
    asyncio.run(work)


def test_it_is_ready_when_its_log_says_so_and_is_asked_to_end(tmp_path: Path):
    async def work() -> None:
        keeper = keeper_of(READY, tmp_path / "log", [])
        await keeper.start(20)
        assert keeper.ready == Ready(7)
        await keeper.stop(20)
        assert keeper.child is not None
        assert await keeper.child.wait() == -15

    run(work())


def test_one_that_dies_before_it_is_ready_says_why(tmp_path: Path):
    async def work() -> None:
        keeper = keeper_of("echo no such broker; exit 3", tmp_path / "log", [])
        with pytest.raises(CommandFailed, match="worker did not start: no such broker"):
            await keeper.start(20)
        await keeper.stop(20)

    run(work())


def test_one_that_can_not_be_started_says_why(tmp_path: Path):
    async def work() -> None:
        keeper = keeper_of(READY, tmp_path / "no such folder" / "log", [])
        with pytest.raises(CommandFailed, match=r"worker did not start: .*No such file"):
            await keeper.start(20)
        await keeper.stop(20)

    run(work())


def test_one_that_is_silent_is_not_waited_for_for_ever(tmp_path: Path):
    async def work() -> None:
        keeper = keeper_of("echo loading; exec sleep 60", tmp_path / "log", [])
        with pytest.raises(CommandFailed, match=r"not ready after 0.5 s: loading"):
            await keeper.start(0.5)
        await keeper.stop(20)

    run(work())


def test_one_that_dies_again_and_again_is_started_later_each_time_and_stopped_at_once(tmp_path: Path):
    async def work() -> None:
        said: list[str] = []
        log = tmp_path / "log"
        keeper = keeper_of("echo event=ready metrics_port=; exit 1", log, said)
        began = time.monotonic()
        await keeper.start(20)
        await until(lambda: len(said) >= 4)
        assert time.monotonic() - began >= 0.25 + 0.5 + 1
        assert said[0] == "worker ended with 1; it is started again"
        stopping = time.monotonic()
        await keeper.stop(20)
        assert time.monotonic() - stopping < 2  # when its next start would have been
        assert log.read_text().count("event=ready") == len(said)

    run(work())


def test_one_that_does_not_end_when_asked_is_killed(tmp_path: Path):
    async def work() -> None:
        keeper = keeper_of(
            "trap '' TERM; echo event=ready metrics_port=; while :; do sleep 0.1; done", tmp_path / "log", []
        )
        await keeper.start(20)
        await keeper.stop(0.3)
        assert keeper.child is not None
        assert await keeper.child.wait() == -9

    run(work())
