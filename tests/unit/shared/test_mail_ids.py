"""Ids that are made here."""

from shared.mail_ids import new_mail_id


def test_ids_made_later_sort_later():
    ids = [new_mail_id() for _ in range(2)]
    assert ids[0][:13] <= ids[1][:13]
