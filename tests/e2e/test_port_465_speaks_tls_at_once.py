"""A relay on port 465 wants TLS before its greeting (RFC 8314); no other port does."""

import pytest

from tests.e2e.conftest import StartSink
from tests.support.certificates import Authority
from tests.support.pipeline import Pipeline, a_mail, relay_to

_ADDRESS = "127.0.0.65"


@pytest.mark.parametrize("tls", ["enable", "require"])
def test_the_handshake_comes_first(pipeline: Pipeline, start_sink: StartSink, authority: Authority, tls: str):
    sink = start_sink(certificate=authority.issue(_ADDRESS), implicit_tls=True, address=_ADDRESS, port=465)
    pipeline.change(**relay_to(sink, tls=tls, relay={"host": _ADDRESS, "ca_file": str(authority.file)}))

    mail = pipeline.submit(a_mail())

    pipeline.wait_for_event("delivered", mail)
    assert [mail.tls for mail in sink.mails] == [True]
    assert "STARTTLS" not in sink.connections[0].commands
