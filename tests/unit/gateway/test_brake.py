"""Guesses are spaced out."""

from services.gateway.brake import Brake

HERE, THERE = "192.0.2.1", "192.0.2.2"


def failed(times: int, at: float = 0.0) -> Brake:
    brake = Brake()
    for _ in range(times):
        brake.failed(HERE, at)
    return brake


def test_who_mistypes_twice_waits_for_nothing():
    assert failed(2).wait(HERE, 0.0) == 0.0


def test_each_further_failure_doubles_the_wait():
    assert [failed(count).wait(HERE, 0.0) for count in (3, 4, 5, 6, 7)] == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_what_would_wait_too_long_is_refused():
    assert failed(9).wait(HERE, 0.0) is None
    assert failed(9).wait(HERE, 40.0) == 24.0


def test_guesses_that_come_together_wait_one_after_another():
    brake = failed(5)
    assert [brake.wait(HERE, 0.0) for _ in range(3)] == [4.0, 8.0, 12.0]


def test_others_wait_for_nothing():
    assert failed(9).wait(THERE, 0.0) == 0.0


def test_it_is_forgiven_after_a_while():
    brake = failed(9)
    assert brake.wait(HERE, 601.0) == 0.0
    brake.failed(HERE, 601.0)
    assert brake.wait(HERE, 601.0) == 0.0


def test_it_remembers_no_more_addresses_than_it_may():
    brake = failed(9)
    for number in range(10_000):
        brake.failed(f"net {number}", 1.0)
    assert brake.wait(HERE, 1.0) == 0.0
