"""The prefetch becomes smaller while messages are large, and what it was when they are small again."""

import pytest

from shared.broker.window import Window

BOUND = 1000
FULL = 100


def after(*sizes: int, done: bool = False) -> list[int]:
    """The prefetches of the subscriptions that follow each other when so large messages come; `done`: each is acked."""
    window = Window(FULL, BOUND)
    widths = [window.opened()]
    for size in sizes:
        if not window.came(size):
            widths.append(window.opened())
        elif done:
            window.done(size)
    return widths


@pytest.mark.parametrize(
    ("sizes", "done", "widths"),
    [
        ([1] * 100, False, [100]),
        ([10] * 100, False, [100]),  # just fits
        ([10] * 101, False, [100]),  # a hundred of these may be in hand: fewer would not be less
        ([400, 400], False, [100]),
        ([400, 400, 400], False, [100, 2]),
        ([5000], False, [100, 1]),  # one larger than all there is comes alone
        ([400] * 1000, True, [100]),  # one after another, each acknowledged at once
        ([5000, 400, 400], True, [100, 1]),
        ([5000] + [1] * 49, True, [100, 1]),
        ([5000] + [1] * 50, True, [100, 1, 100]),  # calm again
        ([5000] + ([1] * 49 + [11]) * 5, True, [100, 1]),  # never calm: a hundred of 11 octets are too many
    ],
)
def test_the_prefetch_follows_the_sizes(sizes, done, widths):
    assert after(*sizes, done=done) == widths


def test_without_a_bound_nothing_changes():
    window = Window(FULL, None)
    assert all(window.came(10**9) for _ in range(100))
    assert window.opened() == FULL


def test_what_is_acknowledged_is_in_hand_no_more():
    window = Window(FULL, BOUND)
    for _ in range(5):
        window.came(100)
    for _ in range(5):
        window.done(100)
    assert window.empty
    assert window.octets == 0
