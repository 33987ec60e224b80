"""The flags of `send` become a submission, or a refusal that names the flag."""

from datetime import UTC, datetime, timedelta

import pytest

from cli.failures import CommandFailed, ExitCode
from cli.submission import (
    ContentFlags,
    HandlingFlags,
    check_id,
    envelope_headers,
    handling_headers,
    to_handling,
    to_submission,
)
from shared.contracts.submissions import Attachment
from shared.durations import Duration

FILES = {
    "letter.txt": "Grüße\n".encode(),
    "page.html": b"<p>Hi</p>",
    "report.pdf": b"%PDF",
    "data.csv.gz": b"\x1f\x8b",
    "latin1.txt": b"Gr\xfc\xdfe",
}
NO_WISHES = HandlingFlags()


def mail(**changed) -> ContentFlags:
    return ContentFlags(**{"sender": "a@x.example", "to": ["b@y.example"], "text": "Hello", **changed})


URL = "https://x.example/u"


def test_the_flags_are_the_fields_of_the_contract():
    submission = to_submission(
        mail(
            cc=["c@y.example"],
            subject="Hi",
            header=["X-Kind: a: b"],
            reply_to=["r@x.example"],
            return_path="",
            unsubscribe_url=URL,
        ),
        HandlingFlags(hold=timedelta(minutes=10), batch="march", priority="urgent"),
        FILES.__getitem__,
    )
    assert (submission.from_, submission.to, submission.cc) == ("a@x.example", ["b@y.example"], ["c@y.example"])
    assert submission.headers == {"X-Kind": "a: b"}
    assert submission.return_path == ""
    assert submission.unsubscribe_url == URL
    assert submission.hold == Duration(minutes=10)
    assert (submission.batch, submission.priority) == ("march", "urgent")


def test_texts_and_attachments_are_read_from_files():
    content = mail(text=None, text_file="letter.txt", html_file="page.html", attach=["report.pdf", "data.csv.gz"])
    submission = to_submission(content, NO_WISHES, FILES.__getitem__)
    assert (submission.text, submission.html) == ("Grüße\n", "<p>Hi</p>")
    assert submission.attachments == [
        Attachment(filename="report.pdf", content=b"%PDF", content_type="application/pdf"),
        Attachment(filename="data.csv.gz", content=b"\x1f\x8b", content_type="application/octet-stream"),
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (mail(sender=None), "--from: is missing"),
        (mail(to=[]), "--to: no recipient"),
        (mail(text=None), "--text: the mail is empty"),
        (mail(text_file="letter.txt"), "--text and --text-file: one of the two"),
        (mail(text=None, text_file="latin1.txt"), "--text-file: latin1.txt is not UTF-8 text (octet 2)"),
        (mail(to=["nobody"]), "--to: 'nobody' is no e-mail address"),
        (mail(bcc=[""]), "--bcc: is empty"),
        (mail(sender="a@x.example\nBcc: c@y.example"), "--from: has the control character"),
        (mail(header=["X-Kind"]), "--header: got 'X-Kind'"),
        (mail(header=["X: 1", "X: 2"]), "--header: X is given twice"),
    ],
)
def test_a_wrong_flag_is_named_with_what_it_takes(content, says):
    with pytest.raises(CommandFailed) as refused:
        to_submission(content, NO_WISHES, FILES.__getitem__)
    assert says in str(refused.value)
    assert refused.value.code is ExitCode.USAGE


@pytest.mark.parametrize("text", ["tomorrow", "2030-01-31T08:30:00", "2030-01-31"])
def test_a_time_to_send_at_needs_its_offset(text):
    with pytest.raises(CommandFailed, match="takes a time with its offset"):
        to_handling(hold=None, send_at=text, give_up_after=None, batch="", priority="normal")


@pytest.mark.parametrize(
    ("text", "notify"),
    [
        ("never", "never"),
        ("failure", ["failure"]),
        ("failure, delay", ["failure", "delay"]),
        ("never,delay", None),
        ("", None),
    ],
)
def test_the_notices_are_named_with_commas(text, notify):
    def judged():
        return to_handling(hold=None, send_at=None, give_up_after=None, batch="", priority="normal", notify=text)

    if notify is None:
        with pytest.raises(CommandFailed, match="--notify"):
            judged()
    else:
        assert judged().notify == notify


def test_a_finished_message_carries_its_wishes_as_headers():
    handling = HandlingFlags(
        hold=timedelta(seconds=90), send_at=datetime(2030, 1, 31, 8, 30, tzinfo=UTC), batch="march", priority="urgent",
        notify=["failure", "delay"], ret="full", ignore_suppression=True,
    )  # fmt: skip
    assert handling_headers(handling) == {
        "hold": "1m30s",
        "send_at": "2030-01-31T08:30:00+00:00",
        "batch": "march",
        "priority": "urgent",
        "notify": ["failure", "delay"],
        "ret": "full",
        "ignore_suppression": True,
    }
    assert handling_headers(NO_WISHES) == {}
    assert handling_headers(HandlingFlags(hold=timedelta())) == {"hold": "0s"}


def test_the_envelope_of_a_finished_message_is_only_what_was_given():
    assert envelope_headers(None, []) == {}
    assert envelope_headers("", ["b@y.example"]) == {"mail-from": "", "rcpt-to": ["b@y.example"]}
    with pytest.raises(CommandFailed, match="--rcpt-to"):
        envelope_headers(None, ["b"])


@pytest.mark.parametrize(("mail_id", "right"), [("a-1", True), ("a b", False), ("", False), ("x" * 201, False)])
def test_an_id_is_one_word(mail_id, right):
    if right:
        check_id("--id", mail_id)
    else:
        with pytest.raises(CommandFailed, match="--id"):
            check_id("--id", mail_id)


def test_the_flags_that_were_given_are_named_as_people_type_them():
    assert mail(reply_to=["r@x.example"]).given == ["--from", "--to", "--reply-to", "--text"]
