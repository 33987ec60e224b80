"""While a mail is held, another one can stand in its place: same id, new content, new recipients, new hold."""

from concurrent.futures import ThreadPoolExecutor

from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import Pipeline, a_mail, relay_to
from tests.support.ports import wait_until
from tests.support.sinks import RecordingSink


def test_only_the_new_content_goes_and_only_to_the_new_recipients(pipeline: Pipeline, inbox: RecordingSink):
    mail = pipeline.submit(a_mail("with a mistake", to=["ann@mx.example", "bob@mx.example"], hold="10m"))
    pipeline.wait_for_event("held", mail)

    answer = pipeline.control("replace", id=mail, submission=a_mail("corrected", to=["cyd@mx.example"], hold="1s"))

    assert answer["result"] == "replaced"
    assert pipeline.wait_for_event("replaced", mail)["recipients"] == ["cyd@mx.example"]
    pipeline.wait_for_each_once(inbox, ["corrected"])
    assert inbox.mails[0].recipients == ("cyd@mx.example",)
    assert [event["recipient"] for event in pipeline.wait_for_events(1, "delivered", mail)] == ["cyd@mx.example"]


def test_a_mail_that_has_arrived_is_not_replaced(pipeline: Pipeline, inbox: RecordingSink):
    mail = pipeline.submit(a_mail("gone"))
    pipeline.wait_for_event("delivered", mail)

    assert pipeline.control("replace", id=mail, submission=a_mail("too late"))["result"] == "too_late"
    assert pipeline.control("replace", id="nobody", submission=a_mail("whose?"))["result"] == "unknown"
    pipeline.wait_for_each_once(inbox, ["gone"])


def test_a_mail_that_a_sender_has_is_not_replaced(pipeline: Pipeline, inbox: RecordingSink):
    pause = inbox.pause("MAIL")
    mail = pipeline.submit(a_mail("on its way"))
    pause.wait(30)

    answer = pipeline.control("replace", id=mail, submission=a_mail("too late"))
    pause.release()

    assert answer["result"] == "in_flight"
    pipeline.wait_for_each_once(inbox, ["on its way"])


def test_a_replacement_that_is_no_mail_is_refused_and_the_first_one_stays(pipeline: Pipeline, inbox: RecordingSink):
    mail = pipeline.submit(a_mail("first", hold="10m"))
    pipeline.wait_for_event("held", mail)

    answer = pipeline.control("replace", id=mail, submission=a_mail("second", to=["nobody"]))
    pipeline.control("release", id=mail)

    assert (answer["answer"], answer["field"]) == ("refused", "submission.to[0]")
    pipeline.wait_for_each_once(inbox, ["first"])


def test_a_replace_whose_scheduler_died_before_it_answered_is_answered_truly_and_not_done_twice(
    start_pipeline: StartPipeline, sink: RecordingSink
):
    pipeline = start_pipeline(relay_to(sink), programs={"scheduler": ("tests.support.poisoned", "replacer")})
    mail = pipeline.submit(a_mail("with a mistake", hold="10m"))
    pipeline.wait_for_event("held", mail)
    [scheduler] = pipeline.of("scheduler")

    def start_another_when_the_new_mail_has_left() -> None:
        wait_until(lambda: not scheduler.running, "the scheduler dies")
        pipeline.kill(scheduler)
        sink.wait_for(1, timeout=30)
        pipeline.start(scheduler=1)

    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(start_another_when_the_new_mail_has_left)
        answer = pipeline.control("replace", id=mail, submission=a_mail("corrected", hold=0))
        started.result()

    assert answer["result"] == "replaced"
    pipeline.wait_for_each_once(sink, ["corrected"])
    [step] = [step for step in pipeline.control("show", id=mail)["mail"]["steps"] if step["what"] == "replaced"]
    assert step["recipient"] == "b@mx.example"
    assert pipeline.control("replace", id=mail, submission=a_mail("too late"))["result"] == "too_late"
