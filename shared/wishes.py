"""What a finished message's AMQP headers say about its handling: read and judged alike by whoever meets them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from shared.addresses import refuse_control_characters
from shared.contracts.words import MAX_MAIL_ID, Notify, Ret
from shared.durations import Duration, decode_duration
from shared.refusals import Invalid, explain

# A submission may have waited in the queue while the scheduler was away; an older `send_at` is a mistake.
_LATE = timedelta(hours=1)
_FAR = timedelta(days=3650)


class HeaderWishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the AMQP headers of a finished message may say, in the words of a submission."""

    hold: Duration | None = None
    send_at: datetime | None = None
    give_up_after: Duration | None = None
    batch: str = ""
    priority: str = "normal"
    notify: Notify | None = None
    ret: Ret | None = None
    ignore_suppression: bool = False


_NAMES = frozenset(HeaderWishes.__struct_fields__)
_NONE = HeaderWishes()


def read_wishes(headers: Mapping[str, Any]) -> HeaderWishes:
    """Judge the headers that say something about the handling. Raises Invalid, which names the header."""
    if _NAMES.isdisjoint(headers):
        return _NONE
    said = {name: headers[name] for name in HeaderWishes.__struct_fields__ if name in headers}
    if isinstance(said.get("notify"), str) and said["notify"] != "never":
        said["notify"] = [word.strip() for word in said["notify"].split(",")]
    try:
        wishes = msgspec.convert(said, HeaderWishes, dec_hook=decode_duration)
    except msgspec.ValidationError as error:
        raise explain(error, said, HeaderWishes, decode_duration) from error
    if wishes.priority not in ("normal", "urgent"):
        raise Invalid("priority", f'got {wishes.priority[:80]!r}; takes "normal" or "urgent"')
    if len(wishes.batch) > MAX_MAIL_ID:
        raise Invalid("batch", f"takes at most {MAX_MAIL_ID} characters")
    return wishes


def check_batch(label: str) -> str:
    """The label itself. Raises Invalid for one that the store could not keep or a list could not show."""
    try:
        return refuse_control_characters(label)
    except ValueError as error:
        raise Invalid("batch", str(error)) from error


def check_send_at(send_at: datetime, now: datetime) -> datetime:
    """The time in UTC. Raises Invalid for one without an offset, one that is past, or too far away."""
    if send_at.tzinfo is None:
        raise Invalid("send_at", f"got {send_at.isoformat()}; takes a time with its offset, such as {_example(now)}")
    if send_at < now - _LATE:
        raise Invalid("send_at", f"got {send_at.isoformat()}, which is past; takes a time to come, or none")
    if send_at > now + _FAR:
        raise Invalid("send_at", f"got {send_at.isoformat()}; takes a time within ten years")
    return send_at.astimezone(UTC)


def _example(now: datetime) -> str:
    return (now + timedelta(hours=1)).replace(microsecond=0).isoformat()
