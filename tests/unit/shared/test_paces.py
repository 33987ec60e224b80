"""How mail is shared out over time: tables over what is remembered of a pace."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.paces import Spent, spend

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NEVER = Spent(NOW - timedelta(days=1), NOW - timedelta(days=1))


@pytest.mark.parametrize(
    ("interval", "spent", "wanted", "now", "waits"),
    [
        (6 * SECOND, NEVER, 1, 1, []),
        (6 * SECOND, NEVER, 3, 1, [6, 12]),  # the others one by one
        (0.1 * SECOND, NEVER, 100, 10, [0.1 * n for n in range(1, 91)]),  # a second's mails at once
        (6 * SECOND, Spent(NOW + 4 * SECOND, NEVER.promised), 2, 0, [4, 10]),
        (6 * SECOND, Spent(NOW + 6 * SECOND, NOW + 12 * SECOND), 2, 0, [18, 24]),  # behind those who wait already
        (6 * SECOND, Spent(NOW, NOW + 12 * SECOND), 1, 1, []),  # it is the turn of one of them
        (6 * SECOND, NEVER, 0, 0, []),
    ],
)
def test_so_many_go_now_and_the_others_one_after_another(interval, spent, wanted, now, waits):
    share, _ = spend(spent, interval, wanted, NOW)
    assert share.now == now
    assert [wait.total_seconds() for wait in share.waits] == pytest.approx(waits)


@pytest.mark.parametrize("interval_s", [0.0001, 0.07, 1, 6, 3600])
def test_whoever_comes_again_at_his_time_may_go(interval_s):
    interval, spent, now, gone = timedelta(seconds=interval_s), NEVER, NOW, 0
    coming = [NOW] * 50
    while coming:
        now = min(coming)
        wanted = coming.count(now)
        coming = [time for time in coming if time != now]
        share, spent = spend(spent, interval, wanted, now)
        gone += share.now
        coming += [now + wait for wait in share.waits]
        assert gone <= (now - NOW) / interval + max(1, SECOND / interval) + 1e-6  # never more than the pace allows
    assert gone == 50
    assert now - NOW <= 50 * interval + SECOND
