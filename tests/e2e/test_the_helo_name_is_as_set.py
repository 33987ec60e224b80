"""`identity.helo_name`: a name, an address literal, or what forward-confirmed reverse DNS says."""

import pytest

from tests.support.dns import nsd
from tests.support.pipeline import Pipeline, a_mail, relay_to
from tests.support.sinks import RecordingSink


@pytest.mark.parametrize("name", ["mail.sender.example", "[192.0.2.25]"])
def test_the_name_that_is_set_is_said(pipeline: Pipeline, sink: RecordingSink, name: str):
    pipeline.change(**relay_to(sink, identity={"helo_name": "before.sender.example"}))
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail()))
    sink.wait_until_idle()

    pipeline.change(identity={"helo_name": name})
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail()))

    assert [one.helo for one in sink.connections] == ["before.sender.example", name]


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        ("out A 127.0.0.1", "out.sender.example"),
        ("out A 192.0.2.1", "[127.0.0.1]"),  # the name does not lead back: anybody can claim a name in reverse DNS
    ],
)
def test_auto_says_the_name_that_dns_confirms(pipeline: Pipeline, sink: RecordingSink, forward: str, said: str):
    zones = {"127.in-addr.arpa": "1.0.0 PTR out.sender.example.", "sender.example": forward}
    with nsd(zones) as dns:
        pipeline.change(**relay_to(sink, identity={"helo_name": "auto"}, dns={"servers": [dns.server]}))
        pipeline.wait_for_event("delivered", pipeline.submit(a_mail()))

    assert [one.helo for one in sink.connections] == [said]
