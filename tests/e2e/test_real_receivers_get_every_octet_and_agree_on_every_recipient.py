"""A hundred mails in one connection to a Postfix, an Exim and an OpenSMTPD, some recipients of which they refuse."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.dns import nsd
from tests.support.exim import PrivateExim
from tests.support.mailboxes import ReceivedMail
from tests.support.opensmtpd import OPENSMTPD, PrivateOpenSmtpd
from tests.support.pipeline import Pipeline, direct_by
from tests.support.ports import wait_until
from tests.support.postfix import PrivatePostfix

Receiver = PrivatePostfix | PrivateExim | PrivateOpenSmtpd

_MAILS = 100
_ANNA, _BERT, _JUERGEN = "anna@mx.example", "bert@mx.example", "jürgen@mx.example"
_NOBODY, _NOONE = "nobody@mx.example", "no.one@mx.example"
_RECIPIENTS = [
    (_ANNA,),
    (_ANNA, _NOBODY),
    (_NOBODY,),
    (_NOBODY, _BERT, _NOONE, _ANNA),
    (_NOONE, _NOBODY),
    (_BERT, _ANNA),
    (_BERT,),
]
_HEAD = (
    b"From: Robot <robot@sender.example>\r\nTo: Somebody <anna@mx.example>\r\n"
    b"Date: Mon, 06 Jan 2025 10:00:00 +0000\r\nMessage-ID: <%d@sender.example>\r\n"
)
_RESTS = {
    "plain": b"Subject: plain\r\n\r\nGood morning.\r\n",
    "dots": b"\r\n.\r\n..\r\n.hidden\r\n. \r\n",
    "nothing but a dot": b"\r\n.\r\n",
    "empty": b"\r\n",
    "no body": b"Subject: no body\r\n",
    "eight-bit": b"\r\n" + bytes(range(128, 256)) + b"\r\n",
    "longest lines": b"\r\n" + b"x" * 998 + b"\r\n." + b"y" * 997 + b"\r\n",
    "no end": b"\r\nthe last line",
    "a dot at the end": b"\r\nthe last line\r\n.",
    "odd lines": b"X-Odd:   spaces \t\r\nsUbJeCt: a\r\n folded\r\n\tline\r\n\r\nFrom here\r\n \r\n\t\r\n\r\n\r\n",
    "long": b"\r\n" + b".\r\n..\r\n.0123456789\r\n" * 12_000,
    "utf-8": "Subject: Grüße\r\n\r\nGuten Morgen, Jürgen.\r\n".encode(),
}


class Submitted:
    """One of the hundred."""

    def __init__(self, name: str, number: int, rest: str, recipients: Sequence[str]) -> None:
        self.id = f"{name}-{number}-{rest.replace(' ', '-')}"
        self.content = (_HEAD % number) + _RESTS[rest]
        self.utf8 = rest == "utf-8"
        self.recipients = [*recipients, _JUERGEN] if self.utf8 else recipients
        # Of mail that nobody sent, nobody is told that it was refused: no more mail comes of these.
        refused = self.utf8 or not {_NOBODY, _NOONE}.isdisjoint(recipients)
        self.reverse_path = "" if refused else "bounces@sender.example"

    @property
    def arriving(self) -> tuple[bytes, ...]:
        """What may arrive: a last line that is not ended is, and Postfix ends a header that nothing follows."""
        ended = self.content if self.content.endswith(b"\r\n") else self.content + b"\r\n"
        return (ended,) if b"\r\n\r\n" in ended else (ended, ended + b"\r\n")


def _mails(name: str) -> list[Submitted]:
    kinds = zip(itertools.count(), itertools.cycle(_RESTS), itertools.cycle(_RECIPIENTS))
    return [Submitted(name, *kind) for kind in itertools.islice(kinds, _MAILS)]


@pytest.mark.parametrize("secured", [False, True], ids=["plaintext", "STARTTLS"])
@pytest.mark.parametrize("start", [PrivatePostfix, PrivateExim, OPENSMTPD])
@pytest.mark.checklist(61, 64, 67, 70, 79, 90, 94, 98, 100, 102, 111, 118, 122)
def test_what_arrives_is_what_was_submitted_and_the_log_says_what_we_say(
    pipeline: Pipeline, authority: Authority, start: Callable[..., Receiver], secured: bool
):
    mails = _mails(f"{start.__name__}-{secured}")
    with start(
        mailboxes=[_ANNA, _BERT] if start is PrivateOpenSmtpd else [_ANNA, _BERT, _JUERGEN],
        certificate=authority.issue("relay.mx.example") if secured else None,
    ) as receiver:
        outcomes = _send(pipeline, receiver, mails)
        taken = [(mail, name) for mail in mails for name in mail.recipients if _is_taken(mail, name, receiver)]
        arrived = receiver.wait_for(len(taken), timeout=60)
        wait_until(lambda: sum(receiver.dealings.taken.values()) >= len(taken), "the log tells of them", 30)
        dealings = receiver.dealings
        if isinstance(receiver, PrivateExim):  # the one that logs it
            assert receiver.pipelined == len({mail.id for mail, _ in taken})

    assert {outcome for outcome, event in outcomes.items() if event["event"] == "delivered"} == {
        (mail.id, name) for mail, name in taken
    }
    _assert_octets(arrived, mails)
    assert Counter(one.recipient for one in arrived) == Counter(name for _, name in taken)
    delivered = [event for event in outcomes.values() if event["event"] == "delivered"]
    refused = [event for event in outcomes.values() if event["event"] == "bounced" and event["code"] == 550]
    assert dealings.taken == Counter((_queue_id(event["reply"]), event["recipient"]) for event in delivered)
    assert dealings.refused == Counter(event["recipient"] for event in refused)
    assert len({queue_id for queue_id, _ in dealings.taken}) == len({mail.id for mail, _ in taken})
    ours = [event for event in outcomes.values() if event["event"] == "bounced" and event["code"] != 550]
    assert {event["enhanced"] for event in ours} <= {"5.6.7"}
    assert (not ours) == receiver.offers_smtputf8
    assert dealings.connections == 1
    assert {bool(_TLS.search(mail.content)) for mail in arrived} == {secured}


_TLS = re.compile(rb" with (e?smtps|utf8e?smtps)\b", re.IGNORECASE)


def _send(pipeline: Pipeline, receiver: Receiver, mails: Sequence[Submitted]) -> dict[tuple[str, str], dict[str, Any]]:
    """All of them at once, and what became of them: by mail and recipient."""
    with nsd({"mx.example": "@ MX 10 relay\nrelay A 127.0.0.1"}) as dns:
        pipeline.change(**direct_by(dns.server, receiver.port, limits={"connections": 1}, tls="enable"))
        for mail in mails:
            headers = {
                "mail-from": mail.reverse_path,
                "rcpt-to": list(mail.recipients),
                "hold": "1h",
                "batch": "b",
                "notify": "failure,delay",  # for those that offer DSN: they refuse parameters that are wrong
                "ret": "hdrs",
            }
            pipeline.submit(mail.content, mail.id, headers=headers)
        pipeline.wait_for_events(_MAILS, "held")
        pipeline.control("release", batch="b")
        count = sum(len(mail.recipients) for mail in mails)
        pipeline.client.wait_until(lambda: len(_outcomes(pipeline)) >= count, f"{count} outcomes", 60)
    assert not pipeline.events("deferred")
    return _outcomes(pipeline)


def _outcomes(pipeline: Pipeline) -> dict[tuple[str, str], dict[str, Any]]:
    final = [*pipeline.events("delivered"), *pipeline.events("bounced")]
    return {(event["mail"], event["recipient"]): event for event in final}


def _is_taken(mail: Submitted, recipient: str, receiver: Receiver) -> bool:
    return recipient in (_ANNA, _BERT, _JUERGEN) and (receiver.offers_smtputf8 or not mail.utf8)


def _assert_octets(arrived: Sequence[ReceivedMail], mails: Sequence[Submitted]) -> None:
    """Each of them, behind the header lines of the receiver and one of ours."""
    for one in arrived:
        content = one.content.replace(b"\n", b"\r\n")
        number = re.search(rb"\r\nMessage-ID: <(\d+)@sender.example>\r\n", content)
        assert number is not None, content[:2000]
        mail = mails[int(number[1])]
        [added] = [content.removesuffix(whole) for whole in mail.arriving if content.endswith(whole)] or [content]
        assert {line.split(b":")[0].title() for line in added.split(b"\r\n") if line[:1].strip()} <= _ADDED, added
        *_, ours = added.split(b"Received: ")
        assert added.count(b"Received: ") == 2
        assert mail.id.encode() in ours
        assert one.sender == mail.reverse_path


_ADDED = {b"Received", b"Return-Path", b"Delivered-To", b"Envelope-To", b"X-Original-To"}


def _queue_id(reply: str) -> str:
    """`Ok: queued as 4XyZ`, `OK id=1xYz-0001-2b`, `9f3c0a11 Message accepted for delivery`."""
    found = re.search(r"queued as (\S+)|id=(\S+)|^(\S+) Message accepted", reply)
    assert found is not None, reply
    return next(filter(None, found.groups()))
