"""Traces (OpenTelemetry), where they are configured: the part that costs nothing where they are not.

A mail carries its trace context as one text: the `traceparent` of W3C Trace Context, and behind a blank its
`tracestate` where there is one. Nobody looks at it without a `Tracer`.
"""

import importlib.util
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.otel import Tracer

# The variables of the OpenTelemetry specification, any of which says where traces go.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")

# https://www.w3.org/TR/trace-context/#traceparent-header: later versions may have more behind these.
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")
_STATE = re.compile(r"[ -~]{1,512}")
_LONGEST_PARENT = 255


def wanted(variables: Mapping[str, str]) -> bool:
    """Whether traces are to be sent somewhere."""
    if variables.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return any(variables.get(name) for name in ENDPOINTS)


def missing() -> bool:
    """Whether the packages for it are not installed."""
    try:
        return any(importlib.util.find_spec(package) is None for package in _PACKAGES)
    except ModuleNotFoundError:
        return True


def tracer_of(role: str, worker: str, traces: bool) -> "Tracer | None":
    """The tracer of a worker; None where its environment wants no traces."""
    if not traces:
        return None
    from shared.otel import Tracer

    return Tracer.exporting(role, worker)


def context_in(headers: Mapping[str, Any]) -> str:
    """The trace context in the headers of a submission; "" where there is none, or none that W3C would take."""
    parent, state = headers.get("traceparent"), headers.get("tracestate")
    if not isinstance(parent, str) or len(parent) > _LONGEST_PARENT or not _PARENT.fullmatch(parent):
        return ""
    return f"{parent} {state}" if isinstance(state, str) and _STATE.fullmatch(state) else parent


def context_headers(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The trace context that header fields of a request or of a message bring, as headers of a submission.

    Two parents are none; the states of several fields are one list (W3C Trace Context section 3.3).
    """
    said = [(name.lower(), value) for name, value in fields]
    parents = [value for name, value in said if name == "traceparent"]
    if len(parents) != 1:
        return {}
    states = ",".join(value for name, value in said if name == "tracestate")
    parent, _, state = context_in({"traceparent": parents[0], "tracestate": states}).partition(" ")
    return {name: value for name, value in (("traceparent", parent), ("tracestate", state)) if value}
