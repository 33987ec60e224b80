"""The cache: how long, how much, and one look-up for all who ask at once."""

import asyncio

import pytest

from services.resolver.cache import Kept, SharedCache


class Source:
    """Looks names up when told to go on, and remembers which it was asked for."""

    def __init__(self, lifetime=60.0, fails=0):
        self.now = 1000.0
        self.asked = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._lifetime = lifetime
        self._fails = fails

    async def find(self, name):
        self.asked.append(name)
        await self.go_on.wait()
        if self._fails:
            self._fails -= 1
            raise OSError("no luck")
        return Kept(f"{name} #{len(self.asked)}", self.now + self._lifetime)

    def cache(self, size=10):
        return SharedCache(self.find, size, clock=lambda: self.now)


@pytest.mark.parametrize(("passed", "questions"), [(0, 1), (59.9, 1), (60, 2), (1e9, 2)])
def test_an_answer_is_kept_until_its_time_is_over(passed, questions):
    async def ask_twice():
        source = Source(lifetime=60.0)
        cache = source.cache()
        await cache.get("a")
        source.now += passed
        assert (cache.held("a") is not None) == (questions == 1)
        await cache.get("a")
        return source.asked

    assert asyncio.run(ask_twice()) == ["a"] * questions


def test_what_is_held_needs_no_task():
    async def ask():
        cache = Source().cache()
        await cache.get("a")
        question = cache.get("a")
        with pytest.raises(StopIteration) as done:
            question.send(None)  # it ends at its first step, without having waited for the loop
        return done.value.value.value

    assert asyncio.run(ask()) == "a #1"


def test_those_who_ask_at_once_share_one_look_up():
    async def ask():
        source = Source()
        cache = source.cache()
        source.go_on.clear()
        asking = [asyncio.create_task(cache.get(name)) for name in "aabab"]
        await asyncio.sleep(0)
        source.go_on.set()
        return [kept.value for kept in await asyncio.gather(*asking)], source.asked

    answers, asked = asyncio.run(ask())
    assert asked == ["a", "b"]
    assert [answer[0] for answer in answers] == list("aabab")


@pytest.mark.parametrize("leaver", [0, 1])
def test_one_who_gives_up_does_not_end_the_look_up_of_the_others(leaver):
    async def ask():
        source = Source()
        cache = source.cache()
        source.go_on.clear()
        asking = [asyncio.create_task(cache.get("a")) for _ in range(2)]
        await asyncio.sleep(0)
        asking[leaver].cancel()
        await asyncio.sleep(0)
        source.go_on.set()
        kept = await asking[1 - leaver]
        assert asking[leaver].cancelled()
        return kept.value, source.asked

    assert asyncio.run(ask()) == ("a #1", ["a"])


def test_a_look_up_that_all_have_left_still_ends_and_is_kept():
    async def ask():
        source = Source()
        cache = source.cache()
        source.go_on.clear()
        only = asyncio.create_task(cache.get("a"))
        await asyncio.sleep(0)
        only.cancel()
        source.go_on.set()
        return (await cache.get("a")).value, source.asked

    assert asyncio.run(ask()) == ("a #1", ["a"])


def test_a_failure_is_raised_to_those_who_waited_and_the_next_asks_anew():
    async def ask():
        source = Source(fails=1)
        cache = source.cache()
        failed = await asyncio.gather(cache.get("a"), cache.get("a"), return_exceptions=True)
        return [type(error) for error in failed], (await cache.get("a")).value

    assert asyncio.run(ask()) == ([OSError, OSError], "a #2")


def test_the_oldest_entries_leave_when_it_is_full():
    async def ask():
        source = Source(lifetime=60.0)
        cache = source.cache(size=2)
        await cache.get("a")
        await cache.get("b")
        source.now += 60
        await cache.get("a")  # renewed: now b is the oldest
        await cache.get("c")
        return [name for name in "abc" if cache.held(name)]

    assert asyncio.run(ask()) == ["a", "c"]
