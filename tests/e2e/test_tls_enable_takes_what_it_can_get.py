"""`tls = "enable"`: TLS where it can be had, with any certificate, and plaintext over a new connection where not."""

import pytest

from tests.e2e.conftest import StartPipeline, StartSink
from tests.support.certificates import Authority
from tests.support.pipeline import Pipeline, a_mail, relay_to


def test_after_a_failed_handshake_mail_arrives_in_plaintext_over_a_new_connection(
    pipeline: Pipeline, start_sink: StartSink, authority: Authority
):
    sink = start_sink(certificate=authority.issue("127.0.0.1"), breaks_handshake=True)
    pipeline.change(**relay_to(sink, tls="enable"))

    mail = pipeline.submit(a_mail())
    delivered = pipeline.wait_for_event("delivered", mail)

    [arrived] = sink.mails
    first, second = sink.connections
    assert delivered["attempt"] == 1
    assert not arrived.tls
    assert arrived.connection == second.number
    assert first.commands[-1] == "STARTTLS"
    assert "STARTTLS" not in second.commands


@pytest.mark.checklist(131)
def test_the_next_connection_to_a_host_whose_tls_is_broken_is_in_plaintext_at_once(
    pipeline: Pipeline, start_sink: StartSink, authority: Authority
):
    sink = start_sink(certificate=authority.issue("127.0.0.1"), breaks_handshake=True)
    pipeline.change(**relay_to(sink, tls="enable", sending={"max_per_connection": 1}))

    for subject in ("one", "two", "three"):
        pipeline.wait_for_event("delivered", pipeline.submit(a_mail(subject)))

    assert ["STARTTLS" in one.commands for one in sink.connections] == [True, False, False, False]


def test_a_certificate_that_nobody_trusts_is_good_enough(
    pipeline: Pipeline, start_sink: StartSink, authority: Authority
):
    sink = start_sink(certificate=authority.issue("other.example", expired=True))
    pipeline.change(**relay_to(sink, tls="enable"))

    mail = pipeline.submit(a_mail())

    pipeline.wait_for_event("delivered", mail)
    assert [mail.tls for mail in sink.mails] == [True]
    assert len(sink.connections) == 1


def test_a_server_without_tls_gets_its_mail_in_plaintext_over_the_same_connection(
    pipeline: Pipeline, start_sink: StartSink
):
    sink = start_sink()
    pipeline.change(**relay_to(sink, tls="enable"))

    mail = pipeline.submit(a_mail())

    pipeline.wait_for_event("delivered", mail)
    assert [mail.tls for mail in sink.mails] == [False]
    assert [one for one in sink.connections if "STARTTLS" in one.commands] == []


def test_a_password_does_not_go_over_the_plaintext_connection(
    start_pipeline: StartPipeline, start_sink: StartSink, authority: Authority
):
    sink = start_sink(
        certificate=authority.issue("127.0.0.1"), breaks_handshake=True, users={"u": "p"}, auth_in_plaintext=True
    )
    auth = {"user": "u", "password": {"env": "P"}}
    pipeline = start_pipeline(relay_to(sink, tls="enable", relay={"auth": auth}), environment={"P": "p"})

    mail = pipeline.submit(a_mail("guarded"))
    deferred = pipeline.wait_for_event("deferred", mail)
    before = [command for one in sink.connections for command in one.commands]
    pipeline.change(relay={"auth": {"allow_plaintext": True}})
    pipeline.control("release", id=mail)

    assert deferred["code"] // 100 == 4
    assert "AUTH" not in before
    pipeline.wait_for_each_once(sink, ["guarded"])
    assert sink.mails[0].user == "u"
