"""`identity.reply_to` and `identity.sender_name` fill in what a mail does not say itself, however it was submitted."""

import pytest

from tests.support.pipeline import Pipeline, a_mail
from tests.support.sinks import RecordingSink

SETTINGS = {"identity": {"reply_to": "office@s.example", "sender_name": "The Office"}}
_BARE = b"To: b@mx.example\r\nSubject: x\r\n\r\nbody\r\n"


@pytest.mark.parametrize(
    ("mail", "sender", "reply_to"),
    [
        (a_mail(from_="a@s.example"), "The Office <a@s.example>", "office@s.example"),
        (a_mail(from_="Ann <a@s.example>"), "Ann <a@s.example>", "office@s.example"),
        (a_mail(from_="a@s.example", reply_to="ann@s.example"), "The Office <a@s.example>", "ann@s.example"),
        (a_mail(from_="Ann <a@s.example>", reply_to="ann@s.example"), "Ann <a@s.example>", "ann@s.example"),
        (b"From: a@s.example\r\n" + _BARE, "The Office <a@s.example>", "office@s.example"),
        (b"From: Ann <a@s.example>\r\n" + _BARE, "Ann <a@s.example>", "office@s.example"),
        (b"From: a@s.example\r\nReply-To: ann@s.example\r\n" + _BARE, "The Office <a@s.example>", "ann@s.example"),
    ],
)
def test_a_mail_keeps_what_it_says_and_gets_what_it_lacks(
    pipeline: Pipeline, inbox: RecordingSink, mail: dict[str, object] | bytes, sender: str, reply_to: str
):
    id = pipeline.submit(mail)
    pipeline.wait_for_event("delivered", id)

    message = inbox.mails[-1].message
    assert message.get_all("From") == [sender]
    assert message.get_all("Reply-To") == [reply_to]


def test_without_the_settings_nothing_is_added(pipeline: Pipeline, inbox: RecordingSink):
    pipeline.change(identity={"reply_to": "", "sender_name": ""})
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail(from_="a@s.example")))

    assert inbox.mails[0].message["From"] == "a@s.example"
    assert inbox.mails[0].message["Reply-To"] is None
