"""Client → scheduler: a mail."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from shared.contracts.words import AddressList, BatchLabel, Notify, Priority, Ret
from shared.durations import Duration


class Attachment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that travels with a mail."""

    filename: Annotated[str, Meta(min_length=1, max_length=255)]
    content: Annotated[bytes, Meta(description="base64 in JSON, bytes in msgpack")]
    content_type: str = "application/octet-stream"
    content_id: str | None = None  # set: shown inline, as <img src="cid:…">


class Submission(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mail in structured form, published to `pillarbox.submit` with its id as the property `message_id`."""

    from_: str = msgspec.field(name="from")
    to: AddressList = []
    cc: AddressList = []
    bcc: AddressList = []
    reply_to: AddressList = []
    subject: str = ""
    text: str | None = None
    html: str | None = None
    attachments: list[Attachment] = []
    headers: dict[str, str] = {}
    unsubscribe_url: str | None = None  # https; one click there ends the subscription (RFC 8058)
    return_path: str | None = None  # the reverse-path; "" is the null one; absent, the address of `from`
    hold: Duration | None = None  # overrides the setting `sending.hold`
    send_at: datetime | None = None  # RFC 3339, with offset
    give_up_after: Duration | None = None  # overrides the setting `retry.give_up`
    batch: BatchLabel = ""
    priority: Priority = "normal"
    notify: Notify | None = None  # when the reverse-path is told (RFC 3461); absent, of failures, and of delays if set
    ret: Ret | None = None  # what a report of failure returns: the headers of the mail, or all of it (RFC 3461)
    ignore_suppression: bool = False  # recipients on the suppression list get it all the same
