"""A permanent refusal is final, and its event says with what code, enhanced code and text."""

import pytest

from tests.support.pipeline import Pipeline, a_mail
from tests.support.sinks import RecordingSink


@pytest.mark.parametrize(
    ("verb", "address", "reply", "expected"),
    [
        ("RCPT", "b@mx.example", "550 5.1.1 nobody of this name", (550, "5.1.1", "nobody of this name")),
        ("RCPT", "b@mx.example", "553 just no", (553, "", "just no")),
        ("MAIL", "robot@sender.example", "552 5.3.4 too big for us", (552, "5.3.4", "too big for us")),
        (".", "b@mx.example", "554 5.7.1 looks like spam", (554, "5.7.1", "looks like spam")),
    ],
)
def test_the_event_gives_the_reply_whatever_it_answered(
    pipeline: Pipeline, inbox: RecordingSink, verb: str, address: str, reply: str, expected: tuple[int, str, str]
):
    inbox.answer(verb, address, reply)

    mail = pipeline.submit(a_mail("refused", give_up_after="1h"))
    bounced = pipeline.wait_for_event("bounced", mail)
    other = pipeline.submit(a_mail("welcome", from_="other@sender.example", to=["c@mx.example"]))
    pipeline.wait_for_event("delivered", other)

    assert (bounced["code"], bounced["enhanced"], bounced["reply"]) == expected
    assert (bounced["recipient"], bounced["attempt"]) == ("b@mx.example", 1)
    assert bounced["key"] == "bounced.mx.example"
    assert [mail.message["Subject"] for mail in inbox.mails] == ["welcome"]
    assert not pipeline.events("deferred")
