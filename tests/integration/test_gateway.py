"""The gateway as clients meet it: a real one, in front of a real broker."""

from collections.abc import Iterator

import pytest

from cli.node import PrivateNode
from tests.support.certificates import Authority
from tests.support.gateway import Gateway, running_gateway
from tests.support.rabbitmq import delete_vhost, new_vhost

HELLO = b"From: a@x.example\r\nTo: b@y.example\r\nSubject: Hi\r\n\r\nHello\r\n"


@pytest.fixture(scope="module")
def gateway(rabbitmq: PrivateNode, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for all tests of this file, which leave its accounts and settings as they were."""
    url = new_vhost(rabbitmq)
    with running_gateway(url, tmp_path_factory.mktemp("gateway"), authority, {"sending": {"hold": 0}}) as running:
        yield running
    delete_vhost(rabbitmq, url)


def test_a_mail_is_published_with_its_envelope_and_answered_with_its_id(gateway: Gateway):
    with gateway.client() as client:
        client.mail("a@x.example")
        client.rcpt("b@y.example")
        client.rcpt("c@Y.example")
        code, said = client.data(HELLO)
    assert code == 250
    [mail] = gateway.submitted(1)
    assert said.decode() == f"2.0.0 Ok: queued as {mail.id}"
    assert mail.id[14] == "7"
    assert mail.headers == {"mail-from": "a@x.example", "rcpt-to": ["b@y.example", "c@y.example"]}
    assert (mail.content_type, mail.user) == ("message/rfc822", "pillarbox")
    received, _, rest = mail.content.partition(b"From: ")
    assert received.startswith(
        b"Received: from client.example ([127.0.0.1])\r\n by gate.example (Pillarbox) with ESMTPSA "
    )
    assert b"From: " + rest == HELLO
