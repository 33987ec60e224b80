"""Admission: a submission is judged as a whole, and composed once, or refused with the field that is wrong."""

import os
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from services.scheduler.compose import compose
from services.scheduler.composed import Composed, Draft, Wishes
from services.scheduler.finished import take_finished
from services.scheduler.limits import check_recipients
from services.scheduler.reading import check_contents, check_octets, decode_duration, parse_submission, too_large
from shared.addresses import refuse_control_characters
from shared.broker import Properties
from shared.contracts import MAX_MAIL_ID, Notify, Ret, Submission
from shared.durations import Duration
from shared.refusals import Invalid, explain
from shared.settings import Settings

# A submission may have waited in the queue while the scheduler was away; an older `send_at` is a mistake.
_LATE = timedelta(hours=1)
_FAR = timedelta(days=3650)
_ID = re.compile("[^\x00-\x20\x7f\ufffd]+")  # U+FFFD stands for what was no UTF-8: two such ids would be one

_WISH_HEADERS = ("hold", "send_at", "give_up_after", "batch", "priority", "notify", "ret", "ignore_suppression")
_WISHES = frozenset(_WISH_HEADERS)
_NO_WISHES = Wishes()


class _WishHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """What the AMQP headers of a finished message may say, in the words of a submission."""

    hold: Duration | None = None
    send_at: datetime | None = None
    give_up_after: Duration | None = None
    batch: str = ""
    priority: str = "normal"
    notify: Notify | None = None
    ret: Ret | None = None
    ignore_suppression: bool = False


def admit(body: bytes, properties: Properties, settings: Settings, revision: int, now: datetime) -> Draft:
    """Judge and compose one submission. Raises Invalid, which names the field and says what it takes."""
    mail = mail_id(properties)
    check_octets(body, settings.sending.max_size)
    match (properties.content_type or "application/json").partition(";")[0].strip().lower():
        case "application/json" | "application/msgpack" as kind:
            submission = parse_submission(body, kind)
            wishes = wishes_of(submission)
            composed = compose_within(submission, mail, settings, now)
        case "message/rfc822":
            wishes = _header_wishes(properties.headers)
            composed = take_finished(body, properties.headers, mail, settings.identity, now)
        case other:
            raise Invalid(
                "content_type",
                f"got {other[:80]!r}; takes application/json, application/msgpack or message/rfc822",
            )
    return draft(mail, composed, wishes, settings, revision, now, properties.user_id or "")


def compose_within(submission: Submission, mail: str, settings: Settings, now: datetime) -> Composed:
    """Compose what the settings take. Raises Invalid."""
    check_contents(submission, settings.sending.max_size)
    return compose(submission, mail, settings.identity, now)


def draft(
    mail: str, composed: Composed, wishes: Wishes, settings: Settings, revision: int, now: datetime, submitted_by: str
) -> Draft:
    """Count the times of a composed mail and check what concerns all kinds. Raises Invalid."""
    if not composed.recipients:
        raise Invalid("to", "no recipient; takes at least one address in to, cc or bcc")
    check_recipients(len(composed.recipients))
    size, most = len(composed.content), settings.sending.max_size
    if size > most:
        raise too_large(size, most)
    due, held_by = _due(wishes, settings, now)
    give_up = settings.retry.give_up if wishes.give_up_s is None else timedelta(seconds=wishes.give_up_s)
    return Draft(
        id=mail,
        composed=composed,
        batch=check_batch(wishes.batch),
        urgent=wishes.urgent,
        submitted_by=submitted_by,
        admitted=now,
        due=due,
        give_up=due + give_up,
        revision=revision,
        held_by=held_by,
        notify=wishes.notify,
        ret=wishes.ret,
        ignore_suppression=wishes.ignore_suppression,
    )


def mail_id(properties: Properties) -> str:
    """The client's own id, or a new one. Raises Invalid for one that could not be a key."""
    return check_id(properties.message_id, "message_id") if properties.message_id else new_mail_id()


def check_id(given: str, field: str) -> str:
    """The id itself. Raises Invalid for one that could not be a mail's."""
    if len(given) > MAX_MAIL_ID or not _ID.fullmatch(given):
        raise Invalid(field, f"takes up to {MAX_MAIL_ID} characters of UTF-8, no spaces or control characters")
    return given


