"""Many mails are published in chunks."""

import pytest

from cli.send import Parcel, in_chunks
from shared.broker import Message


def parcels(*sizes: int) -> list[Parcel]:
    return [Parcel(str(number), "x", Message("e", "", b"x" * size)) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "chunks"),
    [
        ((), []),
        ((1,), [1]),
        ((1,) * 2001, [1000, 1000, 1]),
        ((20_000_000, 20_000_000, 1), [1, 2]),  # no more than 32 MiB at a time
        ((40_000_000, 1), [1, 1]),  # but each one goes
    ],
)
def test_a_chunk_is_bounded_by_count_and_size(sizes, chunks):
    assert [len(chunk) for chunk in in_chunks(parcels(*sizes))] == chunks
