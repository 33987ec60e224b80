"""What is published of a mail."""

import pytest

from services.gateway.parcel import parcel
from services.gateway.session import MailEnvelope
from shared.accounts import Account
from shared.broker import fits_in_headers
from shared.durations import Duration

ACCOUNT = Account(password="x", hold=Duration(minutes=10), batch="shop")


@pytest.mark.parametrize(
    ("account", "wishes", "expected"),
    [
        (None, {}, {}),
        (None, {"hold": "5m"}, {"hold": "5m"}),
        (ACCOUNT, {}, {"hold": "10m", "batch": "shop"}),
        (ACCOUNT, {"hold": "0"}, {"hold": "0", "batch": "shop"}),
        (ACCOUNT, {"batch": "march"}, {"hold": "10m", "batch": "march"}),
        (ACCOUNT, {"priority": "urgent"}, {"priority": "urgent", "batch": "shop"}),  # urgent mail is not held
    ],
)
def test_what_the_mail_says_goes_before_what_its_account_has(account, wishes, expected):
    message = parcel("m1", b"x", "a@x.example", ["b@y.example"], wishes, account, "robot")
    assert message.properties.headers == {"mail-from": "a@x.example", "rcpt-to": ["b@y.example"], **expected}
    assert (message.properties.message_id, message.properties.user_id) == ("m1", "robot")


def test_as_many_recipients_are_taken_as_fit_in_a_frame():
    envelope = MailEnvelope()
    while envelope.add(f"{'x' * 60}@{'d' * 63}.{'d' * 63}.example"):
        pass
    wishes = {"batch": "ü" * 200, "traceparent": "x" * 255, "tracestate": "x" * 512}
    message = parcel("m1", b"x", "a" * 254, envelope.rcpt_tos, wishes, None, "robot")
    assert len(envelope.rcpt_tos) > 400
    assert fits_in_headers(message.properties.headers)
