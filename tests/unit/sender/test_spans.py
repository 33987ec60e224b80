"""What the span of an attempt tells: from the claim to the outcome of a mail, without a word of anybody's."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.sender.spans import AttemptSpans, attempt_spans
from services.sender.work import ClaimedWork, Errand, Work
from shared.broker import Delivery, Properties
from shared.contracts.work import Envelope, Host, Recipient, Route, SendRequest, TlsMode
from shared.otel import Tracer
from shared.outcomes import Bounced, Deferred, Delivered, Parked
from shared.smtp_reply import Reply

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HOST = "mx.y.example [192.0.2.1]"
TAKEN = Delivered(Reply(250, "2.0.0", "queued"), HOST)


def claimed(trace: str = TRACE) -> ClaimedWork:
    to = (Recipient(7, "ann@y.example"), Recipient(8, "bob@y.example"))
    envelope = Envelope("order-1", "shop@x.example", to, 99, False, False, trace=trace)
    route = Route("mx:mx.y.example", (Host("mx.y.example", 25),), TlsMode.ENABLE, None, 3)
    errand = Errand(Delivery(b"", 1, 1, False, Properties()), None, 1)
    return ClaimedWork(Work(SendRequest(envelope, 2), route, errand), (7, 8), (2, 2))


@pytest.mark.parametrize(
    ("outcomes", "outcome", "reply", "failure"),
    [
        ([TAKEN, TAKEN], "delivered", "250 2.0.0", None),
        ([TAKEN, Bounced(Reply(550, "5.1.1", "no bob@y.example"), HOST)], "bounced", "550 5.1.1", "bounced: 550 5.1.1"),
        ([Deferred(Reply(451, "", "later"), HOST), TAKEN], "deferred", "451", "deferred: 451"),
        ([Parked("it is down")] * 2, "parked", None, "parked: it is down"),
    ],
)
def test_the_outcome_that_tells_most_is_told(outcomes, outcome, reply, failure):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans, work = AttemptSpans(Tracer(provider)), claimed()
    spans.begin([work])
    spans.end(work, outcomes)
    [span] = exporter.get_finished_spans()
    said = dict(span.attributes)
    assert (said["pillarbox.mail"], said["pillarbox.attempt"], said["pillarbox.recipients"]) == ("order-1", 2, 2)
    assert (said["pillarbox.outcome"], said.get("pillarbox.reply")) == (outcome, reply)
    assert span.status.description == failure
    assert "y.example" not in str({**said, "pillarbox.site": "", "server.address": ""})


def test_a_mail_without_a_trace_has_no_span():
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans, work = AttemptSpans(Tracer(provider)), claimed(trace="")
    spans.begin([work])
    spans.end(work, [TAKEN, TAKEN])
    assert exporter.get_finished_spans() == ()


def test_without_a_tracer_there_are_none():
    assert attempt_spans(None) is None
