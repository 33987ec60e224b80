"""The peers of the benchmarks do what they are measured for."""

import os
import smtplib

import dkim
import pytest

from bench import mails as our_mail
from bench import postfix
from bench.milter import OpenDkim
from shared.dkim_key import new_key
from tests.support.postfix import PrivatePostfix
from tests.support.sinks import RecordingSink

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Postfix can be started by root alone")


def _send(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example") as client:
        client.sendmail(our_mail.SENDER, [our_mail.recipient(1)], our_mail.message(4096))


def test_what_postfix_relays_was_signed_by_its_milter(sink: RecordingSink) -> None:
    key = new_key("rsa")
    with (
        OpenDkim(our_mail.SENDER_DOMAIN, "bench", key.pem()) as signer,
        PrivatePostfix(
            deliver_by=f"smtp:[127.0.0.1]:{sink.port}", parameters={**postfix.SETTINGS, **signer.postfix_settings}
        ) as relay,
    ):
        _send(relay.port)
        [mail] = sink.wait_for(1)

    asked = []

    def dns_answer(name: bytes, timeout: int = 5) -> bytes:
        asked.append(name)
        return key.record().encode()

    assert dkim.verify(mail.content, dnsfunc=dns_answer)
    assert asked == [b"bench._domainkey.sender.example."]
