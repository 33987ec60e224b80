"""Places for contents in memory."""

import pytest

from services.gateway.room import Room, Share, largest


def test_what_one_mail_takes_another_can_not():
    room = Room(100)
    first, second = Share(room, 1000), Share(room, 1000)
    assert first.take(80)
    assert not second.take(30)
    assert second.refusal.startswith("452 4.3.1 ")
    first.give_back()
    assert Share(room, 1000).take(100)


def test_a_mail_that_is_too_large_gives_its_place_back_at_once():
    room = Room(200_000)
    share = Share(room, 1000)
    assert share.take(60_000)
    assert not share.take(60_000)
    assert share.refusal == "552 5.3.4 the mail is too large; takes 1000 octets"
    assert not share.take(1)  # what has begun to be thrown away has no sense any more
    assert Share(room, 200_000).take(200_000)
    share.give_back()
    assert not Share(room, 200_000).take(1)


@pytest.mark.parametrize(("max_size", "expected"), [(1024, 512), (4096, 2048), (26_214_400, 26_212_352)])
def test_what_is_added_on_the_way_fits_in(max_size: int, expected: int):
    assert largest(max_size) == expected
