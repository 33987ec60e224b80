"""A thousand mails for a site that does not answer, two hundred for one that wants none now, a thousand for a live one.

They are released together, to two senders, with the usual time-outs. The live site's mail does not wait for the others;
each of these sees one connection a probe, and gets all of its mail, once, when it is up.
"""

from contextlib import ExitStack
from typing import Any

import pytest

from tests.e2e.conftest import StartPipeline, StartSink
from tests.support.dns import nsd
from tests.support.pipeline import Pipeline, a_mail, direct_by
from tests.support.ports import free_port
from tests.support.silence import silent
from tests.support.sinks import RecordingSink

_ZONES = {
    "dead.example": "@ MX 10 mx\nmx A 127.0.0.31",
    "busy.example": "@ MX 10 mx\nmx A 127.0.0.32",
    "live.example": "@ MX 10 mx\nmx A 127.0.0.33",
}


@pytest.mark.timeout(300)
@pytest.mark.checklist(144, 147)
def test_the_live_thousand_is_through_before_the_first_time_out(start_pipeline: StartPipeline, start_sink: StartSink):
    port = free_port()
    busy, live = (start_sink(address=address, port=port) for address in ("127.0.0.32", "127.0.0.33"))
    busy.answer("CONNECT", "*", "421 4.3.2 closed for now")
    with nsd(_ZONES) as dns, ExitStack() as silence:
        settings = direct_by(dns.server, port, sending={"hold": "1h"}, retry={"probe_schedule": ["3s"]})
        with silent("127.0.0.31", port) as dead:
            pipeline = start_pipeline(settings, senders=2)
            ids = _submit(pipeline, dead=1000, live=1000, busy=200)
            pipeline.wait_for_events(len(ids), "held", timeout=100)
            pipeline.control("release", batch="all")

            live.wait_for(1000, timeout=100)
            pipeline.client.wait_until(lambda: dead.tries > 0, "the dead site is tried", 30)
            assert (dead.tries, _down(pipeline, "dead")) == (1, {}), "the first connection time-out came before"
            _wait_until_waiting(pipeline, "busy", 200)
        # The next packet of that one is refused; then it is silent again, and waited for no more than a second.
        pipeline.change(timeouts={"connect": "1s"})
        _wait_until_waiting(pipeline, "dead", 1000)
        dead = silence.enter_context(silent("127.0.0.31", port))
        refused = _down(pipeline, "dead")["failures"]
        pipeline.client.wait_until(lambda: dead.tries >= 2, "two probes time out", 60)
        # One may have been refused just before the silence, and one may be under way.
        assert -1 <= dead.tries - (_down(pipeline, "dead")["failures"] - refused) <= 1
        assert 0 <= len(busy.connections) - _down(pipeline, "busy")["failures"] <= 1
        assert {mail["attempt"] for mail in _recipients(pipeline)} == {1}

        silence.close()
        revived = RecordingSink(address="127.0.0.31", port=port)
        busy.forget_rules()
        with revived:
            pipeline.wait_for_each_once([revived, busy, live], ids, timeout=120)

    assert {event["attempt"] for event in pipeline.events("delivered")} == {1}
    deferred = [event["mail"] for event in pipeline.events("deferred")]
    assert len(deferred) == len(set(deferred)), "told once each"


def _submit(pipeline: Pipeline, **counts: int) -> list[str]:
    """So many mails for each domain, all domains side by side; their ids."""
    ids = [
        f"{domain}-{number}"
        for number in range(max(counts.values()))
        for domain, count in counts.items()
        if number < count
    ]
    for id in ids:
        pipeline.submit(a_mail(id, to=[f"b@{id.partition('-')[0]}.example"], batch="all"), id)
    return ids


def _down(pipeline: Pipeline, domain: str) -> dict[str, Any]:
    """What is told of a domain's site while it is down."""
    site = f"mx:mx.{domain}.example"
    return next((one for one in pipeline.control("sites")["sites"] if one["site"] == site), {})


def _wait_until_waiting(pipeline: Pipeline, domain: str, count: int) -> None:
    def all_wait() -> bool:
        # One may be on its way, for the probe.
        return _down(pipeline, domain).get("waiting", 0) >= count - 1

    pipeline.client.wait_until(all_wait, f"{count} mails wait for {domain}", 120)


def _recipients(pipeline: Pipeline) -> list[dict[str, Any]]:
    deferred = pipeline.control("list", state="deferred", limit=1000)["mails"]
    return [recipient for mail in deferred for recipient in mail["recipients"]]
