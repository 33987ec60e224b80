"""`show`, `list` and `stats`: where a mail stands, why it waits, and each step that it took."""

from tests.support.pipeline import Pipeline, a_mail
from tests.support.sinks import RecordingSink


def test_each_state_is_told_with_why_it_waits(pipeline: Pipeline, inbox: RecordingSink):
    pipeline.change(retry={"schedule": ["1h"]})
    inbox.answer("RCPT", "b@mx.example", "450 4.2.2 mailbox full", times=1)

    mail = pipeline.submit(a_mail("a story", hold="10m", batch="tales"))
    pipeline.wait_for_event("held", mail)
    held = pipeline.control("show", id=mail)["mail"]
    pipeline.control("release", id=mail)
    pipeline.wait_for_event("deferred", mail)
    deferred = pipeline.control("show", id=mail)["mail"]
    pipeline.control("release", id=mail)
    pipeline.wait_for_event("delivered", mail)
    delivered = pipeline.control("show", id=mail)["mail"]

    assert [one["recipients"][0]["state"] for one in (held, deferred, delivered)] == ["held", "deferred", "delivered"]
    assert "held until" in held["waits"][0]
    assert "the mail's own hold" in held["waits"][0]
    assert "450 4.2.2 mailbox full" in deferred["waits"][0]
    assert delivered["waits"] == []
    assert (delivered["subject"], delivered["batch"], delivered["sender"]) == (
        "a story",
        "tales",
        "robot@sender.example",
    )
    [recipient] = delivered["recipients"]
    assert (recipient["attempt"], recipient["code"], recipient["worker"]) == (2, 250, pipeline.of("sender")[0].name)
    steps = [step["what"] for step in delivered["steps"]]
    assert [what for what in steps if what in ("deferred", "delivered")] == ["deferred", "delivered"]
    assert [step["time"] for step in delivered["steps"]] == sorted(step["time"] for step in delivered["steps"])


def test_an_unknown_id_has_no_story(pipeline: Pipeline):
    assert pipeline.control("show", id="nobody")["mail"] is None


def test_a_list_goes_on_from_page_to_page(pipeline: Pipeline):
    ids = pipeline.submit_many(25, hold="10m", batch="pages")
    pipeline.wait_for_events(25, "held")

    listed: list[str] = []
    page = pipeline.control("list", batch="pages", state="held", limit=10)
    while True:
        listed += [mail["id"] for mail in page["mails"]]
        if page["next"] is None:
            break
        page = pipeline.control("list", batch="pages", state="held", limit=10, before=page["next"])

    assert listed == ids[::-1]
    assert pipeline.control("list", batch="pages", state="delivered")["mails"] == []
    assert pipeline.control("stats")["states"]["held"] == 25
