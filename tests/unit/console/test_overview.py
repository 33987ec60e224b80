"""What the overview makes of one look."""

from datetime import UTC, datetime

import msgspec
import pytest

from services.console.pages.overview import stages, tiles
from shared.contracts.answers import StageTime
from shared.stages import Sample
from shared.topology import LANES, OUTCOME, RESOLVE, SUBMIT, lane_queue

QUEUES: dict[str, int | None] = {SUBMIT: 1, RESOLVE: 2, OUTCOME: 3, **{lane_queue(lane): 10 for lane in range(LANES)}}
STATES = {"held": 50, "releasing": 1, "released": 20, "claimed": 4, "deferred": 7, "in_doubt": 0}
TIMES = [StageTime(stage="admission", median=0.02, most=0.1, mails=9)]
SEEN = Sample(
    time=datetime(2026, 3, 1, tzinfo=UTC),
    queues=QUEUES,
    states=STATES,
    totals={},
    revision=1,
    times=TIMES,
    scheduler=True,
    rates={"delivered": 8.0, "bounced": 2.0, "admitted": 11.0},
)
SILENT = Sample(time=SEEN.time, queues=QUEUES, states={}, totals={}, revision=None, scheduler=False)


def counts(sample: Sample) -> dict[str, int | None]:
    return {tile.name: tile.count for tile in tiles(sample)}


def waiting(sample: Sample) -> dict[str, int | None]:
    return {stage.name: stage.waiting for stage in stages(sample)}


def test_what_can_be_taken_back_and_what_is_on_its_way():
    assert counts(SEEN) == {"Held": 50, "Due": 25, "Deferred": 7, "In doubt": 0, "Dead letters": None}


def test_whose_time_has_come_is_due_whether_it_was_held_or_deferred():
    late = msgspec.structs.replace(SEEN, overdue={"held": 40, "deferred": 2})
    assert counts(late) == {"Held": 10, "Due": 67, "Deferred": 5, "In doubt": 0, "Dead letters": None}
    assert (waiting(late)["Hold"], waiting(late)["Release"]) == (10, 43)


def test_the_stages_and_how_fast_they_move():
    assert waiting(SEEN) == {
        "Admission": 1,
        "Hold": 50,
        "Release": 1,
        "Route": 2,
        "Lanes": 10 * LANES,
        "Delivery": 4,
        "Outcome": 3,
    }
    rates = {stage.name: stage.rate for stage in stages(SEEN) if stage.rate is not None}
    assert rates == {"Admission": 11.0, "Delivery": 8.0, "Outcome": 10.0}
    assert {stage.name: stage.time for stage in stages(SEEN) if stage.time} == {"Admission": TIMES[0]}


@pytest.mark.parametrize("name", ["Held", "Due", "Deferred", "In doubt"])
def test_without_the_scheduler_nothing_is_claimed_of_the_store(name):
    assert counts(SILENT)[name] is None
    assert waiting(SILENT)["Admission"] == 1
