"""Rates from two looks at the scheduler's counts."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from shared.stages import Sample, with_rates

START = datetime(2026, 3, 1, tzinfo=UTC)
BEFORE = Sample(time=START, queues={}, states={}, totals={"delivered": 100}, revision=1, scheduler=True)


def after(seconds: float, totals: dict[str, int]) -> Sample:
    return msgspec.structs.replace(BEFORE, time=START + timedelta(seconds=seconds), totals=totals)


@pytest.mark.parametrize(
    ("sample", "rates"),
    [
        (after(2, {"delivered": 300}), {"delivered": 100.0}),
        (after(2, {"delivered": 100, "bounced": 5}), {"delivered": 0.0}),  # a count that is new has no rate yet
        (after(2, {"delivered": 7}), {}),  # the scheduler was started anew
        (after(2, {}), {}),  # it did not answer
        (after(0, {"delivered": 300}), {}),
    ],
)
def test_a_rate_is_what_was_added_per_second(sample, rates):
    assert with_rates(sample, BEFORE).rates == rates


def test_the_first_look_has_no_rates():
    assert with_rates(BEFORE, None).rates == {}
