"""Durations as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.durations import Duration, format_duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1w", 604_800),
        ("1w2d3h4m5s", 604_800 + 2 * 86_400 + 3 * 3600 + 4 * 60 + 5),
        ("1.5h", 5400),
        ("0.25s", 0.25),
        (" 5M ", 300),
        ("0", 0),
        ("0s", 0),
        (0, 0),
        (90, 90),
        (0.5, 0.5),
        ("90m", 5400),
        ("3650d", 3650 * 86_400),
        (3650 * 86_400, 3650 * 86_400),
    ],
)
def test_a_duration_is_read(written, seconds):
    assert Duration.parse(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "written",
    [
        "", " ",
        "5", "5 m", "m", "-5m", "5m!", "five minutes", "1y", "1e3s", ".5s", "5.s", "5m\n3x", "1h 30m", "inf",
        "nan", "3651d", "999999999999d", "9" * 500 + "s", -1, -0.001, 1e300, 10**400, -(10**400), float("nan"),
        float("inf"), float("-inf"), True, False, None, [], {}, b"5m", timedelta(minutes=5),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_what_is_taken(written):
    with pytest.raises(ValueError, match='takes a duration such as "90s"'):
        Duration.parse(written)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=1), "1s"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(days=1), "1d"),
        (timedelta(days=9, seconds=1), "9d1s"),
        (timedelta(milliseconds=250), "0.25s"),
        (timedelta(minutes=1, milliseconds=1), "1m0.001s"),
        (timedelta(seconds=59, milliseconds=999), "59.999s"),
        (timedelta(seconds=59, microseconds=999_900), "1m"),  # rounded, and not to 60s
        (timedelta(microseconds=1), "0s"),
    ],
)
def test_a_duration_is_written_the_way_it_is_read(span, text):
    assert format_duration(span) == str(Duration(seconds=span.total_seconds())) == text


@given(st.integers(0, 3650 * 86_400 * 1000))
def test_what_is_written_is_read_again_to_the_millisecond(milliseconds):
    span = timedelta(milliseconds=milliseconds)
    assert Duration.parse(format_duration(span)) == span


@given(st.text(max_size=20) | st.floats() | st.integers())
def test_whatever_is_taken_is_between_nothing_and_ten_years(written):
    try:
        duration = Duration.parse(written)
    except ValueError:
        return
    assert timedelta(0) <= duration <= timedelta(days=3650)
