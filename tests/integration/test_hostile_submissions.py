"""What submissions that are meant to harm cost: each is judged in a process of its own, of limited time and memory."""

import pytest

from shared.limits import MAX_HEAD, MAX_HEADERS, MAX_RECIPIENTS
from tests.support.hostile import SUBMISSIONS, judged

SMALL, LARGE, HUGE = 5_000, 40_000, 5_000_000  # octets

# Eight times as much may take eight times as long; what grows with the square would take sixty-four times.
MOST_GROWTH = 32
FLOOR_S = 0.01  # below it everything is alike

REFUSED_UNREAD = {
    "at signs in to": "to: has 5000002 octets; takes, with all fields but text, html, attachments, at most",
    "empty lists": "x: there is no such field",
    "empty lists in msgpack": "x: there is no such field",
    "a field a hundred times": "octets that belong to no field; takes each field once",
    "recipients": "to: has",
    "short recipients in msgpack": "to: has",
    "headers": "headers: has",
    "headers in msgpack": "headers: has",
    "a long subject": "subject: has",
    "a number for hold": "hold: has",
    "attachments": "attachments: has",
    "headers of a finished message": f"takes at most {MAX_HEAD} in all",
    "folds": f"takes at most {MAX_HEAD} in all",
    "bare line feeds without end": f"takes at most {MAX_HEAD} in all",
    "no header": f"takes at most {MAX_HEAD} in all",
    "large messages within messages": "in a part more than 5 parts deep",
    "headers of a part": "in a part whose headers have over 65536 octets",
}
MOST_MEMORY = 150_000_000  # octets, for five million


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_judging_takes_no_more_than_its_share_for_each_octet(name):
    small, large = judged(name, SMALL), judged(name, LARGE)
    assert (small.broke, large.broke) == ("", "")
    assert large.cpu_s < MOST_GROWTH * max(small.cpu_s, FLOOR_S)


@pytest.mark.parametrize(("name", "says"), REFUSED_UNREAD.items())
def test_what_would_become_a_mass_of_objects_is_refused_before_it_does(name, says):
    cost = judged(name, HUGE)
    assert cost.broke == ""
    assert says in cost.verdict
    assert cost.memory < MOST_MEMORY


@pytest.mark.parametrize(
    "name", ["line ends", "control characters", "short lines", "bare line feeds", "escapes", "small parts"]
)
def test_a_large_mail_is_composed_in_little_more_memory_than_it_needs(name):
    cost = judged(name, HUGE)
    assert (cost.broke, cost.verdict) == ("", "admitted")
    assert cost.memory < MOST_MEMORY


@pytest.mark.parametrize(
    ("name", "octets", "says"),
    [
        ("recipients in one text", 200_000, f"takes at most {MAX_RECIPIENTS} in one mail"),
        ("the same recipient", 200_000, f"14285 recipients; takes at most {MAX_RECIPIENTS} in one mail"),
        ("headers", 20_000, f"headers: has 1666; takes at most {MAX_HEADERS}"),
        ("headers of a finished message", 20_000, f"takes at most {MAX_HEADERS}"),
    ],
)
def test_what_is_counted_is_named_with_its_limit(name, octets, says):
    assert says in judged(name, octets).verdict
