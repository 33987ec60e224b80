"""What admission makes of a submission, before it becomes a row."""

from datetime import datetime

import msgspec


class Composed(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope and the content, serialised for good."""

    reverse_path: str  # "" is the null one
    recipients: tuple[str, ...]  # each once, in the order given
    content: bytes  # CRLF line ends
    subject: str  # for lists; at most 200 characters
    smtputf8: bool  # an address or a header needs it (RFC 6531)


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the client said about the handling of its mail; times not yet counted."""

    hold_s: float | None = None
    send_at: datetime | None = None
    give_up_s: float | None = None
    batch: str = ""
    urgent: bool = False
    notify: str = ""  # as the envelope has it
    ret: str = ""
    ignore_suppression: bool = False


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A mail that may be stored."""

    id: str
    composed: Composed
    batch: str
    urgent: bool
    submitted_by: str  # the broker user, where the client stated it
    admitted: datetime
    due: datetime
    give_up: datetime
    revision: int
    held_by: str  # what set the hold
    notify: str = ""  # as the envelope has it
    ret: str = ""
    ignore_suppression: bool = False
    trace: str = ""  # as the envelope has it
