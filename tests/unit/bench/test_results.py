"""The arithmetic of the benchmarks."""

import pytest

from bench.mails import message
from bench.results import RATE, Cost, Goal, Measurement, median_costs, medians_of, percentile, ratios_of
from bench.show import shown


def _measurement(rate: float, *costs: Cost) -> Measurement:
    return Measurement(figures={RATE: rate}, costs=list(costs), others=0.0)


def _cost(process: str, cpu_us_per_mail: float) -> Cost:
    return Cost(process=process, cpu_us_per_mail=cpu_us_per_mail, peak_mib=10.0, processes=1)


@pytest.mark.parametrize("size", [512, 4095, 4096, 4097, 4160, 4161, 102_400])
def test_a_message_has_exactly_the_size_asked_for_and_lines_that_smtp_allows(size: int) -> None:
    content = message(size)

    assert len(content) == size
    lines = content.split(b"\r\n")
    assert lines.pop() == b""
    assert max(map(len, lines)) <= 998  # RFC 5321 section 4.5.3.1.6
    assert b"\n" not in b"".join(lines)


def test_the_ratio_is_the_median_of_the_rounds_own_ratios_not_the_ratio_of_medians() -> None:
    rates = [(1000.0, 200.0), (500.0, 125.0), (1000.0, 500.0)]
    rounds = [{"ours": _measurement(ours), "theirs": _measurement(theirs)} for ours, theirs in rates]

    assert medians_of(rounds) == {"ours": {RATE: 1000.0}, "theirs": {RATE: 200.0}}
    assert ratios_of(rounds, [("ours", "theirs")]) == {"ours / theirs": 4.0}


def test_a_process_seen_in_some_rounds_only_counts_with_the_median_of_those() -> None:
    rounds = [_measurement(1, _cost("qmgr", cpu)) for cpu in (10, 30, 20)]
    rounds[1].costs.append(_cost("bounce", 7))

    assert [(cost.process, cost.cpu_us_per_mail) for cost in median_costs(rounds)] == [("qmgr", 20), ("bounce", 7)]


@pytest.mark.parametrize(
    ("figure", "expected"),
    [(1234.5, "1,234"), (100.0, "100"), (99.96, "100"), (19.44, "19.4"), (1.984, "1.98"), (0.00321, "0.00321")],
)
def test_a_figure_is_shown_with_as_many_places_as_say_something(figure: float, expected: str) -> None:
    assert shown(figure) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, 1),
        (99, 99),
        (100, 99),  # one of a hundred may be longer
        (101, 100),
        (200, 198),
    ],
)
def test_of_a_hundred_one_exceeds_the_99th_percentile(count: int, expected: int) -> None:
    assert percentile(list(range(count, 0, -1)), 0.99) == expected


@pytest.mark.parametrize(
    ("goal", "figure", "expected"),
    [
        (Goal("≥", 18), 18.0, True),
        (Goal("≥", 18), 17.9, False),
        (Goal("≤", 50), 50.0, True),
        (Goal("≤", 50), 50.1, False),
    ],
)
def test_a_goal_is_met_at_its_bound(goal: Goal, figure: float, expected: bool) -> None:
    assert goal.met(figure) is expected
