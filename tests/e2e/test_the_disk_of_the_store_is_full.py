"""The disk of the store is full: workers say so once and wait; when there is room again, all goes on by itself."""

import time

import pytest

from tests.support.pipeline import relay_to
from tests.support.small_disk import filled, small_disk

_ENOUGH_MIB = 80
_BACK_WITHIN_S = 30.0


def test_mail_waits_in_the_broker_until_there_is_room_again(start_pipeline, sink, tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    with small_disk(folder, _ENOUGH_MIB) as mounted:
        if not mounted:
            pytest.skip("only root may mount a disk, and not in every container")
        pipeline = start_pipeline(relay_to(sink), store_url=f"sqlite:///{folder}/mail.db")
        before = pipeline.submit_many(20)
        pipeline.wait_for_each_once(sink, before)
        scheduler = pipeline.of("scheduler")[0]
        with filled(folder):
            meanwhile = pipeline.submit_many(30)  # each is confirmed by the broker
            scheduler.wait_for_log("store_unavailable")
        freed = time.monotonic()
        pipeline.wait_for_each_once(sink, [*before, *meanwhile], _BACK_WITHIN_S)
        assert time.monotonic() - freed < _BACK_WITHIN_S
        pipeline.assert_no_crash()
        # A small transaction may have found room in between; each time is said once, and its end, too.
        said = scheduler.logged("store_unavailable")
        assert len(said) == len(scheduler.logged("store_unavailable_over"))
        assert all(f"{folder}/mail.db" in line and "make room on its disk" in line for line in said)
        pipeline.stop(*pipeline.workers)
