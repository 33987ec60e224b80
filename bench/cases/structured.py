"""The case `structured`: submissions in JSON with text, HTML and an attachment, composed by the scheduler."""

import random
from base64 import b64encode
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP

import msgspec

from bench import mails as our_mail
from bench import pillarbox
from bench.case import Case, Contender
from bench.results import Plan
from shared.broker import Message, Properties
from shared.topology import SUBMIT

_SUBJECT = "Your order is on its way – 4711"
_TEXT = "Good morning, your order has left our house today. You find the invoice attached. Ü\n" * 12
_HTML = f"<html><body>{'<p>Good morning, your order has left our <b>house</b> today. Ü</p>' * 40}</body></html>"
_FILE = random.Random(1).randbytes(20_000)  # as little as a PDF can be packed any further
_FILE_NAME, _FILE_TYPE = "invoice.pdf", "application/pdf"


def submission(number: int) -> Message:
    """As a program publishes it."""
    fields = {
        "from": f"The Sender <{our_mail.SENDER}>",
        "to": [our_mail.recipient(number)],
        "subject": _SUBJECT,
        "text": _TEXT,
        "html": _HTML,
        "attachments": [
            {"filename": _FILE_NAME, "content_type": _FILE_TYPE, "content": b64encode(_FILE).decode()},
        ],
    }
    properties = Properties(message_id=pillarbox.id_of(number), content_type="application/json")
    return Message(SUBMIT, "", msgspec.json.encode(fields), properties)


def composed() -> bytes:
    """The same mail, finished by the client."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = f"The Sender <{our_mail.SENDER}>"
    mail["To"] = our_mail.recipient(0)
    mail["Subject"] = _SUBJECT
    mail["Date"] = "Mon, 02 Jan 2023 12:00:00 +0000"
    mail["Message-ID"] = f"<structured@{our_mail.SENDER_DOMAIN}>"
    mail.set_content(_TEXT)
    mail.add_alternative(_HTML, subtype="html")
    maintype, _, subtype = _FILE_TYPE.partition("/")
    mail.add_attachment(_FILE, maintype, subtype, filename=_FILE_NAME)
    return mail.as_bytes()


def _contenders(_plan: Plan) -> Sequence[Contender]:
    return [
        Contender(name="JSON", run=pillarbox.relaying(submission), beside=("message/rfc822",)),
        Contender(name="message/rfc822", run=pillarbox.relaying(pillarbox.finished(composed()))),
    ]


CASE = Case(
    name="structured",
    what=(
        f"mails with text, HTML and an attachment ({len(composed()) // 1000} KB as they are sent), submitted in JSON "
        "and composed by the scheduler, beside the same mails finished by the client; all else as in relay-4k"
    ),
    usual=Plan(mails=5_000, rounds=3, senders=2),
    quick=Plan(mails=1_000, rounds=1, senders=2, warm_up=200, calibrated=True),
    contenders=_contenders,
)
