"""A submission over HTTP goes on as it came, and takes the trace of its request along."""

import json

import pytest

from services.console.submissions import Wishes, encoded, finished, structured
from shared.contracts.submissions import Submission
from shared.tracing import context_headers

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STRUCTURED = json.dumps({"from": "a@x.example", "to": "b@y.example"}).encode()
FINISHED = b"From: a@x.example\r\nTo: b@y.example\r\n\r\nhello\r\n"


@pytest.mark.parametrize(
    ("asked", "carried"),
    [
        ({"traceparent": PARENT}, {"traceparent": PARENT}),
        ({"traceparent": PARENT, "tracestate": "vendor=7"}, {"traceparent": PARENT, "tracestate": "vendor=7"}),
        ({"traceparent": PARENT.upper(), "tracestate": "vendor=7"}, {}),  # none that W3C would take
        ({"tracestate": "vendor=7"}, {}),
        ({"authorization": "Bearer secret"}, {}),
    ],
)
def test_the_trace_of_a_request_goes_with_its_mail_and_no_other_header_does(asked, carried):
    trace = context_headers(asked.items())
    assert structured(STRUCTURED, "application/json", "m1", trace).properties.headers == carried
    assert encoded(Submission(from_="a@x.example", to="b@y.example"), "m1", trace).properties.headers == carried
    message = finished(FINISHED, Wishes(batch="march"), "m1", trace)
    assert message.properties.headers == {"batch": "march", **carried}
    assert message.body == FINISHED
