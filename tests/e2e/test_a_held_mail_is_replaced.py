"""While a mail is held, another one can stand in its place: same id, new content, new recipients, new hold."""

from tests.support.pipeline import Pipeline, a_mail
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
