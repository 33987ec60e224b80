"""Mails a minute."""

import pytest

from services.gateway.rates import Rates


def test_a_minutes_worth_goes_at_once_and_the_rest_evenly():
    rates = Rates()
    assert [rates.take("shop", 3, 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert rates.take("shop", 3, 0.0) == pytest.approx(20.0)
    assert rates.take("shop", 3, 10.0) == pytest.approx(10.0)
    assert rates.take("shop", 3, 20.0) == 0.0
    assert rates.take("shop", 3, 20.0) > 0


def test_each_account_has_its_own():
    rates = Rates()
    assert rates.take("shop", 1, 0.0) == 0.0
    assert rates.take("shop", 1, 0.0) == pytest.approx(60.0)
    assert rates.take("news", 1, 0.0) == 0.0


def test_nothing_is_saved_up_beyond_a_minute():
    rates = Rates()
    rates.take("shop", 2, 0.0)
    assert [rates.take("shop", 2, 3600.0) > 0 for _ in range(3)] == [False, False, True]
