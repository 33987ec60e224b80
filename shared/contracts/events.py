"""Scheduler → anyone: events, JSON on `pillarbox.events` with the key `<event>.<recipient domain>`."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from shared.contracts.words import BounceClass


class MailEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event"):
    """What every event of a mail says."""

    mail: str
    batch: str
    time: datetime
    revision: int


class Accepted(MailEvent, frozen=True, kw_only=True, tag_field="event", tag="accepted"):
    """The mail is in the store."""

    recipients: list[str]
    duplicate: bool = False  # this id was admitted before; the first one stands


class Held(MailEvent, frozen=True, kw_only=True, tag_field="event", tag="held"):
    """The mail waits and can be taken back until `until`."""

    recipients: list[str]
    until: datetime


class Released(MailEvent, frozen=True, kw_only=True, tag_field="event", tag="released"):
    """The wait is over; the recipient's copy is on its way to a sender."""

    recipient: str
    attempt: int


class AttemptEvent(MailEvent, frozen=True, kw_only=True, tag_field="event"):
    """What every event of an attempt says."""

    recipient: str
    attempt: int
    host: str
    code: int
    enhanced: str
    reply: str


class DeferredEvent(AttemptEvent, frozen=True, kw_only=True, tag_field="event", tag="deferred"):
    """The attempt failed for now."""

    bounce_class: BounceClass
    next_try: datetime
    in_doubt: bool = False  # the receiver may have taken it: a second copy is possible


class InDoubtEvent(AttemptEvent, frozen=True, kw_only=True, tag_field="event", tag="in_doubt"):
    """The receiver may have taken it. It waits for an operator, and is given up at `until`."""

    bounce_class: BounceClass
    until: datetime


class DeliveredEvent(AttemptEvent, frozen=True, kw_only=True, tag_field="event", tag="delivered"):
    """The receiver took it."""

    in_doubt: bool = False  # its answer was lost, and an operator lets it count as delivered


class BouncedEvent(AttemptEvent, frozen=True, kw_only=True, tag_field="event", tag="bounced"):
    """The receiver refused it for good."""

    bounce_class: BounceClass


class Expired(AttemptEvent, frozen=True, kw_only=True, tag_field="event", tag="expired"):
    """The give-up time is over; the last reply is given."""

    bounce_class: BounceClass  # of the last reply


class RetractedEvent(MailEvent, frozen=True, kw_only=True, tag_field="event", tag="retracted"):
    """The recipient's copy was taken back."""

    recipient: str


class Replaced(MailEvent, frozen=True, kw_only=True, tag_field="event", tag="replaced"):
    """Another content stands in its place."""

    recipients: list[str]
    until: datetime


class Rejected(Struct, frozen=True, kw_only=True, tag_field="event", tag="rejected"):
    """A submission was refused; the original lies in `pillarbox.dead`."""

    mail: str
    time: datetime
    field: str
    reason: str


class SettingsRejected(Struct, frozen=True, kw_only=True, tag_field="event", tag="settings_rejected"):
    """A settings document was refused; the former stays in force."""

    time: datetime
    revision: int
    field: str
    reason: str
    author: str


Event = (
    Accepted
    | Held
    | Released
    | DeferredEvent
    | InDoubtEvent
    | DeliveredEvent
    | BouncedEvent
    | Expired
    | RetractedEvent
    | Replaced
    | Rejected
    | SettingsRejected
)

EventKind = Literal[
    "accepted",
    "held",
    "released",
    "deferred",
    "in_doubt",
    "delivered",
    "bounced",
    "expired",
    "retracted",
    "replaced",
    "rejected",
    "settings_rejected",
]
