"""Scheduler → operator or client: the answers to commands."""

import enum
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from shared.contracts.words import BounceClass, Priority, StateName


class RetractResult(enum.StrEnum):
    """The answer to a retract, for a mail and for each of its recipients."""

    RETRACTED = "retracted"  # it does not leave
    TOO_LATE = "too_late"  # it has a final outcome; the reply and its time say which
    IN_FLIGHT = "in_flight"  # a sender has it; the outcome event will tell
    IN_DOUBT = "in_doubt"  # it does not leave again, but the receiver may have taken an earlier try
    UNKNOWN = "unknown"  # no such mail


class RecipientState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a mail stands for one recipient."""

    address: str
    state: StateName
    since: datetime
    attempt: int  # the attempt that is waiting, under way, or was the last
    next_try: datetime | None = None
    worker: str = ""  # the sender that has it, or had it last
    host: str = ""
    code: int = 0
    enhanced: str = ""
    reply: str = ""
    bounce_class: BounceClass | None = None  # of the last attempt, where that failed
    in_doubt: bool = False  # the receiver may have taken it, though its answer was lost


class RetractedMail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer for one mail: the least favourable of its recipients' results, and theirs."""

    id: str
    result: RetractResult
    detail: str  # in words
    recipients: list[RecipientState] = []


class RetractAnswer(Struct, frozen=True, kw_only=True, tag_field="answer", tag="retract"):
    """One entry a mail, for the first thousand; an unknown id has one that says so."""

    mails: list[RetractedMail]
    counts: dict[str, int]  # mails per result, all of them


class ReleasedMail(Struct, frozen=True, kw_only=True):
    """The answer to a release for one mail."""

    id: str
    released: int  # recipients that now go out
    detail: str


class ReleaseAnswer(Struct, frozen=True, kw_only=True, tag_field="answer", tag="release"):
    """One entry a mail, for the first thousand; an unknown id has one that says so."""

    mails: list[ReleasedMail]
    released: int  # recipients, of all mails


class DoubtfulMail(Struct, frozen=True, kw_only=True):
    """The answer to a resend or a close for one mail."""

    id: str
    recipients: int  # that it was done for
    detail: str


class ResendAnswer(Struct, frozen=True, kw_only=True, tag_field="answer", tag="resend"):
    """One entry a mail, for the first thousand; an unknown id has one that says so."""

    mails: list[DoubtfulMail]
    resent: int  # recipients, of all mails


class CloseAnswer(Struct, frozen=True, kw_only=True, tag_field="answer", tag="close"):
    """One entry a mail, for the first thousand; an unknown id has one that says so."""

    mails: list[DoubtfulMail]
    closed: int  # recipients, of all mails


class ReplaceResult(enum.StrEnum):
    """The answer to a replace."""

    REPLACED = "replaced"
    TOO_LATE = "too_late"
    IN_FLIGHT = "in_flight"
    UNKNOWN = "unknown"


class ReplaceAnswer(Struct, frozen=True, kw_only=True, tag_field="answer", tag="replace"):
    """Whether the new content stands in the old one's place."""

    id: str
    result: ReplaceResult
    detail: str


