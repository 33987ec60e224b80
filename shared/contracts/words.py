"""Words that several messages use."""

import enum
from typing import Annotated, Literal

from msgspec import Meta

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

StateName = Literal[
    "held", "releasing", "released", "claimed", "deferred", "in_doubt", "delivered", "bounced", "retracted"
]


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
