"""Scheduler → resolver → sender → scheduler: ids, envelopes, routes and outcomes, never content."""

import enum
from typing import Annotated, Literal

from msgspec import Meta, Struct

from shared.outcomes import Outcome


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
