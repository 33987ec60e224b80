"""Whatever is submitted is refused with a reason, or becomes a mail that can be sent and says what was meant."""

import re
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.parser import BytesHeaderParser
from email.policy import default
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.admission import admit
from services.scheduler.composed import Draft
from services.scheduler.finished import take_finished
from services.sender.dkim import author_domain, canonical_body
from shared.broker import Properties
from shared.refusals import Invalid
from shared.settings import Identity, Settings
from tests.support.fuzz import AWKWARD, awkward_text, damaged, rounds

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FINISHED = (
    b"Received: x\r\nFrom: Ann <a@x.example>\r\nTo: b@y.example, c@y.example\r\nBcc: secret@y.example\r\n"
    b"Subject: =?utf-8?q?a?=\r\n folded\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\n"
    + b"x"
    * 1100
    + b"\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nQUFB"
    b"\r\n--b--\r\n"
)

addresses = awkward_text | st.lists(st.just("b@y.example") | awkward_text, max_size=3) | st.just("ann@y.example")
anything = st.none() | st.booleans() | st.integers() | st.floats() | awkward_text | st.lists(awkward_text, max_size=2)
attachment = st.fixed_dictionaries(
    {"filename": awkward_text.filter(bool), "content": st.binary(max_size=200)},
    optional={
        "content_id": st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12) | awkward_text,
        "content_type": st.sampled_from(["text/plain; charset=utf-8", 'a/b; c="d e"']) | awkward_text,
    },
)
submissions = st.fixed_dictionaries(
    {"from": st.just("Shop <shop@x.example>") | awkward_text, "to": addresses},
    optional={
        "cc": addresses,
        "bcc": addresses,
        "reply_to": addresses,
        "subject": awkward_text,
        "text": awkward_text,
        "html": awkward_text,
        "attachments": st.lists(attachment, max_size=3),
        "headers": st.dictionaries(st.sampled_from(["X-A", "Sender", "List-ID", "date"]) | awkward_text, awkward_text),
        "unsubscribe_url": awkward_text,
        "return_path": awkward_text,
        "hold": anything,
        "send_at": anything,
        "batch": awkward_text,
    },
)


def judged(body: bytes, kind: str, **headers: Any) -> Draft | None:
    try:
        return admit(body, Properties(message_id="order-1", content_type=kind, headers=headers), Settings(), 1, NOW)
    except Invalid as refused:
        return None if len(str(refused)) <= 1400 else pytest.fail("a reason of megabytes")


def assert_can_be_sent(draft: Draft) -> None:
    """What the receivers' servers ask for, and what nobody may be told."""
    composed = draft.composed
    lines = composed.content.split(b"\r\n")
    assert composed.content.endswith(b"\r\n")
    assert not re.search(rb"[\r\n\0]", b"".join(lines))
    assert max(map(len, lines)) <= 998
    head, _, _ = composed.content.partition(b"\r\n\r\n")
    seen = sum(line[:1] not in b" \t" for line in head.split(b"\r\n") if line)
    parsed = BytesHeaderParser().parsebytes(head + b"\r\n\r\n")
    assert len(parsed.keys()) == seen
    assert "bcc" not in parsed
    assert "from" in parsed
    for address in (composed.reverse_path, *composed.recipients):
        assert not re.search("[\r\n\0]", address)
        assert address.isascii() or composed.smtputf8
    assert composed.recipients
    assert "\0" not in composed.subject or composed.subject.isprintable()
    assert draft.due + timedelta(hours=1) >= NOW
    author_domain(composed.content)
    canonical_body(composed.content)


@rounds
@given(submissions, st.sampled_from(["application/json", "application/msgpack"]))
def test_a_structured_one(fields, kind):
    if kind == "application/json":
        fields = msgspec.to_builtins(fields)  # bytes as base64
    codec: Any = msgspec.json if kind == "application/json" else msgspec.msgpack
    try:
        body = codec.encode(fields)
    except (OverflowError, UnicodeEncodeError):  # what neither of the two can say
        return
    draft = judged(body, kind)
    if draft is None:
        return
    assert_can_be_sent(draft)
    message = message_from_bytes(draft.composed.content, policy=default)
    given_text = fields.get("text") if fields.get("text") is not None else fields.get("html") or ""
    part = message.get_body(("plain", "html"))
    assert part is not None
    lines = re.split("\r\n|\r|\n", given_text)
    lines += [""] if lines[-1] else []
    assert part.get_content().replace("\r\n", "\n") == "\n".join(lines or [""]) or not given_text
    files = [part for part in message.walk() if part.get_content_disposition() in ("attachment", "inline")]
    sent = [msgspec.convert(each["content"], bytes, strict=False) for each in fields.get("attachments", [])]
    assert sorted(each.get_payload(decode=True) for each in files) == sorted(sent)


@rounds
@given(damaged(submissions.map(msgspec.to_builtins).map(lambda fields: msgspec.json.encode(fields))))
def test_json_with_errors(body):
    draft = judged(body, "application/json")
    if draft is not None:
        assert_can_be_sent(draft)


@rounds
@given(damaged(st.just(msgspec.msgpack.encode({"from": "a@x.example", "to": ["b@y.example"], "headers": {"X": "y"}}))))
def test_msgpack_with_errors(body):
    draft = judged(body, "application/msgpack")
    if draft is not None:
        assert_can_be_sent(draft)


@rounds
@given(
    damaged(st.just(FINISHED)),
    st.lists(st.tuples(st.integers(0, len(FINISHED)), st.sampled_from(AWKWARD).map(str.encode)), max_size=4),
    st.fixed_dictionaries({}, optional={"rcpt-to": addresses | anything, "mail-from": anything, "hold": anything}),
)
def test_a_finished_one(body, insertions, headers):
    for at, piece in insertions:
        body = body[:at] + piece + body[at:]
    draft = judged(body, "message/rfc822", **headers)
    if draft is not None:
        assert_can_be_sent(draft)
        if headers.get("rcpt-to") is not None:
            assert "secret@y.example" not in draft.composed.recipients


@rounds
@given(st.binary(max_size=400) | st.lists(st.sampled_from(AWKWARD), max_size=30).map(lambda all: "".join(all).encode()))
def test_octets_of_any_kind(body):
    for kind in ("application/json", "application/msgpack", "message/rfc822"):
        draft = judged(body, kind)
        if draft is not None:
            assert_can_be_sent(draft)


def test_the_finished_one_is_good():
    assert take_finished(FINISHED, {}, "order-1", Identity(), NOW).recipients[-1] == "secret@y.example"
