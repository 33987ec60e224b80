"""When a deferred recipient is tried again: the schedule, its jitter, and the last try at the give-up time."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.retry import Again, GiveUp, next_try
from shared.durations import Duration
from shared.settings import Retry

BEGUN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NEVER = BEGUN + timedelta(days=3650)
DEFAULT = Retry(jitter=0)


def minutes(*numbers: float) -> tuple[Duration, ...]:
    return tuple(Duration(minutes=number) for number in numbers)


def wait_after(attempt: int, retry: Retry = DEFAULT, chance: random.Random | None = None) -> timedelta:
    again = next_try(attempt, BEGUN, NEVER, BEGUN, retry, chance or random.Random(1))
    assert isinstance(again, Again)
    return again.at - BEGUN


@pytest.mark.checklist(144)
@pytest.mark.parametrize(
    ("attempt", "expected"),
    [(1, 5), (2, 10), (3, 20), (4, 40), (5, 80), (6, 150), (7, 150), (8, 150), (1000, 150), (10**9, 150)],
)
def test_the_default_schedule_doubles_and_then_repeats_its_last_wait(attempt, expected):
    assert wait_after(attempt) == timedelta(minutes=expected)


@pytest.mark.checklist(144, 148)
@pytest.mark.parametrize(
    ("schedule", "attempt", "expected_s"),
    [
        (minutes(1), 1, 60),
        (minutes(1), 9, 60),
        (minutes(1, 2, 3), 3, 180),
        ((Duration(seconds=0.4),), 1, 0.4),  # a fraction is not cut away
        ((Duration(seconds=1.5), Duration(seconds=2.5)), 2, 2.5),
        ((Duration(0),), 1, 0),
    ],
)
def test_an_own_schedule_is_followed_to_the_fraction(schedule, attempt, expected_s):
    assert wait_after(attempt, Retry(schedule=schedule, jitter=0)) == timedelta(seconds=expected_s)


@pytest.mark.checklist(148)
@pytest.mark.parametrize("jitter", [0.0, 0.2, 0.5])
def test_the_jitter_keeps_within_its_share_and_uses_all_of_it(jitter):
    chance = random.Random(7)
    waits = [wait_after(1, Retry(jitter=jitter), chance).total_seconds() for _ in range(2000)]
    assert 300 * (1 - jitter) <= min(waits) <= 300 * (1 - jitter * 0.98)
    assert 300 * (1 + jitter * 0.98) <= max(waits) <= 300 * (1 + jitter)


@pytest.mark.checklist(148)
def test_two_mails_deferred_together_are_not_tried_together():
    chance = random.Random(7)
    assert wait_after(1, Retry(), chance) != wait_after(1, Retry(), chance)


@pytest.mark.parametrize(
    ("now", "give_up", "expected"),
    [
        (timedelta(hours=1), timedelta(hours=2), Again(BEGUN + timedelta(hours=1, minutes=5))),
        (timedelta(minutes=117), timedelta(hours=2), Again(BEGUN + timedelta(hours=2))),  # the last one, at the end
        (timedelta(minutes=115), timedelta(hours=2), Again(BEGUN + timedelta(hours=2))),
        (timedelta(hours=2), timedelta(hours=2), GiveUp()),
        (timedelta(hours=2, milliseconds=1), timedelta(hours=2), GiveUp()),
        (timedelta(hours=2, milliseconds=-1), timedelta(hours=2), Again(BEGUN + timedelta(hours=2))),
        (timedelta(days=9), timedelta(hours=2), GiveUp()),
        (timedelta(0), timedelta(0), GiveUp()),  # give_up_after = 0: one try
        (timedelta(seconds=1), timedelta(0), GiveUp()),
    ],
)
def test_the_last_try_is_at_the_give_up_time_and_what_fails_then_is_given_up(now, give_up, expected):
    assert next_try(1, BEGUN, BEGUN + give_up, BEGUN + now, DEFAULT, random.Random(1)) == expected


def test_a_give_up_time_before_the_admission_gives_up():
    assert next_try(1, BEGUN, BEGUN - timedelta(days=1), BEGUN, DEFAULT, random.Random(1)) == GiveUp()


@given(
    st.integers(1, 500),
    st.timedeltas(timedelta(0), timedelta(days=30)),
    st.timedeltas(timedelta(0), timedelta(days=10)),
    st.integers(),
)
def test_the_next_try_is_never_before_now_nor_after_the_give_up_time(attempt, elapsed, give_up, seed):
    now, end = BEGUN + elapsed, BEGUN + give_up
    match next_try(attempt, BEGUN, end, now, Retry(), random.Random(seed)):
        case Again(at):
            assert now <= at <= end
        case GiveUp():
            assert now >= end - timedelta(microseconds=1)


@pytest.mark.checklist(146)
def test_a_mail_deferred_every_time_is_tried_for_its_whole_time_and_then_given_up():
    now, attempt, tries = BEGUN, 1, []
    end = BEGUN + timedelta(days=5)
    while isinstance(again := next_try(attempt, BEGUN, end, now, Retry(), random.Random(attempt)), Again):
        assert again.at > now
        now, attempt = again.at, attempt + 1
        tries.append(now)
    assert tries[-1] == end
    in_the_first_hour = sum(at - BEGUN < timedelta(hours=1) for at in tries)
    assert in_the_first_hour in (2, 3)  # soon enough for greylisting, which asks for five minutes to half an hour
    assert 40 < len(tries) < 70  # every two to three hours for five days (RFC 5321 section 4.5.4.1)
