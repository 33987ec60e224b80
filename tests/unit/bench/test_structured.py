"""Both forms of the structured mail are the same mail."""

from email import message_from_bytes, policy

import msgspec

from bench.cases.structured import composed, submission
from shared.contracts.submissions import Submission


def test_the_finished_mail_has_what_the_submission_has() -> None:
    fields = msgspec.json.decode(submission(0).body, type=Submission)
    mail = message_from_bytes(composed(), policy=policy.SMTP)

    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    [attachment] = mail.iter_attachments()
    assert (mail["From"], mail["To"], mail["Subject"]) == (fields.from_, fields.to[0], fields.subject)
    assert text.get_content().replace("\r\n", "\n") == fields.text
    assert html.get_content().strip() == fields.html
    assert (attachment.get_filename(), attachment.get_content()) == (
        fields.attachments[0].filename,
        fields.attachments[0].content,
    )
