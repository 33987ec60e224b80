"""Spans by OpenTelemetry's SDK: the only file that imports it, and imported only where traces are wanted."""

import logging
from collections.abc import Mapping
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.trouble import Trouble

__all__ = ["Span", "Tracer"]

# Longer would cost a sender that stops the time in which it ends its transactions.
_EXPORT_WITHIN_S = 5

_propagator = TraceContextTextMapPropagator()

Attributes = Mapping[str, str | int]


class _Complaints(logging.Handler):
    """What the SDK says of a collector that is away, in the words of our log, now and then."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._trouble = Trouble("traces_not_sent")

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, unless it was said just now."""
        self._trouble.seen("the collector does not take them", error=record.getMessage(), next="spans_are_dropped")


class Tracer:
    """Makes the spans of one worker. Sampling, batching and the collector's address are the SDK's variables."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("pillarbox", version("pillarbox"))

    @classmethod
    def exporting(cls, role: str, worker: str) -> "Tracer":
        """One that sends to the collector of `OTEL_EXPORTER_OTLP_ENDPOINT`, in the background and at the end."""
        named = {"service.version": version("pillarbox"), "service.instance.id": worker}
        # Resource.create would say unknown_service where OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES name none.
        resource = Resource.create({"service.name": f"pillarbox-{role}", **named}).merge(
            OTELResourceDetector().detect()
        )
        complaints = logging.getLogger("opentelemetry")
        complaints.handlers, complaints.propagate = [_Complaints()], False
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=_EXPORT_WITHIN_S)))
        return cls(provider)

    @property
    def resource(self) -> Attributes:
        """What it says of the worker."""
        return {name: str(value) for name, value in self._provider.resource.attributes.items()}

    def begin(self, name: str, carried: str, begun_ns: int, attributes: Attributes) -> Span:
        """A span of something that another program has asked for; without a context it begins a trace."""
        return self._tracer.start_span(name, _context(carried), SpanKind.CONSUMER, attributes, start_time=begun_ns)

    def end(self, span: Span, failure: str = "") -> None:
        """End a span; `failure` says what went wrong, "" that nothing did."""
        if failure:
            span.set_status(Status(StatusCode.ERROR, failure))
        span.end()

    def carried_by(self, span: Span) -> str:
        """The context that a mail carries from here on."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, set_span_in_context(span, Context()))
        return " ".join(carrier[name] for name in ("traceparent", "tracestate") if carrier.get(name))

    def record(
        self,
        name: str,
        carried: str,
        begun_ns: int,
        attributes: Attributes,
        failure: str = "",
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        """A span that ends now, within the trace that a mail carries."""
        span = self._tracer.start_span(name, _context(carried), kind, attributes, start_time=begun_ns)
        self.end(span, failure)

    def record_call(self, name: str, carried: str, begun_ns: int, attributes: Attributes, failure: str = "") -> None:
        """The same of a call to another server."""
        self.record(name, carried, begun_ns, attributes, failure, SpanKind.CLIENT)


def _context(carried: str) -> Context:
    parent, _, state = carried.partition(" ")
    carrier = {name: value for name, value in (("traceparent", parent), ("tracestate", state)) if value}
    return _propagator.extract(carrier, Context())
