"""The wire types: what clients and operators say (JSON or msgpack), and what one service tells the next (msgpack).

Unknown fields are refused everywhere. `docs/asyncapi.yaml` is generated from this module.
"""

import enum
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from shared.durations import Duration
from shared.outcomes import Outcome

# ---------------------------------------------------------------------------------------------------------
# Client → scheduler


MAX_MAIL_ID = 200  # characters: fits the broker's short string of 255 bytes and a row of `pillarbox list`

MOST_CONTENT = 4 * 1024 * 1024  # octets of a mail in one answer: in base64 it fits the broker's smallest limit, 16 MiB

MailId = Annotated[str, Meta(min_length=1, max_length=MAX_MAIL_ID)]
BatchLabel = Annotated[str, Meta(max_length=200)]
Priority = Literal["normal", "urgent"]
Notice = Literal["failure", "delay", "success"]
Notify = Literal["never"] | Annotated[list[Notice], Meta(min_length=1, max_length=3)]
Ret = Literal["hdrs", "full"]
Revision = Annotated[int, Meta(ge=0, le=2**31 - 1)]  # of a settings document; the upper bound is the store's column
AddressList = list[str] | str  # one, or several; each with or without a display name


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


# ---------------------------------------------------------------------------------------------------------
# Scheduler → resolver → sender → scheduler. Ids, envelopes and routes, never content.


class Recipient(Struct, frozen=True, array_like=True):
    """One recipient of one mail: the number of its row in the mail store, and its address."""

    no: int
    address: str


class Envelope(Struct, frozen=True, array_like=True):
    """RFC 5321 envelope of some recipients of one mail, with what the route and the transaction need to know."""

    mail: str  # the mail's id
    reverse_path: str  # "" is the null reverse-path
    recipients: tuple[Recipient, ...]
    size: int  # octets of the content, CRLF line ends, before dot-stuffing (RFC 1870 section 5)
    eight_bit: bool  # the content has octets above 127 (RFC 6152)
    smtputf8: bool  # an address or a header is not ASCII (RFC 6531)
    notify: str = ""  # "never", or of "failure,delay,success" what is asked for; "" leaves it to the receiver
    ret: str = ""  # "hdrs", "full", or "" as well
    alone: bool = False  # senders have died with it: whoever sends it has nothing else in hand
    trace: str = ""  # its trace context, as `shared.tracing` has it; "" where nobody wants traces


class RouteRequest(Struct, frozen=True, array_like=True):
    """The scheduler asks where this envelope may go."""

    envelope: Envelope
    attempt: int  # 1 on the first try


class RouteRequests(Struct, frozen=True, array_like=True):
    """Several requests in one message: the broker's cost is per message."""

    requests: tuple[RouteRequest, ...]


class TlsMode(enum.StrEnum):
    """How a connection is secured; the words of the setting `tls`."""

    NONE = "none"
    ENABLE = "enable"
    REQUIRE = "require"


