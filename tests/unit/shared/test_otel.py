"""Spans by the real SDK, into its exporter in memory."""

import logging
import time

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

from shared.otel import Tracer
from shared.tracing import context_in

TRACE, PARENT = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
CARRIED = f"00-{TRACE:032x}-{PARENT:016x}-01 vendor=7"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracer(provider)


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    [span] = exporter.get_finished_spans()
    return span


def test_a_span_belongs_to_the_trace_that_was_carried(tracer: Tracer, exporter: InMemorySpanExporter):
    begun = time.time_ns() - 5_000_000_000
    tracer.record("pillarbox.hold", CARRIED, begun, {"pillarbox.mail": "order-1"})
    span = only(exporter)
    assert (span.name, span.context.trace_id, span.parent.span_id) == ("pillarbox.hold", TRACE, PARENT)
    assert span.start_time == begun
    assert 5 <= (span.end_time - span.start_time) / 1e9 < 60
    assert span.attributes == {"pillarbox.mail": "order-1"}
    assert (span.kind, span.status.status_code) == (SpanKind.INTERNAL, StatusCode.UNSET)


def test_what_is_carried_on_names_the_new_span_and_keeps_the_state(tracer: Tracer, exporter: InMemorySpanExporter):
    begun = tracer.begin("pillarbox.admit", CARRIED, time.time_ns(), {})
    carried = tracer.carried_by(begun)
    tracer.end(begun)
    span = only(exporter)
    assert carried == f"00-{TRACE:032x}-{span.context.span_id:016x}-01 vendor=7"
    parent, _, state = carried.partition(" ")
    assert context_in({"traceparent": parent, "tracestate": state}) == carried


def test_a_mail_that_brings_no_trace_begins_one(tracer: Tracer, exporter: InMemorySpanExporter):
    begun = tracer.begin("pillarbox.admit", "", time.time_ns(), {})
    tracer.end(begun)
    span = only(exporter)
    assert span.parent is None
    assert context_in({"traceparent": tracer.carried_by(begun)})


def test_a_trace_that_its_client_does_not_sample_is_carried_and_not_recorded(
    tracer: Tracer, exporter: InMemorySpanExporter
):
    unsampled = f"00-{TRACE:032x}-{PARENT:016x}-00"
    begun = tracer.begin("pillarbox.admit", unsampled, time.time_ns(), {})
    tracer.end(begun)
    assert exporter.get_finished_spans() == ()
    assert tracer.carried_by(begun).startswith(f"00-{TRACE:032x}-")
    assert tracer.carried_by(begun).endswith("-00")


def test_a_failure_is_told(tracer: Tracer, exporter: InMemorySpanExporter):
    tracer.record_call("pillarbox.send", CARRIED, time.time_ns(), {}, "bounced: 550 5.1.1")
    span = only(exporter)
    assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.ERROR)
    assert span.status.description == "bounced: 550 5.1.1"


def test_it_says_which_worker_it_is(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    resource = Tracer.exporting("sender", "sender-7").resource
    assert resource["service.name"] == "pillarbox-sender"
    assert resource["service.instance.id"] == "sender-7"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mail")
    assert Tracer.exporting("sender", "sender-7").resource["service.name"] == "mail"


def test_a_collector_that_is_away_is_told_in_the_words_of_the_log(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    Tracer.exporting("sender", "sender-7")
    with capture_logs() as said:
        logging.getLogger("opentelemetry.exporter").warning("no connection to %s", "127.0.0.1:1")
        logging.getLogger("opentelemetry.exporter").warning("and again")
    assert [(line["event"], line["error"], line["next"]) for line in said] == [
        ("traces_not_sent", "no connection to 127.0.0.1:1", "spans_are_dropped")
    ]
