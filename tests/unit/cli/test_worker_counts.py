"""What the workers have counted: read from their pages of metrics, and the rates of two looks."""

import pytest

from cli.worker_counts import STAGES, counts_in, stage_rates
from shared import metrics

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
    assert stage_rates(now, before, 2.0) == rates
