"""`tls = "none"`: plaintext, also where the server offers TLS."""

from tests.e2e.conftest import StartPipeline, StartSink
from tests.support.certificates import Authority
from tests.support.pipeline import relay_to


def test_no_connection_says_starttls(start_pipeline: StartPipeline, start_sink: StartSink, authority: Authority):
    sink = start_sink(certificate=authority.issue("127.0.0.1"))
    pipeline = start_pipeline(relay_to(sink, tls="none", sending={"max_per_connection": 5}))

    pipeline.wait_for_each_once(sink, pipeline.submit_many(50))

    assert len(sink.connections) >= 10
    assert not any("STARTTLS" in one.commands for one in sink.connections)
    assert not any(mail.tls for mail in sink.mails)
