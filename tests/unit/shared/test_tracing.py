"""Trace contexts: what a submission may bring, and who wants them."""

import subprocess
import sys

import pytest

from shared import tracing
from shared.environment import InvalidEnvironment, read_environment
from shared.tracing import context_headers, context_in, tracer_of, wanted

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STORE = {"PILLARBOX_STORE_URL": "sqlite:///x.db"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ""),
        ({"traceparent": PARENT}, PARENT),
        ({"traceparent": PARENT, "tracestate": "a=1,b=2"}, f"{PARENT} a=1,b=2"),
        ({"traceparent": PARENT, "tracestate": 7}, PARENT),  # no text
        ({"traceparent": PARENT, "tracestate": "x" * 513}, PARENT),  # longer than W3C lets it be
        ({"traceparent": PARENT, "tracestate": "a=1\nb=2"}, PARENT),
        ({"tracestate": "a=1"}, ""),  # means nothing without a parent
        ({"traceparent": PARENT.upper()}, ""),  # the letters are small ones
        ({"traceparent": f"01{PARENT[2:]}-more"}, f"01{PARENT[2:]}-more"),  # of a version to come
        ({"traceparent": f"ff{PARENT[2:]}"}, ""),  # no version
        ({"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"}, ""),  # no trace
        ({"traceparent": f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01"}, ""),  # no span
        ({"traceparent": f"{PARENT}\n"}, ""),
        ({"traceparent": PARENT.encode()}, ""),
        ({"traceparent": f"01{PARENT[2:]}-{'x' * 300}"}, ""),
    ],
)
def test_what_a_submission_brings_is_taken_as_w3c_says(headers, expected):
    assert context_in(headers) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("Subject", "x")], {}),
        ([("Traceparent", PARENT)], {"traceparent": PARENT}),
        ([("tracestate", "a=1"), ("traceparent", PARENT)], {"traceparent": PARENT, "tracestate": "a=1"}),
        ([("traceparent", PARENT), ("traceparent", PARENT)], {}),  # which of them?
        ([("traceparent", f"01{PARENT[2:]}-more"), ("traceparent", PARENT)], {}),
        (
            [("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")],
            {"traceparent": PARENT, "tracestate": "a=1,b=2"},
        ),
        ([("traceparent", "nonsense"), ("tracestate", "a=1")], {}),
        ([("traceparent", PARENT), ("tracestate", "ü")], {"traceparent": PARENT}),
    ],
)
def test_what_header_fields_bring_goes_with_the_submission(fields, expected):
    assert context_headers(fields) == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_traces_are_wanted_where_it_is_said_where_they_go(variables, expected):
    assert wanted(variables) is expected
    assert read_environment("sender", {**STORE, **variables}).traces is expected


def test_without_the_packages_a_worker_says_so_and_does_not_start(monkeypatch):
    monkeypatch.setattr(tracing, "missing", lambda: True)
    with pytest.raises(
        InvalidEnvironment, match=r"OTEL_EXPORTER_OTLP_ENDPOINT is set.*pip install 'pillarbox\[otel\]'"
    ):
        read_environment("sender", {**STORE, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})
    assert not read_environment("sender", STORE).traces


def test_who_wants_no_traces_loads_nothing_of_it():
    assert tracer_of("sender", "sender-1", False) is None
    loads = "import sys, services.scheduler.__main__, services.resolver.__main__, services.sender.__main__\n"
    look = "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", loads + look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
