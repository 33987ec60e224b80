"""Direct mode, one lane, two sites: one that does not answer and one that does. The second gets its mail at once."""

import pytest

from tests.e2e.conftest import StartPipeline, StartSink
from tests.support.dns import nsd
from tests.support.pipeline import a_mail, direct_by, subjects
from tests.support.ports import free_port

_ZONES = {"slow.example": "@ MX 10 mx\nmx A 127.0.0.21", "quick.example": "@ MX 10 mx\nmx A 127.0.0.22"}


@pytest.mark.parametrize("verb", ["CONNECT", "MAIL", "."])
def test_mail_for_the_quick_site_arrives_while_the_slow_one_is_silent_at(
    start_pipeline: StartPipeline, start_sink: StartSink, verb: str
):
    port = free_port()
    slow, quick = (start_sink(address=address, port=port) for address in ("127.0.0.21", "127.0.0.22"))
    pause = slow.pause(verb)
    with nsd(_ZONES) as dns:
        pipeline = start_pipeline(direct_by(dns.server, port, sending={"max_per_connection": 20}))
        # More than all lanes take at once, so that the quick site's mail stands behind it.
        for number in range(200):
            pipeline.submit(a_mail(f"slow-{number}", to=["a@slow.example"], batch="slow"))
        pause.wait(30)
        for number in range(100):
            pipeline.submit(a_mail(f"quick-{number}", to=["a@quick.example"]))

        pipeline.client.wait_until(lambda: len(quick.mails) >= 100, "the quick site's mail", 60)
        assert not slow.mails

        slow.forget_rules()
        pause.release()

        def all_here() -> bool:
            pipeline.control("release", batch="slow")  # those that were parked meanwhile
            return len(slow.mails) >= 200

        pipeline.client.wait_until(all_here, "the slow site's mail", 60)
        pipeline.wait_for_each_once(slow, [f"slow-{number}" for number in range(200)])

    assert subjects(quick.mails) == {f"quick-{number}": 1 for number in range(100)}
