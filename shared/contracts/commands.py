"""Operator or client → scheduler: commands, each with an answer to `reply_to`."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from shared.contracts.submissions import Submission
from shared.contracts.words import (
    MAX_MAIL_ID,
    MOST_CONTENT,
    BatchLabel,
    BounceClass,
    MailId,
    Notify,
    Priority,
    Ret,
    Revision,
    StateName,
)
from shared.durations import Duration


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

    state: StateName | None = None
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