class SecretReference(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the senders find a secret, one of the three. Never the secret itself."""

    env: Annotated[str | None, Meta(description="name of an environment variable of the senders")] = None
    file: Annotated[
        str | None, Meta(description="path of a file on the senders; one line end at its end is dropped")
    ] = None
    command: Annotated[
        # A name and no path: who may write settings must not be able to run what he likes on the senders.
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$(?!\n)", max_length=100)] | None,
        Meta(description="name of a program in the senders' folder `PILLARBOX_COMMANDS`, which prints it"),
    ] = None


Mechanism = Literal["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "XOAUTH2", "PLAIN", "LOGIN"]


class Credentials(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to sign in at a relay."""

    user: Annotated[str, Meta(description="user name", min_length=1)]
    password: SecretReference | None = None
    token: SecretReference | None = None
    mechanisms: Annotated[
        tuple[Mechanism, ...],
        Meta(description="the ways to sign in that may be used, the best first; none: the usual"),
    ] = ()
    allow_plaintext: Annotated[
        bool, Meta(description="password or token may be sent over a connection without TLS")
    ] = False


class Host(Struct, frozen=True, array_like=True):
    """One host of a route."""

    name: str
    port: int
    addresses: tuple[str, ...] = ()  # in the order to try; empty: the sender asks the system's resolver


class Pace(Struct, frozen=True, array_like=True):
    """How quickly mail may go, over all senders together."""

    name: str  # what the limit is set for; mail of one name is counted together
    rate: str  # mails in a unit of time: "600/h"


class Route(Struct, frozen=True, array_like=True):
    """Where an envelope may go, hosts in the order to try."""

    site: str  # the destination as a whole: "relay:mail.example:587" or "mx:mx1.example.net,mx2.example.net"
    hosts: tuple[Host, ...]
    tls: TlsMode
    credentials: Credentials | None
    revision: int  # settings revision it was made under
    verify: bool = True  # a relay in mode require: its certificate has to be valid and its own
    ca_file: str = ""  # on the senders: the authorities to trust instead of the system's
    implicit_tls: bool = False  # TLS comes before the greeting, on another port than 465 too
    pace: Pace | None = None  # None: as quickly as the server takes it

    @property
    def to_relay(self) -> bool:
        """Whether it leads to a relay, and not to the recipients' own servers."""
        return self.site.startswith("relay:")


class SendRequest(Struct, frozen=True, array_like=True):
    """A sender may claim this and connect. Every recipient is of one site."""

    envelope: Envelope
    attempt: int


class SendRequests(Struct, frozen=True, array_like=True):
    """The resolver has found a route, and these may go over it: several in one message, as in `RouteRequests`."""

    route: Route
    requests: Annotated[tuple[SendRequest, ...], Meta(min_length=1)]


class RecipientOutcome(Struct, frozen=True, array_like=True):
    """What became of one recipient in one attempt."""

    recipient: int  # Recipient.no
    attempt: int
    outcome: Outcome


class OutcomeReport(Struct, frozen=True, array_like=True):
    """Several outcomes in one message, all from one worker under one settings revision."""

    worker: str
    revision: int
    outcomes: tuple[RecipientOutcome, ...]


class BounceClass(enum.StrEnum):
    """What kind of failure a reply means (docs/operations.md says what each leads to)."""

    BAD_MAILBOX = "bad_mailbox"  # there is no such mailbox
    BAD_DOMAIN = "bad_domain"  # the domain does not exist, or takes no mail
    INACTIVE = "inactive"  # the mailbox is there, but closed or disabled
    MAILBOX_FULL = "mailbox_full"  # the mailbox takes no more for now: over quota, or too much at a time
    GREYLIST = "greylist"  # the receiver wants to see whether we come back
    RATE = "rate"  # too many connections or mails for the receiver
    SPAM = "spam"  # the receiver takes the mail for spam
    BLOCKED = "blocked"  # the receiver refuses our address or domain: a blocklist, a bad reputation
    POLICY = "policy"  # the receiver's rules: SPF, DKIM, DMARC, reverse DNS, relaying, access
    CONTENT = "content"  # something in the mail is not wanted: an attachment, a virus, a malformed header
    TOO_BIG = "too_big"  # larger than the receiver takes
    AUTHENTICATION = "authentication"  # our sign-in is wanted or was refused
    TLS = "tls"  # an encrypted connection is wanted, or could not be made
    NETWORK = "network"  # no answer, a broken connection, DNS
    SYSTEM = "system"  # a server has a trouble of its own
    PROTOCOL = "protocol"  # the two servers do not understand each other
    LOOP = "loop"  # the mail goes in a circle
    SUPPRESSED = "suppressed"  # on the suppression list: nothing was tried
    UNKNOWN = "unknown"  # the reply does not tell


# ---------------------------------------------------------------------------------------------------------
# Operator or client → scheduler: commands, each with an answer to `reply_to`


class Selector(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which mails a command is for; the parts given must all match, and at least one is given."""

    id: MailId | None = None
    batch: BatchLabel | None = None
    recipient: str | None = None


class Retract(Selector, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="retract"):
    """Take mails back. An unknown `id` is remembered: the mail is retracted on arrival."""


class Release(Selector, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="release"):
    """Send held or deferred mails now."""


class Resend(Selector, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="resend"):
    """Send mails again that wait in doubt: a second copy may arrive."""


class Close(Selector, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="close"):
    """Let mails that are in doubt count as delivered: they are not sent again."""


class FinishedMail(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A finished message (RFC 5322) within a command, with what its AMQP headers would say."""

    content: bytes  # base64
    mail_from: str | None = None  # "" is the null reverse-path; absent, the message's own Sender or From
    rcpt_to: list[str] | None = None  # absent, the message's own To, Cc and Bcc
    unsubscribe_url: str | None = None
    hold: Duration | None = None
    send_at: datetime | None = None
    give_up_after: Duration | None = None
    batch: BatchLabel = ""
    priority: Priority = "normal"
    notify: Notify | None = None
    ret: Ret | None = None
    ignore_suppression: bool = False


class Replace(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="command",
    tag="replace",
):
    """Put another mail in the place of one that no sender has claimed; the id stays, the hold starts anew.

    In one of two forms: `submission` or `message`.
    """

    id: MailId
    submission: Submission | None = None
    message: FinishedMail | None = None


class Show(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="show"):
    """Tell the whole story of one mail."""

    id: MailId


class ShowContent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="content"):
    """Give a part of a mail's content, as it is stored: without the trace and the signatures of an attempt."""

    id: MailId
    offset: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0  # octets
    limit: Annotated[int, Meta(ge=1, le=MOST_CONTENT)] = MOST_CONTENT


class ListMails(
    Selector,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="command",
    tag="list",
):
    """List mails, newest first; without a selector, all of them."""

    state: "StateName | None" = None
    submitted_by: Annotated[str, Meta(max_length=255)] | None = None  # the broker user that the submission stated
    sender: str | None = None  # the reverse-path; "" is the null one
    since: Annotated[datetime, Meta(tz=True)] | None = None  # admitted then or later
    until: Annotated[datetime, Meta(tz=True)] | None = None  # admitted before
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    before: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None  # the `next` of the previous page


class Stats(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="stats"):
    """Count the recipients per state, and what went through since the scheduler's start."""


class ShowSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="settings"):
    """Give the settings in force, or those of a revision, and the last `history` revisions."""

    revision: Revision | None = None
    history: Annotated[int, Meta(ge=0, le=1000)] = 0


