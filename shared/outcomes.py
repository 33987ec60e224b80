"""What became of one attempt for one recipient."""

import msgspec

from shared.smtp_reply import Reply


class Delivered(msgspec.Struct, frozen=True, tag="delivered"):
    """The receiver has taken the mail and is now responsible for it (RFC 5321 section 6.1)."""

    reply: Reply
    host: str  # name and address it went to: "mx1.example.net [192.0.2.1]"


class Deferred(msgspec.Struct, frozen=True, tag="deferred"):
    """Not now: the scheduler decides when to try again."""

    reply: Reply
    host: str = ""  # "" when no host was reached
    in_doubt: bool = False  # the link broke after the final dot: it may have been accepted (RFC 1047)


class Bounced(msgspec.Struct, frozen=True, tag="bounced"):
    """Never: a permanent refusal."""

    reply: Reply
    host: str = ""


class Parked(msgspec.Struct, frozen=True, tag="parked"):
    """Nothing was tried, through no fault of the mail: back to the scheduler, no attempt counted."""

    reason: str
    pause_s: float = 0.0  # seconds before it may be released again
    site: str = ""  # the site that is down: then the mail waits for that, and not for a time
    lane: int | None = None  # the lane that is full: then it waits until that has room


Outcome = Delivered | Deferred | Bounced | Parked