class Step(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a mail's story."""

    time: datetime
    what: str  # a state's or an event's name
    recipient: str = ""  # "" for all of them
    attempt: int = 0
    revision: int = -1  # settings revision; -1 where none applies
    worker: str = ""
    host: str = ""
    code: int = 0
    enhanced: str = ""
    reply: str = ""
    bounce_class: BounceClass | None = None
    next_try: datetime | None = None
    detail: str = ""


class Story(Struct, frozen=True, kw_only=True):
    """All that is known of one mail."""

    id: str
    batch: str
    sender: str  # the reverse-path
    subject: str
    size: int
    priority: Priority
    submitted_by: str  # the broker user, where the client stated it
    admitted: datetime
    give_up: datetime
    recipients: list[RecipientState]
    waits: list[str]  # why it waits, a sentence per recipient that does
    steps: list[Step]
    about: str  # the id of the mail that it reports on; "" for all but reports
    reports: list[str]  # the ids of the reports on it


class ShowAnswer(Struct, frozen=True, kw_only=True, tag_field="answer", tag="show"):
    """The story, or None for an unknown id."""

    mail: Story | None


class ContentAnswer(Struct, frozen=True, kw_only=True, tag_field="answer", tag="content"):
    """A part of the content, or None: an unknown id, or all of the mail is final and its content was dropped."""

    content: bytes | None  # base64 in JSON
    size: int  # octets of the whole


class MailLine(Struct, frozen=True, kw_only=True):
    """One mail in a list."""

    id: str
    batch: str
    sender: str
    subject: str
    size: int
    admitted: datetime
    recipients: list[RecipientState]


class ListAnswer(Struct, frozen=True, kw_only=True, tag_field="answer", tag="list"):
    """A page of mails; `next` goes into the next command's `before`."""

    mails: list[MailLine]
    next: int | None


class StageTime(Struct, frozen=True, kw_only=True):
    """How long something took in the last minute.

    `release`, `claim` and `delivery` are the steps of mails that were delivered: due → released → claimed → its outcome
    is written. `admission` and `outcome` are the scheduler's own work: a batch is taken → it is written.
    """

    stage: Literal["admission", "release", "claim", "delivery", "outcome"]
    median: float  # seconds
    most: float  # seconds that nineteen in twenty did not take
    mails: int  # that were looked at, one of each batch; of `admission` and `outcome`, batches


class StatsAnswer(Struct, frozen=True, kw_only=True, tag_field="answer", tag="stats"):
    """Live counts."""

    time: datetime
    states: dict[str, int]  # recipients per state
    totals: dict[str, int]  # since the scheduler's start: admitted, released, delivered, …
    revision: int
    overdue: dict[str, int] = {}  # of those held or deferred: their hold or wait is over, and they are not released
    times: list[StageTime] = []  # none where nothing was done lately


class SettingsVersion(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One settings document that was accepted."""

    revision: int
    time: datetime
    author: str
    comment: str
    settings: dict[str, Any]
    restores: int | None = None


class SettingsAnswer(Struct, frozen=True, kw_only=True, tag_field="answer", tag="settings"):
    """The document asked for (None: no such revision), and earlier ones, newest first."""

    current: SettingsVersion | None
    history: list[SettingsVersion]
    next_revision: int  # that the next document will get, if nobody else's comes first


class SiteLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one site. To one that is down no mail goes but for a probe."""

    site: str  # "mx:mx1.example.net,mx2.example.net" or "relay:mail.example:587"
    since: datetime
    next_probe: datetime | None  # then one connection is tried
    failures: int  # probes in vain, one after another
    waiting: int  # recipients
    state: Literal["down", "up", "unknown"] = "down"  # unknown: whether it works is to be found out
    worked: datetime | None = None  # when a sender last found it working
    host: str = ""
    code: int = 0
    enhanced: str = ""
    reply: str = ""  # the last, or our own words
    prober: str = ""  # the sender that is trying now


class SitesAnswer(Struct, frozen=True, kw_only=True, tag_field="answer", tag="sites"):
    """As many as were asked for: those that are down, for longest first, then those that worked last."""

    sites: list[SiteLine]


class SenderLine(Struct, frozen=True, kw_only=True):
    """One sender that runs; what it said of itself when it was last seen."""

    name: str
    machine: str
    started: datetime
    seen: datetime
    revision: int  # settings it works under
    lanes: int  # it takes from
    connections: int  # SMTP, open
    claimed: int  # mails, since it started
    helo: dict[str, str] = {}  # what it says in EHLO, by the address that it connects from


class SendersAnswer(Struct, frozen=True, kw_only=True, tag_field="answer", tag="senders"):
    """Those that were seen in the last minute, by name."""

    senders: list[SenderLine]


class SuppressionLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One address that no mail goes to, and why."""

    address: str
    since: datetime
    until: datetime | None = None  # None: until somebody removes it
    author: str = ""  # "" where a server's reply put it there
    bounce_class: str = ""
    code: int = 0
    enhanced: str = ""
    reply: str = ""  # what the server said, or the author's reason
    mail: str = ""  # the mail that was refused


class SuppressionsAnswer(Struct, frozen=True, kw_only=True, tag_field="answer", tag="suppression_list"):
    """A page of the list; `next` goes into the next command's `after`."""

    entries: list[SuppressionLine]
    next: str | None


class RefusedAddress(Struct, frozen=True, kw_only=True):
    """An entry that is no address."""

    address: str
    reason: str


class SuppressionsAdded(Struct, frozen=True, kw_only=True, tag_field="answer", tag="suppression_add"):
    """How many addresses are on the list now because of the command; those that are none are left out."""

    added: int
    refused: list[RefusedAddress]


class SuppressionsRemoved(Struct, frozen=True, kw_only=True, tag_field="answer", tag="suppression_remove"):
    """How many addresses were on the list and are no longer."""

    removed: int
    unknown: list[str]  # were not on it, or are no addresses


class Refusal(Struct, frozen=True, kw_only=True, tag_field="answer", tag="refused"):
    """The command was not understood or not allowed; nothing was done."""

    field: str
    reason: str


Answer = (
    RetractAnswer
    | ReleaseAnswer
    | ResendAnswer
    | CloseAnswer
    | ReplaceAnswer
    | ShowAnswer
    | ContentAnswer
    | ListAnswer
    | StatsAnswer
    | SettingsAnswer
    | SitesAnswer
    | SendersAnswer
    | SuppressionsAnswer
    | SuppressionsAdded
    | SuppressionsRemoved
    | Refusal
)
