"""Submissions on their way from HTTP to the broker: judged as far as can be done here, then published as they came."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shared.addresses import parse_addresses
from shared.broker import Message, Properties
from shared.contracts.submissions import Submission
from shared.contracts.words import AddressList, BatchLabel, Notice, Priority, Ret
from shared.durations import Duration, encode_duration
from shared.reading import parse_submission
from shared.refusals import Invalid
from shared.topology import SUBMIT

STRUCTURED = ("application/json", "application/msgpack")
FINISHED = "message/rfc822"

# Characters of addresses that are judged here: more would hold up everybody, and the scheduler judges all of them.
_JUDGED = 65_536


class Traced(msgspec.Struct, frozen=True):
    """The header that says what caused a submission."""

    traceparent: Annotated[
        str,
        Meta(
            description="the trace that each of its mails belongs to (W3C Trace Context); with it, tracestate; what "
            "W3C would not take is left out",
            examples=["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
        ),
    ] = ""


class Wishes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Envelope and handling of a finished message, as parameters of the address."""

    mail_from: Annotated[
        str | None,
        Meta(
            description="the reverse-path; empty: the null one; absent: the message's own Sender or From",
            examples=["bounces@shop.example"],
        ),
    ] = None
    rcpt_to: Annotated[
        str | None,
        Meta(
            description="recipients, with commas; absent: the message's own To, Cc and Bcc",
            examples=["ann@example.net,bob@example.net"],
        ),
    ] = None
    hold: Annotated[
        Duration | None,
        Meta(description="how long it can be taken back; absent: the setting `sending.hold`", examples=["5m"]),
    ] = None
    send_at: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(description="sent then, and not before (RFC 3339)", examples=["2026-12-24T18:00:00+01:00"]),
    ] = None
    give_up_after: Annotated[
        Duration | None,
        Meta(
            description="bounced when it is not delivered by then; absent: the setting `retry.give_up`", examples=["2d"]
        ),
    ] = None
    batch: Annotated[
        BatchLabel, Meta(description="a label of yours, to find many mails by", examples=["orders-2026-11"])
    ] = ""
    priority: Annotated[Priority, Meta(description="urgent mail is sent before the other")] = "normal"
    notify: Annotated[
        str | None,
        Meta(
            description="when the reverse-path is told (RFC 3461): `never`, or of `failure`, `delay` and `success` "
            "some, with commas; absent: of failures, and of delays where the setting `delay_notice` is set",
            examples=["failure,delay"],
        ),
    ] = None
    ret: Annotated[
        Ret | None,
        Meta(description="what a report of failure returns: the headers of the mail, or all of it (RFC 3461)"),
    ] = None
    ignore_suppression: Annotated[
        Literal["true", "false"], Meta(description="`true`: it also goes to recipients on the suppression list")
    ] = "false"
    unsubscribe_url: Annotated[
        str | None,
        Meta(
            description="https; one click there ends the subscription (RFC 8058)",
            examples=["https://shop.example/leave?who=ann"],
        ),
    ] = None


def structured(body: bytes, kind: str, mail: str, trace: Mapping[str, str]) -> Message:
    """The message of a structured submission; `trace` is that of the request. Raises Invalid."""
    check_addresses(parse_submission(body, kind))
    return Message(SUBMIT, "", body, Properties(message_id=mail, content_type=kind, headers=trace))


def finished(body: bytes, wishes: Wishes, mail: str, trace: Mapping[str, str]) -> Message:
    """The message of a finished one; `trace` is that of the request. Raises Invalid."""
    for name, text in (("mail_from", wishes.mail_from), ("rcpt_to", wishes.rcpt_to)):
        _check(name, text or "")
    if not body.strip():
        raise Invalid("content", "is empty; takes a message (RFC 5322)")
    headers = {**_headers(wishes), **trace}
    return Message(SUBMIT, "", body, Properties(message_id=mail, content_type=FINISHED, headers=headers))


def encoded(submission: Submission, mail: str, trace: Mapping[str, str]) -> Message:
    """The message of one that was put together here; `trace` is that of the request. Raises Invalid."""
    check_addresses(submission)
    body = msgspec.json.encode(submission, enc_hook=encode_duration)
    return Message(SUBMIT, "", body, Properties(message_id=mail, content_type="application/json", headers=trace))


def check_addresses(submission: Submission) -> None:
    """What everybody mistypes is said at once, and not by an event. Raises Invalid."""
    lists = {"from": submission.from_, **{name: getattr(submission, name) for name in ("to", "cc", "bcc", "reply_to")}}
    if not (submission.to or submission.cc or submission.bcc):
        raise Invalid("to", "no recipient; takes at least one address in to, cc or bcc")
    if sum(map(_length, lists.values())) > _JUDGED:
        return
    for name, value in lists.items():
        for where, text in _texts(name, value):
            _check(where, text)
    if not submission.from_.strip():
        raise Invalid("from", "has no addresses; takes exactly one")


def _headers(wishes: Wishes) -> Mapping[str, Any]:
    """As AMQP headers; only what is said."""
    said = {
        "mail-from": wishes.mail_from,
        "rcpt-to": wishes.rcpt_to,
        "hold": None if wishes.hold is None else str(wishes.hold),
        "send_at": None if wishes.send_at is None else wishes.send_at.isoformat(),
        "give_up_after": None if wishes.give_up_after is None else str(wishes.give_up_after),
        "batch": wishes.batch or None,
        "priority": None if wishes.priority == "normal" else wishes.priority,
        "notify": _notices(wishes.notify),
        "ret": wishes.ret,
        "ignore_suppression": True if wishes.ignore_suppression == "true" else None,
        "unsubscribe_url": wishes.unsubscribe_url,
    }
    return {name: value for name, value in said.items() if value is not None}


def _notices(text: str | None) -> Any:
    if text is None or text == "never":
        return text
    words = [word.strip() for word in text.split(",")]
    try:
        return msgspec.convert(words, list[Notice])
    except msgspec.ValidationError as error:
        raise Invalid("notify", f"got {text[:80]!r}; takes never, or failure, delay and success with commas") from error


def _texts(name: str, value: AddressList) -> list[tuple[str, str]]:
    return [(name, value)] if isinstance(value, str) else [(f"{name}[{at}]", text) for at, text in enumerate(value)]


def _length(value: AddressList) -> int:
    return len(value) if isinstance(value, str) else sum(map(len, value))


def _check(field: str, text: str) -> None:
    try:
        parse_addresses("" if text == "<>" else text)
    except ValueError as error:
        raise Invalid(field, str(error)) from error
