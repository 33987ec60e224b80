"""`send_at` names the time at which a mail leaves; until then it can be taken back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.support.pipeline import Pipeline, a_mail
from tests.support.sinks import RecordingSink


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-7))], ids=["UTC", "seven hours behind"])
def test_it_leaves_at_the_time_and_not_before(pipeline: Pipeline, inbox: RecordingSink, zone: timezone):
    send_at = (datetime.now(UTC) + timedelta(seconds=2)).astimezone(zone)

    mail = pipeline.submit(a_mail(send_at=send_at.isoformat()))

    held = pipeline.wait_for_event("held", mail)
    pipeline.wait_for_event("delivered", mail)
    assert abs(datetime.fromisoformat(held["until"]) - send_at) < timedelta(milliseconds=2)
    assert timedelta(milliseconds=-2) < inbox.mails[-1].time - send_at < timedelta(seconds=5)


def test_the_hold_counts_where_it_ends_later(pipeline: Pipeline):
    send_at = datetime.now(UTC) + timedelta(seconds=1)
    mail = pipeline.submit(a_mail(send_at=send_at.isoformat(), hold="1h"))

    held = pipeline.wait_for_event("held", mail)

    assert datetime.fromisoformat(held["until"]) > send_at + timedelta(minutes=50)
    assert pipeline.control("retract", id=mail)["counts"] == {"retracted": 1}
