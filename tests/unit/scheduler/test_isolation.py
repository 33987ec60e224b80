"""What fails for a reason that nobody planned for is given up alone; the others of its batch are done."""

import asyncio
from collections.abc import Sequence

import pytest

from services.scheduler.isolation import each_or_alone
from shared.dead import NotPutAside
from shared.store_trouble import StoreAway, StoreUnusable


class Desk:
    """Takes numbers, and fails over some."""

    def __init__(self, failures: dict[int, Exception]) -> None:
        self.failures = failures
        self.batches: list[list[int]] = []
        self.given_up: list[tuple[int, str]] = []

    async def take(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if number in self.failures:
                raise self.failures[number]
        self.batches.append(list(numbers))

    async def give_up(self, number: int, error: Exception) -> None:
        self.given_up.append((number, str(error)))

    def run(self, *numbers: int) -> None:
        asyncio.run(each_or_alone(numbers, self.take, self.give_up))


@pytest.mark.parametrize(
    ("numbers", "bad", "batches"),
    [
        ([1, 2, 3], [], [[1, 2, 3]]),
        ([1, 2, 3], [2], [[1], [3]]),
        ([1, 2, 3], [1, 3], [[2]]),
        ([1], [1], []),
        ([], [], [[]]),
    ],
)
def test_only_what_fails_alone_is_given_up(numbers, bad, batches):
    desk = Desk({number: ValueError(f"no {number}") for number in bad})
    desk.run(*numbers)
    assert desk.batches == batches
    assert desk.given_up == [(number, f"no {number}") for number in bad]


@pytest.mark.parametrize("trouble", [StoreAway("full", ""), StoreUnusable("broken", ""), NotPutAside("full")])
def test_trouble_with_the_store_or_the_broker_is_no_fault_of_a_message(trouble):
    desk = Desk({2: trouble})
    with pytest.raises(type(trouble)):
        desk.run(1, 2, 3)
    assert desk.given_up == []
