"""The soak in short, on PostgreSQL with two schedulers, of which one goes on while the other is away."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.short_soak import assert_nothing_is_wrong, short_soak

pytestmark = pytest.mark.timeout(300)

HARMS = (
    "SIGTERM scheduler",
    "SIGTERM resolver",
    "kill -9 one of each role",
    "SIGSTOP sender 5 s",
    "store locked 10 s",
    "restart PostgreSQL",
    "PostgreSQL crashes",
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that PostgreSQL's own user may enter; pytest's are for whoever runs it alone."""
    with tempfile.TemporaryDirectory(prefix="pillarbox-soak-") as name:
        yield Path(name)


def test_none_is_lost_none_comes_twice_without_a_doubt_and_after_each_harm_all_work_again_within_30_s(folder: Path):
    with short_soak(folder, HARMS, store="postgres", schedulers=2) as soak:
        assert_nothing_is_wrong(soak, HARMS)
