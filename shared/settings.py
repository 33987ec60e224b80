"""The settings: one document, published whole on `pillarbox.settings`, its stream offset its revision.

People read and write it as TOML, the wire carries JSON. A document is valid as a whole or changes nothing;
each refusal names the field, what it got and what it takes.
"""

import re
import tomllib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, get_args

import msgspec
import tomli_w
from msgspec import Meta, Struct

from shared.addresses import check_spec, parse_addresses, refuse_control_characters
from shared.contracts.events import EventKind
from shared.contracts.words import Revision
from shared.contracts.work import Credentials, Pace, TlsMode
from shared.credentials import check_credentials, refuse_plain_secrets
from shared.durations import Duration, decode_duration, encode_duration
from shared.host_names import address_in, is_fit
from shared.limits import MAX_RECIPIENTS
from shared.refusals import UNREADABLE, Invalid, explain, read_plain, split_key

_END = r"$(?!\n)"  # Python's `$` alone lets a line end through, which would break out of the HELO command
_HOST = rf"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?){_END}"
_LABELS = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
_HELO = rf"^(auto|{_LABELS}|\[[0-9A-Fa-f:.]+\]|\[IPv6:[0-9A-Fa-f:.]+\]){_END}"
_REPORTING = rf"^({_LABELS})?{_END}"
_HELO_FALLBACK = rf"^({_LABELS}|\[[0-9A-Fa-f:.]+\]|\[IPv6:[0-9A-Fa-f:.]+\])?{_END}"
_OWN_HOST = rf"^({_LABELS}|[0-9A-Fa-f:.]+){_END}"
_DNS_SERVER = rf"^(\[[0-9A-Fa-f:]+\]|[0-9.]+|[0-9A-Fa-f:]+)(#[0-9]{{1,5}})?{_END}"

_SELECTOR = rf"^{_LABELS}{_END}"  # RFC 6376 section 3.1

_MOST_OCTETS = 4 * 1024 * 1024  # of a document: every worker reads it; forty thousand routes
_MOST_NAME = 253  # characters of a domain's name
NO_TOML = (ValueError, RecursionError)  # tomllib's own is a ValueError; a number of 5,000 digits has Python's

_LANES = 4  # shared.topology.LANES, which a test holds equal: a sender opens one connection per site and lane

