"""`tls = "require"`: no secure connection, no mail. It waits until there is one."""

from typing import Any

import pytest

from tests.e2e.conftest import StartSink
from tests.support.certificates import Authority
from tests.support.pipeline import Pipeline, a_mail, relay_to


@pytest.mark.parametrize(
    ("server", "enhanced"),
    [
        ("without TLS", "4.7.4"),
        ("whose handshake fails", "4.7.5"),
        ("with a certificate for another name", "4.7.5"),
        ("with a certificate that has expired", "4.7.5"),
    ],
)
def test_mail_for_a_server_that_can_not_be_trusted_is_deferred(
    pipeline: Pipeline, start_sink: StartSink, authority: Authority, server: str, enhanced: str
):
    good, other = authority.issue("127.0.0.1"), authority.issue("other.example")
    options: dict[str, dict[str, Any]] = {
        "without TLS": {},
        "whose handshake fails": {"certificate": good, "breaks_handshake": True},
        "with a certificate for another name": {"certificate": other},
        "with a certificate that has expired": {"certificate": authority.issue("127.0.0.1", expired=True)},
    }
    sink = start_sink(**options[server])
    settings = relay_to(sink, tls="require", relay={"ca_file": str(authority.file)}, retry={"schedule": ["1h"]})
    pipeline.change(**settings)

    mail = pipeline.submit(a_mail())

    deferred = pipeline.wait_for_event("deferred", mail)
    assert (deferred["code"] // 100, deferred["enhanced"]) == (4, enhanced)
    assert not sink.mails
    assert not any(command.startswith("MAIL") for one in sink.connections for command in one.commands)


def test_mail_for_a_server_with_a_good_certificate_arrives_encrypted(
    pipeline: Pipeline, start_sink: StartSink, authority: Authority
):
    sink = start_sink(certificate=authority.issue("127.0.0.1"), require_tls=True)
    pipeline.change(**relay_to(sink, tls="require", relay={"ca_file": str(authority.file)}))

    mail = pipeline.submit(a_mail())

    pipeline.wait_for_event("delivered", mail)
    assert [mail.tls for mail in sink.mails] == [True]


def test_what_waited_for_tls_goes_once_the_setting_is_changed(pipeline: Pipeline, start_sink: StartSink):
    sink = start_sink()
    pipeline.change(**relay_to(sink, tls="require", retry={"schedule": ["1h"]}))
    mail = pipeline.submit(a_mail("in the end"))
    pipeline.wait_for_event("deferred", mail)

    pipeline.change(tls="enable")
    pipeline.control("release", id=mail)

    pipeline.wait_for_each_once(sink, ["in the end"])
