"""Admission: every refusal names its field, and nothing that a client can publish does more than be refused."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.scheduler.admission import admit
from services.scheduler.commands import parse_command
from services.scheduler.composed import Draft
from shared.broker import Properties
from shared.contracts.submissions import Submission
from shared.refusals import Invalid
from shared.settings import parse_settings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SETTINGS = parse_settings({"sending": {"hold": "5m", "max_size": 100_000}, "retry": {"give_up": "2d"}})
MINIMAL = {"from": "shop@x.example", "to": "ann@y.example"}
FINISHED = b"From: shop@x.example\r\nTo: ann@y.example\r\n\r\ntext\r\n"
JSON, MSGPACK, RFC822 = "application/json", "application/msgpack", "message/rfc822"
LARGE = {"filename": "zeros.bin", "content": base64.b64encode(bytes(80_000)).decode()}


def draft_of(body: bytes, kind: str | None = JSON, headers: dict[str, Any] | None = None, **more: Any) -> Draft:
    return admit(body, Properties(content_type=kind, headers=headers or {}, **more), SETTINGS, 7, NOW)


def submitted(**fields: Any) -> bytes:
    return json.dumps({**MINIMAL, **fields}).encode()


def refusal(body: bytes, kind: str | None = JSON, headers: dict[str, Any] | None = None, **more: Any) -> Invalid:
    with pytest.raises(Invalid) as refused:
        draft_of(body, kind, headers, **more)
    assert len(str(refused.value)) < 1000
    return refused.value


# ---------------------------------------------------------------------------------------------------------
# Refusals


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        (b"", "", "not JSON"),
        (b"{", "", "not JSON"),
        (b"hello", "", "not JSON"),
        (b"\xff\xfe", "", "not JSON"),
        (b"[]", "", "takes a group"),
        (b"7", "", "takes a group"),
        (b"null", "", "takes a group"),
        (b"{}", "from", "is missing"),
        (b'{"from": 3, <rubbish', "", "not JSON"),  # wrong before it is no JSON
        (b'{"from": "a@x.example", "subject": "\xff"}', "", "not JSON"),
        (b'{"from": "a@x.example", "subject": "\\ud800"}', "", "not JSON"),  # half a surrogate pair
        (b'{"from": 3, "x": ' + b"[" * 100_000, "", "not JSON"),
        (b'{"headers": ' + b'{"a":' * 100_000, "", "not JSON"),
        (submitted(subjet="x"), "subjet", "did you mean subject?"),
        (submitted(**{"x" * 10_000: 1}), "x" * 80, "no such field"),
        (submitted(**{"a`b\nc": 1}), "a`b\nc", "no such field"),
        (json.dumps({"from": "shop@x.example"}).encode(), "to", "no recipient"),
        (submitted(to=[], cc=[], bcc=[]), "to", "no recipient"),
        (submitted(to=""), "to", "no recipient"),
        (submitted(to=["ann@y.example> NOTIFY=NEVER"]), "to[0]", "no e-mail address"),
        (submitted(to=f"<{'a@y.example,' * 40_000}"), "to", "at most 400000"),
        (submitted(to=[f"a{n}@y.example" for n in range(10_001)]), "to", "10001 recipients"),
        (submitted(to=5), "to", "got 5"),
        (submitted(to=[5]), "to[0]", "got 5"),
        (submitted(to=[["a@y.example"]]), "to[0]", "takes a text"),
        (submitted(to={"ann": "ann@y.example"}), "to", "takes"),
        (submitted(subject=None), "subject", "takes a text"),
        (submitted(subject=["x"]), "subject", "takes a text"),
        (submitted(text=5), "text", "got 5"),
        (submitted(headers={"X-A": "ok", "X-B": 5}), 'headers."X-B"', "got 5"),
        (submitted(headers={"X-A": "1\r\nBcc: b@z.example"}), 'headers."X-A"', "U+000D"),
        (submitted(headers={"X-A": "1\nBcc: b@z.example"}), 'headers."X-A"', "U+000A"),
        (submitted(headers=["X-A: 1"]), "headers", "takes a group"),
        (submitted(text="x" * 100_001), "content", "at most 100000 (sending.max_size)"),
        (submitted(attachments=[LARGE]), "content", "at most 100000"),
        (submitted(attachments=[{"filename": "a", "content": "no base64!"}]), "attachments[0].content", "base64"),
        (submitted(attachments=[{"filename": "", "content": ""}]), "attachments[0].filename", "length >= 1"),
        (submitted(attachments=[{"filename": "a", "content": "", "typ": "x"}]), "attachments[0].typ", "content_type"),
        (submitted(attachments=[{"content": ""}]), "attachments[0].filename", "is missing"),
        (submitted(attachments={"a": ""}), "attachments", "takes a list"),
        (submitted(send_at="2026-03-01T10:59:59Z"), "send_at", "which is past"),
        (submitted(send_at="0001-01-01T00:00:00+14:00"), "send_at", "which is past"),
        (submitted(send_at="2026-03-02T10:00:00"), "send_at", "offset"),
        (submitted(send_at="tomorrow"), "send_at", 'got "tomorrow"'),
        (submitted(send_at="2026-02-30T10:00:00Z"), "send_at", "got"),
        (submitted(send_at=1_772_000_000), "send_at", "got 1772000000"),
        (submitted(send_at="2036-03-01T12:00:00Z"), "send_at", "within ten years"),
        (submitted(send_at="9999-12-31T23:59:59-12:00"), "send_at", "within ten years"),
        (submitted(hold="soon"), "hold", "takes a duration"),
        (submitted(hold=-1), "hold", "takes a duration"),
        (submitted(hold="11y"), "hold", "takes a duration"),
        (submitted(hold="3651d"), "hold", "at most 3650d"),
        (submitted(hold=True), "hold", "takes a duration"),
        (submitted(hold={}), "hold", "takes a duration"),
        (b'{"from": "a@x.example", "hold": 1' + b"0" * 400 + b"}", "hold", "takes a duration"),
        (b'{"from": "a@x.example", "hold": 1e400}', "", "not JSON"),
        (submitted(give_up_after="x"), "give_up_after", "takes a duration"),
        (submitted(batch="x" * 201), "batch", "length <= 200"),
        (submitted(batch="a\0b"), "batch", "U+0000"),
        (submitted(batch="a\nb"), "batch", "U+000A"),
        (submitted(priority="high"), "priority", "none of the values"),
        (submitted(priority=1), "priority", "takes"),
        (submitted(return_path="a@x.example>"), "return_path", "no e-mail address"),
    ],
)  # fmt: skip
def test_a_structured_submission_that_is_wrong_is_refused_by_the_name_of_the_field(body, field, says):
    refused = refusal(body)
    assert refused.field == field
    assert says in refused.reason


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (b"", ""),
        (b"\xc1", ""),  # never used in msgpack
        (b"\xdd\xff\xff\xff\xff", ""),  # a list of four thousand million entries, it says
        (b"\x81\xa2to\xdd\xff\xff\xff\xff", ""),
        (b"\x81\xa4text\xdb\xff\xff\xff\xff", ""),
        (b"\x81\x81\x01\x02\x03", ""),  # a map as a key
        (b"\x91" * 100_000, ""),
        (msgspec.msgpack.encode({**MINIMAL, "headers": {1: "x"}}), "headers"),
        (msgspec.msgpack.encode({1: 2}), ""),
        (msgspec.msgpack.encode({**MINIMAL, "to": msgspec.msgpack.Ext(5, b"x")}), "to"),
        (msgspec.msgpack.encode({**MINIMAL, "subject": b"octets"}), "subject"),
        (msgspec.msgpack.encode({**MINIMAL, "hold": float("nan")}), "hold"),
        (msgspec.msgpack.encode({**MINIMAL, "hold": float("inf")}), "hold"),
        (msgspec.msgpack.encode({**MINIMAL, "send_at": datetime(2020, 1, 1, tzinfo=UTC)}), "send_at"),
        (b"\x81\xa7subject\xa1\xff", ""),
    ],
)
def test_msgpack_that_is_wrong_is_refused(value, field):
    assert refusal(value, MSGPACK).field == field


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"hold": "soon"}, "hold"),
        ({"hold": [1]}, "hold"),
        ({"hold": [type("Long", (int,), {})(1)]}, "hold"),  # as pika reads 64-bit numbers
        ({"hold": Decimal("1.5")}, "hold"),
        ({"hold": b"\xff"}, "hold"),
        ({"hold": 10**400}, "hold"),
        ({"hold": datetime(2026, 1, 1, tzinfo=UTC)}, "hold"),
        ({"send_at": "2026-03-02T10:00:00"}, "send_at"),
        ({"send_at": "2026-03-01T10:00:00Z"}, "send_at"),
        ({"send_at": 5}, "send_at"),
        ({"give_up_after": {}}, "give_up_after"),
        ({"batch": 5}, "batch"),
        ({"batch": "x" * 201}, "batch"),
        ({"batch": "\0"}, "batch"),
        ({"priority": "high"}, "priority"),
        ({"priority": 5}, "priority"),
        ({"priority": "x" * 10_000}, "priority"),
        ({"rcpt-to": []}, "to"),
        ({"rcpt-to": [f"a{n}@y.example" for n in range(10_001)]}, "to"),
    ],
)
def test_amqp_headers_of_a_finished_message_are_judged_the_same(headers, field):
    assert refusal(FINISHED, RFC822, headers).field == field


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "json", "message/rfc822x", "\ufffd", "x" * 5000])
def test_an_unknown_content_type_is_refused_with_those_that_are_known(kind):
    refused = refusal(submitted(), kind)
    assert refused.field == "content_type"
    assert "message/rfc822" in refused.reason


@pytest.mark.parametrize(
    "kind", [None, "", "application/json; charset=utf-8", "Application/JSON", " application/json "]
)
def test_json_is_what_it_is_unless_stated_otherwise(kind):
    assert draft_of(submitted(), kind).composed.recipients == ("ann@y.example",)


@pytest.mark.parametrize("said", [None, True, False])
def test_a_mail_may_ask_to_go_to_suppressed_addresses_too(said):
    wish = {} if said is None else {"ignore_suppression": said}
    assert draft_of(submitted(**wish)).ignore_suppression is bool(said)
    assert draft_of(FINISHED, RFC822, wish).ignore_suppression is bool(said)


@pytest.mark.parametrize("said", ["true", 1, "", None])
def test_whether_it_asks_so_is_true_or_false(said):
    assert refusal(submitted(ignore_suppression=said)).field == "ignore_suppression"
    assert refusal(FINISHED, RFC822, {"ignore_suppression": said}).field == "ignore_suppression"


@pytest.mark.parametrize("given_id", ["with space", "new\nline", "nul\0", "x" * 201, "\x7f", "tab\t", "\ufffd"])
def test_an_id_that_could_not_be_a_key_is_refused(given_id):
    assert refusal(submitted(), message_id=given_id).field == "message_id"


@pytest.mark.parametrize("given_id", ["order-4711", "a/b:c@d", "ü", "x" * 200, "{braces}", "%00"])
def test_any_other_id_is_the_clients(given_id):
    assert draft_of(submitted(), message_id=given_id).id == given_id


def test_without_an_id_each_mail_gets_one_of_its_own():
    first, second = draft_of(submitted()).id, draft_of(submitted(), message_id="").id
    assert first != second
    assert first[14] == second[14] == "7"  # version (RFC 9562 section 5.7)
    assert first[19] in "89ab"  # variant


# ---------------------------------------------------------------------------------------------------------
# Times


@pytest.mark.parametrize(
    ("fields", "after", "held_by"),
    [
        ({}, timedelta(minutes=5), "the setting sending.hold = 5m"),
        ({"hold": "90s"}, timedelta(seconds=90), "the mail's own hold"),
        ({"hold": 0}, timedelta(0), "the mail's own hold"),
        ({"hold": 0.25}, timedelta(milliseconds=250), "the mail's own hold"),
        ({"priority": "urgent"}, timedelta(0), "nothing: it is urgent"),
        ({"priority": "urgent", "hold": "1m"}, timedelta(minutes=1), "the mail's own hold"),
        ({"send_at": "2026-03-01T15:00:00+02:00"}, timedelta(hours=1), "the mail's send_at"),
        ({"send_at": "2026-03-01T12:01:00Z"}, timedelta(minutes=5), "the setting sending.hold = 5m"),
        ({"send_at": "2026-03-01T11:30:00Z", "hold": 0}, timedelta(0), "the mail's own hold"),  # it waited in the queue
        ({"send_at": "2026-03-01T12:10:00Z", "hold": "20m"}, timedelta(minutes=20), "the mail's own hold"),
        ({"send_at": "2026-03-02T12:00:00Z", "priority": "urgent"}, timedelta(days=1), "the mail's send_at"),
    ],
)
@pytest.mark.parametrize("kind", [JSON, MSGPACK, RFC822])
def test_a_mail_is_due_after_its_hold_and_not_before_its_send_at(fields, after, held_by, kind):
    bodies = {JSON: submitted(**fields), MSGPACK: msgspec.msgpack.encode({**MINIMAL, **fields}), RFC822: FINISHED}
    draft = draft_of(bodies[kind], kind, fields if kind == RFC822 else {})
    assert draft.due - NOW == after
    assert draft.held_by == held_by
    assert draft.give_up == draft.due + timedelta(days=2)


def test_give_up_is_counted_from_the_end_of_the_hold():
    draft = draft_of(submitted(hold="1h", give_up_after="30m"))
    assert draft.give_up == NOW + timedelta(hours=1, minutes=30)


def test_an_amqp_timestamp_is_a_time():
    at = datetime(2026, 3, 1, 18, 0, tzinfo=timezone(timedelta(hours=3)))
    assert draft_of(FINISHED, RFC822, {"send_at": at}).due == at


def test_the_draft_says_who_and_under_what_settings():
    draft = draft_of(submitted(batch="march"), user_id="crm")
    assert (draft.batch, draft.submitted_by, draft.revision, draft.admitted) == ("march", "crm", 7, NOW)


def test_a_finished_message_takes_its_wishes_from_the_amqp_headers():
    wishes = {"batch": "march", "priority": "urgent", "hold": "1m", "x-other": object()}
    draft = draft_of(FINISHED, RFC822, wishes)
    assert (draft.batch, draft.urgent, draft.due) == ("march", True, NOW + timedelta(minutes=1))


@pytest.mark.parametrize(
    ("notify", "kept"),
    [
        (None, ""),
        ("never", "never"),
        (["failure"], "failure"),
        (["delay", "failure", "delay"], "failure,delay"),
        (["success"], "success"),
    ],
)
@pytest.mark.parametrize("kind", [JSON, MSGPACK, RFC822])
def test_a_mail_says_of_what_its_reverse_path_is_told(notify, kept, kind):
    fields = {"ret": "full"} if notify is None else {"notify": notify, "ret": "full"}
    bodies = {JSON: submitted(**fields), MSGPACK: msgspec.msgpack.encode({**MINIMAL, **fields}), RFC822: FINISHED}
    draft = draft_of(bodies[kind], kind, fields if kind == RFC822 else {})
    assert (draft.notify, draft.ret) == (kept, "full")


def test_an_amqp_header_may_name_the_notices_with_commas():
    assert draft_of(FINISHED, RFC822, {"notify": "failure, delay"}).notify == "failure,delay"


@pytest.mark.parametrize("kind", [JSON, RFC822])
@pytest.mark.parametrize(
    "fields", [{"notify": "always"}, {"notify": []}, {"notify": ["never"]}, {"notify": ["failure", "x"]}, {"ret": "x"}]
)
def test_a_notice_that_nobody_knows_is_refused(fields, kind):
    with pytest.raises(Invalid) as refused:
        draft_of(FINISHED if kind == RFC822 else submitted(**fields), kind, fields if kind == RFC822 else {})
    assert refused.value.field.partition("[")[0] == next(iter(fields))
    assert "takes" in refused.value.reason or "none of the values" in refused.value.reason


# ---------------------------------------------------------------------------------------------------------
# Whatever comes


KINDS = st.sampled_from([JSON, MSGPACK, RFC822])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=30)
    | st.binary(max_size=30)
)
ADDRESSES = st.sampled_from(["a@y.example", "ü@ü.example", '"a b"@y.example', "<a@y.example>", "x: b@y.example;", "("])
WILD = st.recursive(
    SCALARS | ADDRESSES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([field.encode_name for field in msgspec.structs.fields(Submission)])


def judged(body: bytes, kind: str, headers: dict[str, Any] | None = None) -> Draft | None:
    try:
        return draft_of(body, kind, headers)
    except Invalid:
        return None


@settings(max_examples=300)
@given(st.binary(max_size=400), KINDS)
def test_any_octets_are_admitted_or_refused(body, kind):
    judged(body, kind)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES | st.text(max_size=5), WILD, max_size=5))
def test_any_object_is_admitted_or_refused(fields):
    document = {**MINIMAL, **fields}
    judged(msgspec.msgpack.encode(document, enc_hook=str), MSGPACK)
    judged(msgspec.json.encode(document, enc_hook=str), JSON)


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from([b"From", b"To", b"Cc", b"Bcc", b"Sender", b"Subject", b"Date", b"Reply-To", b"X", b" ", b"\t"])
        | st.binary(max_size=5),
        max_size=6,
    ),
    st.lists(
        st.sampled_from([b":", b": a@y.example", b": <a@y.example>", b": =?utf-8?b?A?=", b": (((", b": x:;", b"\r"])
        | st.binary(max_size=20),
        min_size=6,
        max_size=6,
    ),
    st.dictionaries(
        st.sampled_from(["mail-from", "rcpt-to", "hold", "send_at", "give_up_after", "batch", "priority", "x"]),
        WILD | st.datetimes() | st.decimals(),
        max_size=3,
    ),
)
@example([b"From", b"Sender"], [b": a@y.example", b":"] + [b""] * 4, {})
def test_any_message_is_admitted_or_refused(names, values, headers):
    body = b"".join(name + value + b"\r\n" for name, value in zip(names, values, strict=False)) + b"\r\ntext\r\n"
    draft = judged(body, RFC822, headers)
    if draft is not None:
        content = draft.composed.content
        assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")


@settings(max_examples=300)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_no_text_breaks_out_of_its_header(subject, name, value):
    draft = judged(
        msgspec.json.encode(
            {"from": f"{name} <shop@x.example>", "to": "ann@y.example", "subject": subject, "headers": {"X-A": value}}
        ),
        JSON,
    )
    if draft is not None:
        head = draft.composed.content.partition(b"\r\n\r\n")[0].decode()
        names = [line.partition(":")[0] for line in head.split("\r\n") if not line.startswith(" ")]
        known = {"Date", "From", "To", "Subject", "Message-ID", "X-A", "MIME-Version", "Content-Type"}
        assert set(names) <= known | {"Content-Transfer-Encoding"}
        assert draft.composed.recipients == ("ann@y.example",)
        assert draft.composed.reverse_path == "shop@x.example"


@settings(max_examples=300)
@given(
    st.binary(max_size=200)
    | st.dictionaries(st.sampled_from(["command", "id", "batch", "recipient", "limit", "submission"]), WILD).map(
        lambda document: msgspec.json.encode(document, enc_hook=str)
    )
)
@example(b'{"command": []}')
@example(b'{"command": {}}')
@example(b'{"command": "show", "id": 5, <')
@example(b'{"command": "' + b"x" * 9999 + b'"}')
def test_any_command_is_understood_or_refused(body):
    reason = ""
    try:
        parse_command(body, 100_000)
    except Invalid as refused:
        reason = str(refused)
    assert len(reason) < 1000