class ListSites(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="sites"):
    """List the sites that are out of reach or paused, or all that were used lately."""

    all: bool = False
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000


class ListSenders(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="senders"):
    """List the senders that run."""


class ListSuppressions(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="suppression_list"
):
    """List the addresses that no mail goes to, in the order of the alphabet."""

    address: str | None = None  # just this one
    after: str = ""  # the `next` of the previous page
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50


class SuppressedAddress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An address that no mail is to go to; all but the address is as `suppression_list` has it of another list."""

    address: str
    reason: Annotated[str, Meta(max_length=32 * 1024)] = ""  # somebody's, or the server's whole reply
    author: Annotated[str, Meta(max_length=200)] | None = None  # None: that of the command; "": a server's reply
    since: Annotated[datetime, Meta(tz=True)] | None = None  # None: now
    until: Annotated[datetime, Meta(tz=True)] | None = None  # None: until somebody removes it
    bounce_class: BounceClass | None = None
    code: Annotated[int, Meta(ge=0, le=599)] = 0
    enhanced: Annotated[str, Meta(max_length=12)] = ""
    mail: Annotated[str, Meta(max_length=MAX_MAIL_ID)] = ""  # the mail that was refused


class AddSuppressions(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="suppression_add"
):
    """Put addresses on the suppression list, in the place of what it has of them."""

    entries: Annotated[list[SuppressedAddress], Meta(min_length=1, max_length=1000)]
    author: Annotated[str, Meta(max_length=200)] = ""


class RemoveSuppressions(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="suppression_remove"
):
    """Take addresses off the suppression list."""

    addresses: Annotated[list[str], Meta(min_length=1, max_length=1000)]


Command = (
    Retract
    | Release
    | Resend
    | Close
    | Replace
    | Show
    | ShowContent
    | ListMails
    | Stats
    | ShowSettings
    | ListSites
    | ListSenders
    | ListSuppressions
    | AddSuppressions
    | RemoveSuppressions
)

StateName = Literal[
    "held", "releasing", "released", "claimed", "deferred", "in_doubt", "delivered", "bounced", "retracted"
]


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

# ---------------------------------------------------------------------------------------------------------
# Scheduler → anyone: events, JSON on `pillarbox.events` with the key `<event>.<recipient domain>`


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
