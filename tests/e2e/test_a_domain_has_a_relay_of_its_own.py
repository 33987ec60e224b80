"""`routes`: the mail of one recipient domain goes through another relay, in either mode of delivery."""

from tests.e2e.conftest import StartPipeline, StartSink
from tests.support.certificates import Authority
from tests.support.pipeline import Pipeline, a_mail, relay_to


def test_only_this_domains_mail_takes_it(pipeline: Pipeline, start_sink: StartSink):
    usual, special = start_sink(), start_sink()
    routes = {"special.example": {"host": "127.0.0.1", "port": special.port}}
    pipeline.change(**relay_to(usual, routes=routes))

    mail = pipeline.submit(a_mail("for both", to=["a@mx.example", "b@Special.Example", "c@sub.special.example"]))

    pipeline.wait_for_events(3, "delivered", mail)
    assert [sorted(mail.recipients) for mail in usual.mails] == [["a@mx.example", "c@sub.special.example"]]
    assert [mail.recipients for mail in special.mails] == [("b@special.example",)]


def test_it_has_its_own_tls_and_password_and_comes_and_goes_with_the_settings(
    start_pipeline: StartPipeline, start_sink: StartSink, authority: Authority
):
    usual = start_sink()
    special = start_sink(certificate=authority.issue("127.0.0.1"), require_tls=True, users={"u": "secret"})
    route = {
        "host": "127.0.0.1",
        "port": special.port,
        "tls": "require",
        "ca_file": str(authority.file),
        "auth": {"user": "u", "password": {"env": "SPECIAL"}},
    }
    pipeline = start_pipeline(relay_to(usual, tls="none"), environment={"SPECIAL": "secret"})
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail("before", to=["b@special.example"])))
    pipeline.change(routes={"special.example": route})
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail("after", to=["b@special.example"])))

    assert [mail.message["Subject"] for mail in usual.mails] == ["before"]
    assert [(mail.message["Subject"], mail.tls, mail.user) for mail in special.mails] == [("after", True, "u")]
