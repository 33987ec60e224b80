"""Rates from two looks at the scheduler's counts."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from cli.watch import Sample, with_rates
from cli.worker_counts import STAGES, counts_in
from shared import metrics

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


PAGE = """# TYPE pillarbox_mails_claimed_total counter
pillarbox_mails_claimed_total 7.0
# TYPE pillarbox_recipients_tried_total counter
pillarbox_recipients_tried_total 5.0
# TYPE pillarbox_smtp_connections gauge
pillarbox_smtp_connections 2.0
"""


def test_the_counts_of_stages_are_found_on_a_page_of_metrics():
    assert counts_in(PAGE) == {"claimed": 7, "tried": 5}


def test_every_stage_is_counted_by_some_worker():
    pages = {sample.name for family in metrics.REGISTRY.collect() for sample in family.samples}
    assert set(STAGES.values()) <= pages


@pytest.mark.parametrize(
    ("now", "before", "rates"),
    [
        ({"sender-1": {"claimed": 30}}, {"sender-1": {"claimed": 10}}, {"claimed": 10.0}),
        (
            {"sender-1": {"claimed": 30}, "sender-2": {"claimed": 12}, "resolver": {"routed": 8}},
            {"sender-1": {"claimed": 10}, "sender-2": {"claimed": 10}, "resolver": {"routed": 8}},
            {"routed": 0.0, "claimed": 11.0},
        ),
        ({"sender-1": {"claimed": 3}}, {"sender-1": {"claimed": 10}}, {}),  # started anew
        ({"sender-2": {"claimed": 3}}, {"sender-1": {"claimed": 10}}, {}),  # another one
        ({}, {}, {}),
    ],
)
def test_the_rate_of_a_stage_is_that_of_all_its_workers(now, before, rates):
    former = msgspec.structs.replace(BEFORE, workers=before)
    assert with_rates(msgspec.structs.replace(after(2, {"delivered": 100}), workers=now), former).stages == rates


def test_the_first_look_has_no_rates():
    assert with_rates(BEFORE, None).rates == {}