_RATE = rf"^[1-9][0-9]{{0,4}}/[smhd]{_END}"
_PER_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Rate = Annotated[str, Meta(pattern=_RATE)]
HostName = Annotated[str, Meta(pattern=_HOST, max_length=255)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class _Group(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of settings; every field has a default."""


class Delivery(_Group, frozen=True, kw_only=True):
    """Where mail goes."""

    mode: Annotated[
        Literal["relay", "direct"],
        Meta(description="relay: everything to one server; direct: straight to the recipients' MX hosts"),
    ] = "relay"
    address_literals: Annotated[
        bool, Meta(description="in direct mode, mail to name@[192.0.2.1] goes to that address; else it bounces")
    ] = False


class Relay(_Group, frozen=True, kw_only=True):
    """The SMTP server that takes everything in relay mode."""

    host: Annotated[HostName, Meta(description="SMTP server name or address")] = "localhost"
    port: Annotated[Port, Meta(description="non-standard port; 465 speaks TLS at once")] = 25
    auth: Annotated[
        Credentials | None,
        Meta(description="user name, and password or token by reference, where the server wants them"),
    ] = None
    verify: Annotated[
        bool, Meta(description="with tls = require, the server's certificate has to be valid and for its name")
    ] = True
    ca_file: Annotated[
        str,
        Meta(
            description="file on the senders with the certificates to trust instead of the system's authorities (PEM)"
        ),
    ] = ""
    implicit_tls: Annotated[
        bool, Meta(description="TLS from the first octet on another port than 465 as well, unless tls = none")
    ] = False


class Fallback(_Group, frozen=True, kw_only=True):
    """What `tls = "enable"` does where TLS can not be had."""

    starttls_454: Annotated[
        Literal["plaintext", "defer"],
        Meta(description="where a host that offers TLS says that it is not available for now (454, or 421)"),
    ] = "plaintext"
    remember: Annotated[
        Duration, Meta(description="how long a host whose TLS is broken gets its mail in plaintext at once; 0: not")
    ] = Duration(hours=1)


class Identity(_Group, frozen=True, kw_only=True):
    """Who we say we are."""

    reply_to: Annotated[str, Meta(description="Reply-To address, added when a mail has none", max_length=320)] = ""
    sender_name: Annotated[
        str, Meta(description="display name of From, where a mail's From has none", max_length=200)
    ] = ""
    helo_name: Annotated[
        str,
        Meta(
            description='HELO name; "auto" is the forward-confirmed reverse DNS name of the egress address',
            pattern=_HELO,
            max_length=255,
        ),
    ] = "auto"
    reporting_mta: Annotated[
        str,
        Meta(
            description="name of this mail system in reports of undelivered mail; absent, the HELO name, or failing "
            "that the machine's",
            pattern=_REPORTING,
            max_length=255,
        ),
    ] = ""
    postmaster: Annotated[
        str,
        Meta(
            description="address that reports of undelivered mail come from; absent, MAILER-DAEMON at the name of this "
            "mail system, or failing that at the domain of the mail's sender",
            max_length=254,
        ),
    ] = ""
    helo_fallback: Annotated[
        str,
        Meta(
            description='HELO name where "auto" finds none that leads back; empty: the address in brackets',
            pattern=_HELO_FALLBACK,
            max_length=255,
        ),
    ] = ""
    own_hosts: Annotated[
        tuple[Annotated[str, Meta(pattern=_OWN_HOST, max_length=255)], ...],
        Meta(
            description="names and addresses, other than the HELO name, under which MX records may name this system: "
            "mail is not sent to them, nor to what stands behind them in the MX set"
        ),
    ] = ()


class Sending(_Group, frozen=True, kw_only=True):
    """How mail is held and sent."""

    hold: Annotated[
        Duration, Meta(description="how long a mail waits and can be taken back, unless it says so itself")
    ] = Duration(minutes=5)
    max_per_connection: Annotated[
        int,
        Meta(ge=1, le=1000, description="mails sent over one connection; then it is closed and another opened"),
    ] = 100
    max_size: Annotated[
        int, Meta(ge=1024, le=512 * 1024 * 1024, description="largest mail taken, in octets of its content")
    ] = 25 * 1024 * 1024


class Retry(_Group, frozen=True, kw_only=True):
    """When a deferred mail is tried again, and when no longer."""

    schedule: Annotated[
        tuple[Duration, ...],
        Meta(min_length=1, max_length=100, description="the waits, one after another; the last repeats"),
    ] = (  # most deferrals are over soon; then every two to three hours (RFC 5321 section 4.5.4.1)
        Duration(minutes=5),
        Duration(minutes=10),
        Duration(minutes=20),
        Duration(minutes=40),
        Duration(minutes=80),
        Duration(minutes=150),
    )
    probe_schedule: Annotated[
        tuple[Duration, ...],
        Meta(
            min_length=1,
            max_length=100,
            description="the pauses of a site that is out of reach, has answered 421 or turns us away, one after "
            "another; then one connection is tried for all its mail",
        ),
    ] = (
        Duration(minutes=1),
        Duration(minutes=2),
        Duration(minutes=4),
        Duration(minutes=8),
        Duration(minutes=15),
        Duration(minutes=30),  # RFC 5321 section 4.5.4.1: not oftener in the long run
    )
    greylist: Annotated[
        tuple[Duration, ...],
        Meta(max_length=100, description="the first waits after a greylisting, where those of `schedule` are longer"),
    ] = (Duration(seconds=90), Duration(minutes=6))  # most want a minute, or five (RFC 6647 section 5)
    mailbox_full: Annotated[
        Duration, Meta(description="the least wait after a reply that the recipient's mailbox is full")
    ] = Duration(hours=2)
    jitter: Annotated[
        float, Meta(ge=0, le=0.5, description="each wait is longer or shorter by up to this share of it")
    ] = 0.2
    in_doubt: Annotated[
        Literal["resend", "park"],
        Meta(
            description="a mail that the receiver may have taken, though its answer was lost; resend: it is tried "
            "again and may arrive twice; park: it waits for an operator to resend or close it, until it is given up"
        ),
    ] = "resend"
    give_up: Annotated[Duration, Meta(description="a mail not delivered after this time is bounced")] = Duration(
        days=5
    )  # RFC 5321 section 4.5.4.1: at least 4 to 5 days
    give_up_dsn: Annotated[
        Duration, Meta(description="a report of undelivered mail that is not delivered after this time is dropped")
    ] = Duration(days=2)


class RelayRoute(_Group, frozen=True, kw_only=True):
    """A relay for the mail of one recipient domain."""

    host: Annotated[HostName, Meta(description="SMTP server name or address")]
    port: Annotated[Port, Meta(description="its port; 465 speaks TLS at once")] = 25
    auth: Annotated[Credentials | None, Meta(description="as `relay.auth`")] = None
    tls: Annotated[TlsMode | None, Meta(description="as `tls`; absent, as that")] = None
    verify: Annotated[bool, Meta(description="as `relay.verify`")] = True
    ca_file: Annotated[str, Meta(description="as `relay.ca_file`")] = ""
    implicit_tls: Annotated[bool, Meta(description="as `relay.implicit_tls`")] = False


class SiteLimit(_Group, frozen=True, kw_only=True):
    """A limit of one site's own."""

    connections: Annotated[
        Annotated[int, Meta(ge=1, le=_LANES)] | None,
        Meta(description="connections that each sender may open to it; absent, as all, to a relay one per lane"),
    ] = None
    rate: Annotated[
        Rate | None,
        Meta(description='mails to it at most, over all senders: `"10/s"`, `"600/h"`; s, m, h or d; absent, as all'),
    ] = None
    pipelining: Annotated[
        bool,
        Meta(description="commands may go in groups where it offers that (RFC 2920); by name of the MX host or relay"),
    ] = True
    until: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(description="the limit ends by itself at this time (RFC 3339)"),
    ] = None


class Limits(_Group, frozen=True, kw_only=True):
    """How hard a receiver may be worked."""

    connections: Annotated[
        int, Meta(ge=1, le=_LANES, description="connections that each sender may open to one MX site")
    ] = 4
    rate: Annotated[
        Rate | None, Meta(description="mails to one MX site at most, over all senders; absent: as many as it takes")
    ] = None
    addresses: Annotated[
        int, Meta(ge=2, le=10, description="addresses of one site that are tried in one attempt, of both IP versions")
    ] = 5  # RFC 5321 section 5.1: two at least
    sites: Annotated[
        dict[str, SiteLimit], Meta(description="limits of their own, by MX host, recipient domain or relay")
    ] = {}


class Timeouts(_Group, frozen=True, kw_only=True):
    """How long a server may take (RFC 5321 section 4.5.3.2).

    Each is for one step and starts with it; octets that trickle in do not extend it. None is for a whole mail.
    """

    connect: Annotated[
        Duration, Meta(description="to take a connection, for each address; to look up a relay's addresses likewise")
    ] = Duration(seconds=30)
    handshake: Annotated[Duration, Meta(description="to negotiate TLS")] = Duration(seconds=60)
    greeting: Annotated[Duration, Meta(description="to greet")] = Duration(minutes=5)  # section 4.5.3.2.1
    hello: Annotated[Duration, Meta(description="to answer EHLO, HELO or STARTTLS")] = Duration(
        minutes=5
    )  # the RFC names no limit
    auth: Annotated[Duration, Meta(description="to answer each line of a sign-in")] = Duration(
        minutes=3
    )  # RFC 4954 section 4
    mail: Annotated[Duration, Meta(description="to answer MAIL")] = Duration(minutes=5)  # section 4.5.3.2.2
    recipient: Annotated[Duration, Meta(description="to answer each RCPT")] = Duration(minutes=5)  # section 4.5.3.2.3
    data: Annotated[Duration, Meta(description="to answer DATA")] = Duration(minutes=2)  # section 4.5.3.2.4
    block: Annotated[Duration, Meta(description="to take each 128 KiB of a large mail")] = Duration(
        minutes=3
    )  # section 4.5.3.2.5
    final_dot: Annotated[Duration, Meta(description="to answer the end of a mail")] = Duration(
        minutes=10
    )  # section 4.5.3.2.6: giving up early makes duplicates
    reset: Annotated[Duration, Meta(description="to answer RSET")] = Duration(minutes=1)
    quit: Annotated[Duration, Meta(description="to answer QUIT; the mails are through by then")] = Duration(seconds=5)


class Dns(_Group, frozen=True, kw_only=True):
    """Who answers DNS questions."""

    servers: Annotated[
        tuple[Annotated[str, Meta(pattern=_DNS_SERVER)], ...],
        Meta(description='addresses of name servers, with "#port" where it is not 53; none: those of the system'),
    ] = ()
    allow_loopback: Annotated[
        bool, Meta(description="deliver to MX hosts on this machine's loopback addresses (for tests)")
    ] = False
    mx_port: Annotated[Port, Meta(description="port of MX hosts (another than 25 only for tests)")] = 25


class Suppression(_Group, frozen=True, kw_only=True):
    """Addresses that no mail goes to."""

    automatic: Annotated[
        bool,
        Meta(
            description="a server's final word that an address or its domain does not exist, or is no longer used, "
            "puts it on the suppression list"
        ),
    ] = True
    keep: Annotated[Duration, Meta(description="how long such an address stays on it")] = Duration(days=90)


class Gateway(_Group, frozen=True, kw_only=True):
    """How much the SMTP gateways take; each counts for itself."""

    connections: Annotated[int, Meta(ge=1, le=100_000, description="connections at once")] = 500
    connections_per_address: Annotated[
        int, Meta(ge=1, le=100_000, description="connections at once from one address (IPv6: one /64)")
    ] = 50
    recipients: Annotated[
        int, Meta(ge=100, le=MAX_RECIPIENTS, description="recipients of one mail")  # RFC 5321 section 4.5.3.1.8
    ] = 1000
    errors: Annotated[int, Meta(ge=1, le=100_000, description="refusals on one connection; then it is closed")] = 100
    idle: Annotated[Duration, Meta(description="how long a client may say nothing; then its connection is closed")] = (
        Duration(minutes=5)
    )  # RFC 5321 section 4.5.3.2.7


class KeyReference(_Group, frozen=True, kw_only=True):
    """Where a private key lies."""

    file: Annotated[
        str | None, Meta(description="path of a file on the senders that holds it (PEM); read anew when it changes")
    ] = None
    env: Annotated[str | None, Meta(description="name of an environment variable of the senders that holds it")] = None


class DkimKey(_Group, frozen=True, kw_only=True):
    """A key that mail of one domain is signed with (RFC 6376, RFC 8463)."""

    selector: Annotated[
        str,
        Meta(description="its name in the DNS: SELECTOR._domainkey.DOMAIN", pattern=_SELECTOR, max_length=63),
    ]
    key: KeyReference


class Settings(_Group, frozen=True, kw_only=True):
    """The whole document."""

    tls: Annotated[
        TlsMode,
        Meta(description="none: never; enable: where it can be had, else in plaintext; require: or no mail goes"),
    ] = TlsMode.ENABLE
    events: Annotated[tuple[EventKind, ...], Meta(description="the kinds of events that are published")] = tuple(
        kind for kind in get_args(EventKind) if kind not in ("accepted", "released")
    )
    history: Annotated[Duration, Meta(description="how long final mails can still be shown")] = Duration(days=30)
    bounces: Annotated[
        Literal["dsn", "events"],
        Meta(
            description="dsn: who sent a mail that can not be delivered gets a mail that says so, beside the event; "
            "events: the event alone"
        ),
    ] = "dsn"
    delay_notice: Annotated[
        Duration | None,
        Meta(
            description="who sent a mail that is not delivered after this time gets one mail that says so; absent: none"
        ),
    ] = None
    delivery: Delivery = Delivery()
    relay: Relay = Relay()
    fallback: Fallback = Fallback()
    identity: Identity = Identity()
    sending: Sending = Sending()
    retry: Retry = Retry()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    dns: Dns = Dns()
    suppression: Suppression = Suppression()
    gateway: Gateway = Gateway()
    routes: Annotated[dict[str, RelayRoute], Meta(description="relays by recipient domain")] = {}
    dkim: Annotated[
        dict[str, tuple[DkimKey, ...]],
        Meta(
            description="keys by the domain in From: mail of the domain and of those below it is signed with each of "
            "them; an empty list: not signed"
        ),
    ] = {}


class SettingsDocument(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is published on `pillarbox.settings`, the settings not yet judged."""

    settings: dict[str, Any]
    author: str = ""
    comment: str = ""
    restores: Revision | None = None  # the revision whose settings these are
    revision: Revision | None = None  # given, it counts only as this one: two people's changes can not undo each other


def parse_document(body: bytes) -> SettingsDocument:
    """Decode a settings message. Raises Invalid."""
    if len(body) > _MOST_OCTETS:
        raise Invalid("", f"has {len(body)} octets; takes at most {_MOST_OCTETS}")
    try:
        document = msgspec.json.decode(body, type=SettingsDocument)
    except msgspec.ValidationError as error:
        raise explain(error, read_plain(msgspec.json.decode, body, "a JSON document"), SettingsDocument) from error
    except UNREADABLE as error:
        raise Invalid("", f"not a JSON document: {error}") from error
    for field in ("author", "comment"):
        if "\0" in getattr(document, field):  # PostgreSQL could not keep it
            raise Invalid(field, "has a NUL character; takes a text")
    return document


def parse_settings(document: dict[str, Any]) -> Settings:
    """Judge a settings document as a whole. Raises Invalid, which names the first field that is wrong."""
    refuse_plain_secrets(document)
    _refuse_plain_keys(document)
    try:
        settings = msgspec.convert(document, Settings, dec_hook=decode_duration)
    except msgspec.ValidationError as error:
        raise explain(error, document, Settings, decode_duration) from error
    _check_across_fields(settings)
    return settings


def parse_toml(text: str) -> dict[str, Any]:
    """Read the document as people write it. Raises Invalid with line and column."""
    try:
        return tomllib.loads(text)
    except NO_TOML as error:
        raise Invalid("", f"not a TOML document: {error}") from error


def to_document(settings: Settings) -> dict[str, Any]:
    """The settings as plain values for JSON: every field, defaults too."""
    plain: dict[str, Any] = _plain(msgspec.to_builtins(settings, enc_hook=encode_duration))
    return plain


def to_toml(settings: Settings) -> str:
    """The settings as TOML for people."""
    return tomli_w.dumps(to_document(settings))


def encode_document(document: SettingsDocument) -> bytes:
    """The settings message for the wire."""
    return msgspec.json.encode(document)


def change(document: dict[str, Any], key: str, value: str) -> dict[str, Any]:
    """A copy of the document with one field set, as `pillarbox settings set KEY=VALUE` does.

    `key` is dotted (`sending.hold`); a part in quotes may hold dots (`routes."example.org".host`). `value` is read
    as a TOML value, and failing that as a plain text, so `10m` needs no quotes. An empty value takes the field away.
    Raises Invalid when a part of the key is no group.
    """
    return with_field(document, key, None if value == "" else _value_of(value))


def with_field(document: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of the document with one field set by its dotted key; None takes it away.

    Raises Invalid when a part of the key is no group.
    """
    parts = split_key(key)
    changed: dict[str, Any] = dict(document)
    group = changed
    for index, part in enumerate(parts[:-1]):
        inner = group.get(part, {})
        if not isinstance(inner, dict):
            raise Invalid(".".join(parts[: index + 1]), "is a field, not a group of fields")
        group[part] = group = dict(inner)
    if value is None:
        group.pop(parts[-1], None)
    else:
        group[parts[-1]] = value
    return changed


def limit_of(settings: Settings, names: Iterable[str], now: datetime) -> int | None:
    """Connections that each sender may open to a site known under any of `names`, where a limit is set for one.

    Names are MX hosts and the recipient domain, or a relay's host.
    """
    limits = (settings.limits.sites.get(name.lower()) for name in names)
    return next((own.connections for own in limits if own and own.connections and _holds(own, now)), None)


def pace_of(settings: Settings, names: Iterable[str], now: datetime) -> Pace | None:
    """How quickly mail may go to a site known under any of `names`, where a limit is set for one."""
    for name in map(str.lower, names):
        own = settings.limits.sites.get(name)
        if own is not None and own.rate is not None and _holds(own, now):
            return Pace(name, own.rate)
    return None


def interval_of(rate: str) -> timedelta:
    """From one mail to the next: `"600/h"` is six seconds."""
    count, _, unit = rate.partition("/")
    return timedelta(seconds=_PER_S[unit] / int(count))


def may_pipeline(settings: Settings, host: str, now: datetime) -> bool:
    """Whether commands may go in groups to this MX host or relay, should it offer that."""
    own = settings.limits.sites.get(host.lower())
    return own is None or own.pipelining or not _holds(own, now)


def _holds(own: SiteLimit, now: datetime) -> bool:
    return own.until is None or now < own.until


# ---------------------------------------------------------------------------------------------------------


def _value_of(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except NO_TOML:
        return text


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value


def _refuse_plain_keys(document: dict[str, Any]) -> None:
    domains = document.get("dkim")
    for domain, keys in domains.items() if isinstance(domains, dict) else ():
        for index, key in enumerate(keys if isinstance(keys, list) else ()):
            if isinstance(key, dict) and isinstance(key.get("key"), str):
                raise Invalid(
                    f'dkim."{domain}"[{index}].key',
                    "got a plain text; takes a reference to where the senders find the private key, "
                    '{ file = "/path" } or { env = "NAME" }: '
                    "no secret ever lies on the broker, in the store or in a log",
                )


def _check_across_fields(settings: Settings) -> None:
    check_credentials("relay.auth", settings.relay.auth)
    for name, route in settings.routes.items():
        check_credentials(f'routes."{name}".auth', route.auth)
    _check_identity(settings.identity)
    _check_dkim(settings.dkim)
    for name in settings.timeouts.__struct_fields__:
        if not getattr(settings.timeouts, name):
            raise Invalid(f"timeouts.{name}", "takes a duration of more than 0")
    if not settings.gateway.idle:
        raise Invalid("gateway.idle", "takes a duration of more than 0")
    for group, names in (("routes", settings.routes), ("limits.sites", settings.limits.sites)):
        for name in names:
            if len(name) > _MOST_NAME or not re.fullmatch(_HOST, name) or name != name.lower():
                raise Invalid(f'{group}."{name}"', "takes a domain name, in lower case, letters of ASCII")


def _check_dkim(domains: dict[str, tuple[DkimKey, ...]]) -> None:
    for domain, keys in domains.items():
        if len(domain) > _MOST_NAME or not re.fullmatch(_LABELS, domain) or domain != domain.lower():
            raise Invalid(f'dkim."{domain}"', "takes a domain name, in lower case, letters of ASCII")
        selectors: set[str] = set()
        for index, key in enumerate(keys):
            field = f'dkim."{domain}"[{index}]'
            if (key.key.env is None) == (key.key.file is None):
                raise Invalid(f"{field}.key", 'takes either { file = "/path" } or { env = "NAME" }, one of the two')
            if key.selector.lower() in selectors:
                raise Invalid(f"{field}.selector", f"{key.selector} is given twice; each key needs one of its own")
            selectors.add(key.selector.lower())


def _check_identity(identity: Identity) -> None:
    """What goes into the headers of every mail must be fit for them."""
    try:
        refuse_control_characters(identity.sender_name)
    except ValueError as error:
        raise Invalid("identity.sender_name", str(error)) from error
    if identity.postmaster:
        try:
            check_spec(identity.postmaster)
        except ValueError as error:
            raise Invalid("identity.postmaster", f"{error}, or nothing") from error
        if not identity.postmaster.isascii():  # reports pass every server
            raise Invalid("identity.postmaster", "takes an address in letters of ASCII, or nothing")
    try:
        parse_addresses(identity.reply_to)
    except ValueError as error:
        raise Invalid("identity.reply_to", f"{error}, or nothing") from error
    for field, name in (("helo_name", identity.helo_name), ("helo_fallback", identity.helo_fallback)):
        if name not in ("", "auto") and not is_fit(name) and address_in(name) is None:
            raise Invalid(
                f"identity.{field}",
                f"got {name!r}; takes a fully qualified name that is this system's alone, such as mail.example.org, "
                "or its address as [192.0.2.1] or [IPv6:2001:db8::1]",
            )
