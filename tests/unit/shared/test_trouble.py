"""Trouble that lasts is said when it begins, once a minute, and when it is over."""

import pytest
from structlog.testing import capture_logs

from shared.trouble import Trouble

CASES = [
    ([("full", 0)], ["away: full"]),
    ([("full", 0), ("full", 1), ("full", 59)], ["away: full"]),  # once, however often it is met
    ([("full", 0), ("full", 60), ("full", 100), ("full", 120)], ["away: full"] * 3),  # once a minute
    ([("full", 0), ("locked", 1), ("locked", 2)], ["away: full", "away: locked"]),  # another reason, at once
    ([("full", 0), (None, 7)], ["away: full", "away_over: 7"]),
    ([("full", 0), (None, 7), ("full", 8)], ["away: full", "away_over: 7", "away: full"]),  # it is new again
    ([(None, 0)], []),  # there was none
    ([("full", 0), ("locked", 5), (None, 9)], ["away: full", "away: locked", "away_over: 9"]),  # one trouble
]


@pytest.mark.parametrize(("course", "said"), CASES)
def test_it_is_said_when_it_begins_now_and_then_and_when_it_is_over(course, said):
    now = 0.0
    trouble = Trouble("away", clock=lambda: now, store="s")
    with capture_logs() as log:
        for reason, now in course:  # noqa: B007 - the clock reads it
            trouble.over() if reason is None else trouble.seen(reason, next="wait")
    assert [f"{line['event']}: {line.get('reason', line.get('lasted_s'))}".removesuffix(".0") for line in log] == said
    assert all(line["store"] == "s" for line in log)
