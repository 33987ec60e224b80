"""What the supervisor reads and says."""

import pytest

from cli.child import Ready, ready_line
from cli.keeper import how_it_ended


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"", None),
        (b"time=1 event=starting\n", None),
        (b"time=1 event=starting\ntime=2 event=ready metrics_port=9100\ntime=3 event=x\n", Ready(9100)),
        (b"time=2 event=ready metrics_port=\n", Ready(None)),
        (b"time=2 event=ready metrics_port=91", None),  # still being written
        (b"time=2 event=already metrics_port=1\n", None),
    ],
)
def test_a_worker_is_ready_when_its_log_says_so(said, expected):
    assert ready_line(said) == expected


@pytest.mark.parametrize(("code", "words"), [(1, "ended with 1"), (-9, "was ended by signal 9")])
def test_an_end_is_told_in_words(code, words):
    assert how_it_ended(code) == words
