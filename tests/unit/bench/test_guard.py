"""What counts as fallen back, and what is kept."""

from pathlib import Path

import pytest

from bench import guard
from bench.results import CPU, RATE, Calibration, Cost, Finding, Measurement, Plan


def _measurement(rate: float, *, cpu_us: float = 400.0, loop: Calibration | None = None) -> Measurement:
    cost = Cost(process="sender", cpu_us_per_mail=cpu_us, peak_mib=1.0, processes=1)
    return Measurement(figures={RATE: rate, "median, ms": 3.0}, others=0.0, costs=[cost], calibration=loop)


def _findings(*measurements: Measurement) -> list[Finding]:
    finding = Finding(
        case="relay",
        what="",
        plan=Plan(mails=1, rounds=len(measurements), senders=1),
        rounds=[{"Pillarbox": each} for each in measurements],
        medians={"Pillarbox": {RATE: 1.0}},
        ratios={},
        took_s=1.0,
    )
    return [finding]


def _figures(**figures: float) -> guard.Figures:
    return {"relay": {"Pillarbox": figures}}


def test_a_figure_is_the_median_of_the_rounds_each_in_times_of_its_own_loop() -> None:
    loops = [(1000.0, 10_000.0), (600.0, 2_000.0), (500.0, 1_000.0)]
    findings = _findings(*(_measurement(rate, loop=Calibration(rate=loop, cpu_us=100.0)) for rate, loop in loops))

    assert guard.figures_of(findings) == {"relay": {"Pillarbox": {RATE: 0.3, CPU: 4.0}}}


def test_what_was_not_calibrated_is_not_compared() -> None:
    assert guard.figures_of(_findings(_measurement(1000.0))) == {}


@pytest.mark.parametrize(
    ("figure", "was", "now", "is_worse"),
    [
        (RATE, 0.5, 0.36, False),  # less by 28 %
        (RATE, 0.5, 0.34, True),
        (RATE, 0.5, 5.0, False),  # better is well
        (CPU, 10.0, 11.9, False),  # more by 19 %
        (CPU, 10.0, 12.1, True),
        (CPU, 10.0, 1.0, False),
    ],
)
def test_a_rate_may_fall_and_processor_time_may_grow_by_so_much(
    figure: str, was: float, now: float, is_worse: bool
) -> None:
    sentences = guard.fallen_back(_figures(**{figure: was}), _figures(**{figure: now}))

    assert len(sentences) == is_worse
    assert all(sentence.startswith(f"relay: Pillarbox: {figure} fell back") for sentence in sentences)


def test_a_figure_that_nothing_is_kept_of_is_named() -> None:
    assert guard.fallen_back({}, _figures(CPU=1.0)) == [
        "relay: Pillarbox: CPU: nothing is kept to compare it with: keep it with --keep"
    ]


def test_a_case_that_was_not_run_is_not_compared_and_stays_kept(tmp_path: Path) -> None:
    file = tmp_path / "expected.json"
    guard.write({"hold": {"Pillarbox": {CPU: 2.0}}}, file)
    guard.write(_figures(CPU=1.23456), file)

    assert guard.read(file) == {"hold": {"Pillarbox": {CPU: 2.0}}, "relay": {"Pillarbox": {CPU: 1.23}}}
    assert guard.fallen_back(guard.read(file), _figures(CPU=1.23)) == []
