"""A settings document is in force in every worker within a second, and no connection is dropped mid-mail."""

from datetime import UTC, datetime, timedelta

from tests.e2e.conftest import StartPipeline, StartSink
from tests.support.pipeline import a_mail, relay_to
from tests.support.sinks import RecordingSink


def test_every_worker_has_it_within_a_second_under_load(start_pipeline: StartPipeline, sink: RecordingSink):
    pipeline = start_pipeline(relay_to(sink), resolvers=2, senders=3)

    with pipeline.load(rate=100) as load:
        sink.wait_for(50, timeout=30)
        published = datetime.now(UTC)
        pipeline.change(identity={"sender_name": "The Office"})
        sink.wait_for(len(sink.mails) + 50, timeout=30)

    for worker in pipeline.workers:
        [line] = worker.logged("settings_in_force", revision=1)
        in_force = datetime.fromisoformat(line.split()[0].removeprefix("time="))
        assert in_force - published < timedelta(seconds=1)
    pipeline.wait_for_each_once(sink, load.ids)


def test_the_relay_changes_under_load_and_every_mail_arrives_at_one_of_the_two(
    start_pipeline: StartPipeline, start_sink: StartSink
):
    first, second = start_sink(), start_sink()
    pipeline = start_pipeline(relay_to(first), senders=2)

    with pipeline.load(rate=100) as load:
        first.wait_for(50, timeout=30)
        pipeline.change(relay={"port": second.port})
        second.wait_for(50, timeout=30)

    pipeline.wait_for_each_once([first, second], load.ids)
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail("last")))
    assert second.mails[-1].message["Subject"] == "last"


def test_the_kinds_of_events_are_as_set(start_pipeline: StartPipeline, sink: RecordingSink):
    pipeline = start_pipeline(relay_to(sink))
    by_default = pipeline.submit(a_mail(hold="1s"))
    pipeline.wait_for_event("delivered", by_default)
    pipeline.change(events=["accepted", "released", "delivered"])
    asked_for = pipeline.submit(a_mail(hold="1s"))
    pipeline.wait_for_event("delivered", asked_for)

    kinds = {
        mail: [e["event"] for e in pipeline.client.events if e["mail"] == mail] for mail in (by_default, asked_for)
    }
    assert kinds == {by_default: ["held", "delivered"], asked_for: ["accepted", "released", "delivered"]}
    assert {event["revision"] for event in pipeline.events("delivered")} == {0, 1}
