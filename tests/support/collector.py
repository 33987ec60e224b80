"""A collector of OpenTelemetry: takes spans over HTTP as workers export them, and remembers them."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.ports import wait_until


class CollectedSpan(msgspec.Struct, frozen=True):
    """A span, as far as tests ask for it."""

    service: str
    name: str
    trace: str  # hexadecimal, as in `traceparent`
    span: str
    parent: str
    attributes: dict[str, str | int]
    failure: str
    seconds: float


class Collector:
    """A context manager; `endpoint` is what OTEL_EXPORTER_OTLP_ENDPOINT takes."""

    def __init__(self) -> None:
        self.spans: list[CollectedSpan] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.spans += _spans(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Collector":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def of(self, mail: str) -> dict[str, list[CollectedSpan]]:
        """The spans of one mail so far, by name, in order of arrival."""
        found: dict[str, list[CollectedSpan]] = {}
        for span in list(self.spans):
            if span.attributes.get("pillarbox.mail") == mail:
                found.setdefault(span.name, []).append(span)
        return found

    def wait_for(self, mail: str, **counts: int) -> dict[str, list[CollectedSpan]]:
        """Wait for so many spans of each name (without its `pillarbox.`) of a mail."""
        wait_until(
            lambda: (
                {name: len(some) for name, some in self.of(mail).items()}
                == {f"pillarbox.{name}": count for name, count in counts.items()}
            ),
            f"the spans of {mail}: {counts}",
            30,
        )
        return self.of(mail)


def _spans(request: ExportTraceServiceRequest) -> list[CollectedSpan]:
    return [
        CollectedSpan(
            service=_values(resource.resource.attributes)["service.name"],
            name=span.name,
            trace=span.trace_id.hex(),
            span=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            attributes=_values(span.attributes),
            failure=span.status.message,
            seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
