"""A 450 is no refusal: the mail is tried again after the waits of `retry.schedule`."""

from datetime import datetime, timedelta

from tests.e2e.conftest import StartPipeline, StartSink
from tests.support.pipeline import Pipeline, a_mail, relay_to
from tests.support.sinks import RecordingSink


def test_after_a_450_the_next_try_is_at_its_time_and_arrives(pipeline: Pipeline, inbox: RecordingSink):
    pipeline.change(retry={"schedule": ["1s", "2s"]})
    inbox.answer("RCPT", "b@mx.example", "450-4.2.1 come back\r\n450 4.2.1 later", times=2)

    mail = pipeline.submit(a_mail("patient"))
    delivered = pipeline.wait_for_event("delivered", mail)
    first, second = pipeline.events("deferred", mail)

    assert (first["attempt"], second["attempt"], delivered["attempt"]) == (1, 2, 3)
    assert (first["code"], first["enhanced"], first["reply"]) == (450, "4.2.1", "come back\nlater")
    waits = [datetime.fromisoformat(one["next_try"]) - datetime.fromisoformat(one["time"]) for one in (first, second)]
    assert waits == [timedelta(seconds=1), timedelta(seconds=2)]
    assert datetime.fromisoformat(delivered["time"]) >= datetime.fromisoformat(second["next_try"])
    pipeline.wait_for_each_once(inbox, ["patient"])


def test_a_greylisting_server_gets_every_mail_at_the_second_try(start_pipeline: StartPipeline, start_sink: StartSink):
    sink = start_sink(greylists=True)
    pipeline = start_pipeline(relay_to(sink))

    ids = [pipeline.submit(a_mail(f"grey-{number}", to=[f"r{number}@mx.example"])) for number in range(100)]

    pipeline.wait_for_each_once(sink, [f"grey-{number}" for number in range(100)])
    assert {event["attempt"] for event in pipeline.events("delivered")} == {2}
    assert {event["mail"] for event in pipeline.wait_for_events(100, "deferred")} == set(ids)


def test_a_server_that_is_down_gets_its_mail_when_it_is_back(pipeline: Pipeline, inbox: RecordingSink):
    inbox.stop()
    ids = pipeline.submit_many(50)
    deferred = pipeline.wait_for_events(50, "deferred")
    inbox.start()

    pipeline.wait_for_each_once(inbox, ids)
    assert {event["enhanced"] for event in deferred} == {"4.4.1"}
    assert not any(event.get("in_doubt") for event in deferred)
