"""`limits`: how many connections a sender opens to one MX site, whatever the number of domains behind it."""

import pytest

from tests.e2e.conftest import StartSink
from tests.support.dns import nsd
from tests.support.pipeline import Pipeline, direct_by
from tests.support.ports import free_port


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({"connections": 1}, 1),
        ({"connections": 2}, 2),
        ({"connections": 4, "sites": {"mx.mx.example": {"connections": 1}}}, 1),
        ({"connections": 4, "sites": {"mx.example": {"connections": 1, "until": "2020-01-01T00:00:00Z"}}}, 4),
    ],
    ids=["one", "two", "one, for this host", "one, which has ended"],
)
def test_so_many_are_open_at_most(pipeline: Pipeline, start_sink: StartSink, limits: object, most: int):
    sink = start_sink(address="127.0.0.16", port=free_port())
    with nsd({"mx.example": "@ MX 10 mx\nmx A 127.0.0.16"}) as dns:
        pipeline.change(**direct_by(dns.server, sink.port, limits=limits))
        pipeline.wait_for_each_once(sink, pipeline.submit_many(100))

    assert sink.most_open == most
