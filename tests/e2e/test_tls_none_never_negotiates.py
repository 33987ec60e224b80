"""`tls = "none"`: plaintext, also where the server offers TLS."""

from tests.e2e.conftest import StartSink
from tests.support.certificates import Authority
from tests.support.pipeline import Pipeline, a_mail, relay_to


def test_no_connection_says_starttls(pipeline: Pipeline, start_sink: StartSink, authority: Authority):
    sink = start_sink(certificate=authority.issue("127.0.0.1"))
    pipeline.change(**relay_to(sink, tls="none", sending={"max_per_connection": 5}))

    pipeline.wait_for_each_once(sink, pipeline.submit_many(50))

    assert len(sink.connections) >= 10
    assert not any("STARTTLS" in one.commands for one in sink.connections)
    assert not any(mail.tls for mail in sink.mails)


def test_the_first_mail_after_a_change_to_require_is_encrypted_though_a_connection_is_open(
    pipeline: Pipeline, start_sink: StartSink, authority: Authority
):
    sink = start_sink(certificate=authority.issue("127.0.0.1"))
    pipeline.change(**relay_to(sink, tls="none", relay={"ca_file": str(authority.file)}))
    ids = [f"warm-{number}" for number in range(20)]  # connections on every lane, idle but open
    for id in ids:
        pipeline.wait_for_event("delivered", pipeline.submit(a_mail(id), id))

    pipeline.change(tls="require")
    pipeline.wait_for_each_once(sink, ids + pipeline.submit_many(20))

    assert [mail.tls for mail in sink.mails] == [False] * 20 + [True] * 20
