"""What the gateway reads of a message's headers."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.gateway.head import read_letter
from shared.refusals import Invalid

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FROM = b"From: Ann <ann@x.example>\r\n"
BODY = b"\r\nX-Pillarbox-Hold: in the body this is text\r\n"


def refusal(content: bytes) -> Invalid:
    with pytest.raises(Invalid) as refused:
        read_letter(content, NOW)
    return refused.value


def test_our_headers_become_wishes_and_leave_the_message():
    content = (
        b"X-Pillarbox-Hold: 10m\r\n"
        + FROM
        + b"x-pillarbox-BATCH:\r\n march\r\nSubject: x-pillarbox-hold: no\r\n"
        + b"X-Pillarbox-Send-At: 2026-03-02T08:00:00+01:00\r\nX-Pillarbox-Priority: urgent\r\n"
        + BODY
    )
    letter = read_letter(content, NOW)
    assert letter.wishes == {
        "hold": "10m",
        "batch": "march",
        "send_at": "2026-03-02T08:00:00+01:00",
        "priority": "urgent",
    }
    assert letter.content == FROM + b"Subject: x-pillarbox-hold: no\r\n" + BODY


def test_a_message_without_them_is_the_message():
    letter = read_letter(FROM + BODY, NOW)
    assert (letter.content, letter.wishes) == (FROM + BODY, {})


def test_an_encoded_batch_is_decoded():
    letter = read_letter(FROM + b"X-Pillarbox-Batch: =?utf-8?q?M=C3=A4rz?=\r\n\r\n", NOW)
    assert letter.wishes == {"batch": "März"}


@pytest.mark.parametrize(
    ("fields", "carried"),
    [
        (b"traceparent: %s\r\n" % PARENT, {"traceparent": PARENT.decode()}),
        (
            b"Traceparent:\r\n %s\r\ntracestate: a=1,\r\n b=2\r\nTRACESTATE: c=3\r\n" % PARENT,
            {"traceparent": PARENT.decode(), "tracestate": "a=1, b=2,c=3"},
        ),
        # As Python's email writes words longer than a line.
        (
            b"traceparent: %s\r\ntracestate: =?utf-8?q?a=3D?=\r\n =?utf-8?q?1?=\r\n" % PARENT,
            {"traceparent": PARENT.decode(), "tracestate": "a=1"},
        ),
        (b"traceparent: nonsense\r\ntracestate: a=1\r\n", {}),  # no reason to refuse a mail
        (b"traceparent: %s\r\ntraceparent: %s\r\n" % (PARENT, PARENT), {}),
        (b"traceparent:\r\n", {}),
        (b"tracestate: a=1\r\n", {}),
    ],
)
def test_the_trace_leaves_the_message_and_goes_with_it_where_w3c_would_take_it(fields: bytes, carried: dict[str, str]):
    letter = read_letter(fields + FROM + b"Subject: traceparent: no\r\n" + BODY, NOW)
    assert letter.wishes == carried
    assert letter.content == FROM + b"Subject: traceparent: no\r\n" + BODY


def test_what_opentelemetry_puts_into_a_message_is_found():
    _, trace, span, flags = PARENT.decode().split("-")
    state = TraceState([(f"vendor{number}", "x" * 20) for number in range(12)])  # more than a line
    parent = SpanContext(int(trace, 16), int(span, 16), True, TraceFlags(int(flags)), state)
    mail = EmailMessage(policy=SMTP)
    mail["From"] = "ann@x.example"
    TraceContextTextMapPropagator().inject(mail, set_span_in_context(NonRecordingSpan(parent)))
    letter = read_letter(mail.as_bytes(), NOW)
    assert letter.wishes == {"traceparent": PARENT.decode(), "tracestate": state.to_header()}
    assert b"trace" not in letter.content


@pytest.mark.parametrize(
    ("header", "field", "says"),
    [
        (b"X-Pillarbox-Hold: soon", "X-Pillarbox-Hold", 'got "soon"; takes a duration such as "90s"'),
        (b"X-Pillarbox-Hold: -5m", "X-Pillarbox-Hold", "takes a duration"),
        (b"X-Pillarbox-Hold:", "X-Pillarbox-Hold", "takes a duration"),
        (b"X-Pillarbox-Send-At: tomorrow", "X-Pillarbox-Send-At", 'got "tomorrow"'),
        (b"X-Pillarbox-Send-At: 2026-03-02T08:00:00", "X-Pillarbox-Send-At", "takes a time with its offset"),
        (b"X-Pillarbox-Send-At: 2020-03-02T08:00:00Z", "X-Pillarbox-Send-At", "which is past"),
        (b"X-Pillarbox-Send-At: 2126-03-02T08:00:00Z", "X-Pillarbox-Send-At", "within ten years"),
        (b"X-Pillarbox-Batch: " + b"x" * 201, "X-Pillarbox-Batch", "takes at most 200 characters"),
        (
            b"X-Pillarbox-Batch:" + b" =?utf-8?q??=" * 1000 + b" =?utf-8?q?a?=",
            "X-Pillarbox-Batch",
            "at most 200 characters",
        ),
        (b"X-Pillarbox-Batch: =?utf-8?q?a=0Ab?=", "X-Pillarbox-Batch", "has the control character U+000A"),
        (b"X-Pillarbox-Priority: high", "X-Pillarbox-Priority", 'takes "normal" or "urgent"'),
        (b"X-Pillarbox-Holdd: 5m", "X-Pillarbox-Holdd", "did you mean X-Pillarbox-Hold?"),
        (b"X-Pillarbox-" + b" " * 1_000_000 + b": 5m", "X-Pillarbox-", "there is no such header"),
        (b"X-Pillarbox-Colour: red", "X-Pillarbox-Colour", "known are X-Pillarbox-Hold, "),
        (b"X-Pillarbox-Hold: 5m\r\nX-PILLARBOX-HOLD: 5m", "X-Pillarbox-Hold", "stands twice"),
    ],
)
def test_what_is_wrong_in_one_of_them_is_named_by_the_header(header: bytes, field: str, says: str):
    refused = refusal(FROM + header + b"\r\n\r\nHi\r\n")
    assert refused.field == field
    assert says in refused.reason


@pytest.mark.timeout(20)
@pytest.mark.parametrize("end", [b"", b"x"])
def test_a_megabyte_of_blanks_holds_nobody_up(end: bytes):
    line = b"X-Pillarbox-" + b" " * 1_000_000 + end + b"\r\n"
    assert read_letter(FROM + line + b"\r\nHi\r\n", NOW).wishes == {}


@pytest.mark.parametrize(
    ("content", "field", "says"),
    [
        (b"Subject: Hi\r\n\r\nHi\r\n", "From", "no From headers"),
        (b"\r\n" + FROM, "From", "no From headers"),
        (b"", "From", "no From headers"),
        (FROM + FROM + b"\r\n", "From", "2 From headers"),
        (b"From: nobody\r\n\r\n", "From", "is no e-mail address"),
        (b"From:\r\n\r\n", "From", "is empty"),
        (FROM + b"Sender: nobody\r\n\r\n", "Sender", "is no e-mail address"),
        (FROM + b"Subject: a\nBcc: b@y.example\r\n\r\n", "content", "bare CR or LF"),
        (FROM + b"\r\nfirst\n.\nsecond\r\n", "content", "bare CR or LF"),
        (FROM + b"\r\nfirst\r.\rsecond\r\n", "content", "bare CR or LF"),
        (FROM + b"\r\na\0b\r\n", "content", "NUL"),
        (FROM + b"X: " + b"x" * 1024 * 1024 + b"\r\n\r\n", "headers", "takes at most 1048576"),
    ],
)
def test_what_no_scheduler_would_take_is_refused_at_once(content: bytes, field: str, says: str):
    refused = refusal(content)
    assert refused.field == field
    assert says in refused.reason


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (FROM, ["ann@x.example"]),
        (b"FROM : ann@x.example,\r\n\tBob <bob@Y.example>\r\n", ["ann@x.example", "bob@y.example"]),
        (FROM + b"Sender: robot@x.example\r\n", ["ann@x.example", "robot@x.example"]),
    ],
)
def test_all_who_claim_to_have_written_it_are_its_authors(head: bytes, expected: list[str]):
    assert [author.spec for author in read_letter(head + b"\r\nHi\r\n", NOW).authors] == expected
