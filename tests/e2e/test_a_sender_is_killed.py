"""`kill -9` of a sender: what it had claimed is in doubt until the lease has run out, then it is tried again.

What the receiver has answered is not: that stands in the sender's journal.
"""

from pathlib import Path

import pika

from services.sender.journal_file import read
from shared import topology
from shared.mail_store.states import State
from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import relay_to, subjects
from tests.support.sinks import RecordingSink


def test_claimed_mail_that_had_not_left_arrives_once_after_the_lease(
    start_pipeline: StartPipeline, sink: RecordingSink
):
    pipeline = start_pipeline(relay_to(sink))
    pause = sink.pause("MAIL")
    ids = pipeline.submit_many(40)
    pause.wait(30)
    pipeline.client.wait_until(lambda: pipeline.count(State.CLAIMED) == 40, "all are claimed")

    [victim] = pipeline.of("sender")
    pipeline.kill(victim)
    sink.forget_rules()
    [successor] = pipeline.start(sender=1)
    # The broker gives the work to the next sender, which finds it claimed by the dead one.
    pipeline.client.wait_until(lambda: len(successor.logged("not_claimed")) == 40, "the work comes again")
    assert pipeline.count(State.CLAIMED) == 40
    assert not sink.mails

    assert pipeline.let_lease_run_out(State.CLAIMED, victim) == 40

    deferred = pipeline.wait_for_events(40, "deferred")
    assert all(event["in_doubt"] for event in deferred)
    pipeline.wait_for_each_once(sink, ids)
    assert {event["attempt"] for event in pipeline.wait_for_events(40, "delivered")} == {2}


def test_mail_that_the_receiver_has_taken_is_delivered_once_though_its_sender_could_not_say_so(
    start_pipeline: StartPipeline, sink: RecordingSink, amqp_url: str, tmp_path: Path
):
    pipeline = start_pipeline(relay_to(sink))
    pause = sink.pause(".")
    ids = pipeline.submit_many(3)
    pause.wait(30)
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        connection.channel().queue_unbind(topology.OUTCOME, topology.OUTCOME, "")  # nobody takes what senders report

    pause.release()
    [victim] = pipeline.of("sender")
    victim.wait_for_log("outcomes_refused")
    # The sink counts a mail before its reply has arrived.
    pipeline.client.wait_until(lambda: noted_in(tmp_path) == set(ids), "all replies are in the journal")
    pipeline.kill(victim)
    [successor] = pipeline.start(sender=1)  # it declares what is missing

    pipeline.wait_for_each_once(sink, ids)
    told = pipeline.wait_for_events(3, "delivered")
    assert {(event["mail"], event["attempt"]) for event in told} == {(id, 1) for id in ids}
    assert not pipeline.events("deferred")
    successor.wait_for_log("journal_taken_over")


def noted_in(folder: Path) -> set[str]:
    """The mails whose replies stand in the journals of a pipeline."""
    records = [record for file in folder.rglob("*.journal") for record in read(file.read_bytes())[0]]
    return {noted.mail for record in records for noted in record.mails}


def test_one_of_two_is_killed_under_load_nothing_is_lost_and_only_what_was_in_doubt_may_come_twice(
    start_pipeline: StartPipeline, sink: RecordingSink
):
    pipeline = start_pipeline(relay_to(sink), senders=2)

    with pipeline.load(rate=100) as load:
        sink.wait_for(50, timeout=30)
        victim = pipeline.of("sender")[0]
        pipeline.kill(victim)
        sink.wait_for(len(sink.mails) + 50, timeout=30)
    pipeline.let_lease_run_out(State.CLAIMED, victim)

    pipeline.wait_for_all([sink], load.ids)
    twice = {id for id, times in subjects(sink.mails).items() if times > 1}
    in_doubt = {event["mail"] for event in pipeline.events("deferred") if event.get("in_doubt")}
    assert twice <= in_doubt
    assert max(subjects(sink.mails).values()) <= 2


def test_a_reply_that_is_lost_after_the_final_dot_is_in_doubt_and_the_mail_may_come_twice(
    start_pipeline: StartPipeline, sink: RecordingSink
):
    pipeline = start_pipeline(relay_to(sink))
    sink.hang_up(".")

    [mail] = pipeline.submit_many(1)

    assert pipeline.wait_for_event("deferred", mail)["in_doubt"]
    pipeline.wait_for_all([sink], [mail])
    assert subjects(sink.mails) == {mail: 2}

    pipeline.change(retry={"in_doubt": "park"})
    sink.hang_up(".", times=2)
    again, enough = pipeline.submit_many(2)
    pipeline.wait_for_events(2, "in_doubt")
    assert {line["id"] for line in pipeline.control("list", state="in_doubt")["mails"]} == {again, enough}

    assert pipeline.control("resend", id=again)["resent"] == 1
    assert pipeline.control("close", id=enough)["closed"] == 1
    pipeline.wait_for_all([sink], [again, enough])
    assert subjects(sink.mails) == {mail: 2, again: 2, enough: 1}
    assert pipeline.wait_for_event("delivered", enough)["in_doubt"]