def check_batch(label: str) -> str:
    """The label itself. Raises Invalid for one that the store could not keep or a list could not show."""
    try:
        return refuse_control_characters(label)
    except ValueError as error:
        raise Invalid("batch", str(error)) from error


def new_mail_id() -> str:
    """A UUID of version 7 (RFC 9562 section 5.7): ids made later sort later."""
    milliseconds = time.time_ns() // 1_000_000
    number = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    number = (number & ~(0xF << 76)) | (0x7 << 76)
    number = (number & ~(0x3 << 62)) | (0x2 << 62)
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def wishes_of(submission: Submission) -> Wishes:
    """What a structured submission says about its handling."""
    return Wishes(
        hold_s=None if submission.hold is None else submission.hold.total_seconds(),
        send_at=submission.send_at,
        give_up_s=None if submission.give_up_after is None else submission.give_up_after.total_seconds(),
        batch=submission.batch,
        urgent=submission.priority == "urgent",
        notify=_notices(submission.notify),
        ret=submission.ret or "",
        ignore_suppression=submission.ignore_suppression,
    )


def _header_wishes(headers: Mapping[str, Any]) -> Wishes:
    if _WISHES.isdisjoint(headers):
        return _NO_WISHES
    said = {name: headers[name] for name in _WISH_HEADERS if name in headers}
    if isinstance(said.get("notify"), str) and said["notify"] != "never":
        said["notify"] = [word.strip() for word in said["notify"].split(",")]
    try:
        wishes = msgspec.convert(said, _WishHeaders, dec_hook=decode_duration)
    except msgspec.ValidationError as error:
        raise explain(error, said, _WishHeaders, decode_duration) from error
    if wishes.priority not in ("normal", "urgent"):
        raise Invalid("priority", f'got {wishes.priority[:80]!r}; takes "normal" or "urgent"')
    if len(wishes.batch) > MAX_MAIL_ID:
        raise Invalid("batch", f"takes at most {MAX_MAIL_ID} characters")
    return Wishes(
        hold_s=None if wishes.hold is None else wishes.hold.total_seconds(),
        send_at=wishes.send_at,
        give_up_s=None if wishes.give_up_after is None else wishes.give_up_after.total_seconds(),
        batch=wishes.batch,
        urgent=wishes.priority == "urgent",
        notify=_notices(wishes.notify),
        ret=wishes.ret or "",
        ignore_suppression=wishes.ignore_suppression,
    )


def _notices(notify: Notify | None) -> str:
    """As the envelope has it: each word once, in one order."""
    if notify is None or notify == "never":
        return notify or ""
    return ",".join(word for word in ("success", "failure", "delay") if word in notify)


def _due(wishes: Wishes, settings: Settings, now: datetime) -> tuple[datetime, str]:
    if wishes.hold_s is not None:
        due, held_by = now + timedelta(seconds=wishes.hold_s), "the mail's own hold"
    elif wishes.urgent:
        due, held_by = now, "nothing: it is urgent"
    else:
        due, held_by = now + settings.sending.hold, _held_by_setting(settings.sending.hold)
    if wishes.send_at is None:
        return due, held_by
    send_at = _checked_send_at(wishes.send_at, now)
    return (send_at, "the mail's send_at") if send_at > due else (due, held_by)


@lru_cache(maxsize=4)
def _held_by_setting(hold: Duration) -> str:
    """The same for all mails until the setting changes."""
    return f"the setting sending.hold = {hold}"


def _checked_send_at(send_at: datetime, now: datetime) -> datetime:
    if send_at.tzinfo is None:
        raise Invalid("send_at", f"got {send_at.isoformat()}; takes a time with its offset, such as {_example(now)}")
    if send_at < now - _LATE:
        raise Invalid("send_at", f"got {send_at.isoformat()}, which is past; takes a time to come, or none")
    if send_at > now + _FAR:
        raise Invalid("send_at", f"got {send_at.isoformat()}; takes a time within ten years")
    return send_at.astimezone(UTC)


def _example(now: datetime) -> str:
    return (now + timedelta(hours=1)).replace(microsecond=0).isoformat()
