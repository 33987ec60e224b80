"""The receiver of a soak misbehaves at the rates it states, and again in the same way under the same seed."""

from collections import Counter

import pytest

from soak.sink import Fate, Moods, Rates

IDS = [f"m{number}" for number in range(30_000)]


def fates(seed: int) -> Counter[Fate]:
    moods, found = Moods(seed, Rates()), Counter[Fate]()
    for id in IDS:
        answer = moods.at_rcpt(id)
        found[moods.at_data(id) if answer == "taken" else answer] += 1
    return found


def test_each_fate_comes_at_its_rate():
    found = fates(1)
    for fate, rate in Rates()._asdict().items():
        assert found[fate] / len(IDS) == pytest.approx(rate, rel=0.4)  # type: ignore[index]  # its fields are fates


def test_a_seed_repeats_a_run():
    assert fates(1) == fates(1) != fates(2)


def test_a_refusal_is_for_good_and_all_else_passes():
    moods = Moods(1, Rates())
    refused = {id for id in IDS if moods.at_rcpt(id) == "refused"}
    moods = Moods(1, Rates(full=0.5, deferred=0.5))
    for id in IDS[:200]:
        answers = [moods.at_rcpt(id) for _ in range(50)]
        assert set(answers) == {"refused"} if id in refused else "taken" in answers
