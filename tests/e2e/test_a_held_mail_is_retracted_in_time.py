"""Within its hold, a mail can be taken back: it never leaves, and a second try says the same."""

from tests.support.pipeline import Pipeline, a_mail, subjects
from tests.support.sinks import RecordingSink


def test_a_mail_that_is_retracted_within_its_hold_never_arrives(pipeline: Pipeline, inbox: RecordingSink):
    pipeline.submit(a_mail("regretted", hold="2s"), "regretted")
    pipeline.submit(a_mail("meant", hold="3s"), "meant")
    held = pipeline.wait_for_event("held", "regretted")

    answer = pipeline.control("retract", id="regretted")

    assert held["recipients"] == ["b@mx.example"]
    assert answer["counts"] == {"retracted": 1}
    [mail] = answer["mails"]
    assert (mail["id"], mail["result"]) == ("regretted", "retracted")
    assert [(one["address"], one["state"]) for one in mail["recipients"]] == [("b@mx.example", "retracted")]
    assert pipeline.wait_for_event("retracted", "regretted")["recipient"] == "b@mx.example"
    # The other mail was to leave after it, so it would have arrived by now.
    pipeline.wait_for_each_once(inbox, ["meant"])
    assert subjects(inbox.mails)["regretted"] == 0


def test_a_second_retract_answers_as_the_first_and_announces_nothing(pipeline: Pipeline, inbox: RecordingSink):
    mail = pipeline.submit(a_mail(hold="10m"))
    pipeline.wait_for_event("held", mail)

    first = pipeline.control("retract", id=mail)
    second = pipeline.control("retract", id=mail)

    assert first["counts"] == second["counts"] == {"retracted": 1}
    later = pipeline.submit(a_mail())
    pipeline.wait_for_event("delivered", later)
    assert len(pipeline.events("retracted", mail)) == 1
    assert len(inbox.mails) == 1
