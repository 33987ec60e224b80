"""The settings: one document, published whole on `pillarbox.settings`, its stream offset its revision.

People read and write it as TOML, the wire carries JSON. A document is valid as a whole or changes nothing;
each refusal names the field, what it got and what it takes.
"""

import difflib
import re
import tomllib
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
import tomli_w
from msgspec import Meta, Struct

from shared.contracts import Credentials, EventKind, TlsMode
from shared.durations import Duration

_HOST = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)$"
_LABELS = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
_HELO = rf"^(auto|{_LABELS}|\[[0-9A-Fa-f:.]+\]|\[IPv6:[0-9A-Fa-f:.]+\])$"
_DNS_SERVER = r"^(\[[0-9A-Fa-f:]+\]|[0-9.]+|[0-9A-Fa-f:]+)(#[0-9]{1,5})?$"

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


class Relay(_Group, frozen=True, kw_only=True):
    """The SMTP server that takes everything in relay mode."""

    host: Annotated[HostName, Meta(description="SMTP server name or address")] = "localhost"
    port: Annotated[Port, Meta(description="non-standard port; 465 speaks TLS at once")] = 25
    auth: Annotated[
        Credentials | None,
        Meta(description="user name, and the password by reference, where the server wants them"),
    ] = None


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
    ] = (  # about two tries in the first hour, then every two to three (RFC 5321 section 4.5.4.1)
        Duration(minutes=5),
        Duration(minutes=10),
        Duration(minutes=20),
        Duration(minutes=40),
        Duration(minutes=80),
        Duration(minutes=150),
    )
    jitter: Annotated[
        float, Meta(ge=0, le=0.5, description="each wait is longer or shorter by up to this share of it")
    ] = 0.2
    give_up: Annotated[Duration, Meta(description="a mail not delivered after this time is bounced")] = Duration(
        days=5
    )  # RFC 5321 section 4.5.4.1: at least 4 to 5 days


class RelayRoute(_Group, frozen=True, kw_only=True):
    """A relay for the mail of one recipient domain."""

    host: Annotated[HostName, Meta(description="SMTP server name or address")]
    port: Annotated[Port, Meta(description="its port; 465 speaks TLS at once")] = 25
    auth: Annotated[Credentials | None, Meta(description="as `relay.auth`")] = None
    tls: Annotated[TlsMode | None, Meta(description="as `tls`; absent, as that")] = None


class SiteLimit(_Group, frozen=True, kw_only=True):
    """A limit of one site's own."""

    connections: Annotated[int, Meta(ge=1, le=64, description="connections that each sender may open to it")]
    until: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(description="the limit ends by itself at this time (RFC 3339)"),
    ] = None


class Limits(_Group, frozen=True, kw_only=True):
    """How hard a receiver may be worked."""

    connections: Annotated[
        int, Meta(ge=1, le=64, description="connections that each sender may open to one MX site")
    ] = 4
    sites: Annotated[dict[str, SiteLimit], Meta(description="limits of their own, by MX host or recipient domain")] = {}


class Dns(_Group, frozen=True, kw_only=True):
    """Who answers DNS questions."""

    servers: Annotated[
        tuple[Annotated[str, Meta(pattern=_DNS_SERVER)], ...],
        Meta(description='addresses of name servers, with "#port" where it is not 53; none: those of the system'),
    ] = ()
    allow_loopback: Annotated[
        bool, Meta(description="deliver to MX hosts on this machine's loopback addresses (for tests)")
    ] = False


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
    delivery: Delivery = Delivery()
    relay: Relay = Relay()
    identity: Identity = Identity()
    sending: Sending = Sending()
    retry: Retry = Retry()
    limits: Limits = Limits()
    dns: Dns = Dns()
    routes: Annotated[dict[str, RelayRoute], Meta(description="relays by recipient domain")] = {}


class SettingsDocument(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is published on `pillarbox.settings`, the settings not yet judged."""

    settings: dict[str, Any]
    author: str = ""
    comment: str = ""
    restores: int | None = None  # the revision whose settings these are
    revision: int | None = None  # given, it counts only as this one: two people's changes can not undo each other


class InvalidSettings(ValueError):
    """A settings document that is refused: which field, and why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


def parse_document(body: bytes) -> SettingsDocument:
    """Decode a settings message. Raises InvalidSettings."""
    try:
        return msgspec.json.decode(body, type=SettingsDocument)
    except msgspec.ValidationError as error:
        raise _explain(error, _decode_leniently(body), SettingsDocument) from error
    except msgspec.DecodeError as error:
        raise InvalidSettings("", f"not a JSON document: {error}") from error


def parse_settings(document: dict[str, Any]) -> Settings:
    """Judge a settings document as a whole. Raises InvalidSettings, which names the first field that is wrong."""
    _refuse_plain_passwords(document)
    try:
        settings = msgspec.convert(document, Settings, dec_hook=_decode_duration)
    except msgspec.ValidationError as error:
        raise _explain(error, document, Settings) from error
    _check_across_fields(settings)
    return settings


def parse_toml(text: str) -> dict[str, Any]:
    """Read the document as people write it. Raises InvalidSettings with line and column."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings("", f"not a TOML document: {error}") from error


def to_document(settings: Settings) -> dict[str, Any]:
    """The settings as plain values for JSON: every field, defaults too."""
    plain: dict[str, Any] = _without_none(msgspec.to_builtins(settings, enc_hook=_encode_duration))
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
    Raises InvalidSettings when a part of the key is no group.
    """
    parts = split_key(key)
    changed: dict[str, Any] = dict(document)
    group = changed
    for index, part in enumerate(parts[:-1]):
        inner = group.get(part, {})
        if not isinstance(inner, dict):
            raise InvalidSettings(".".join(parts[: index + 1]), "is a field, not a group of fields")
        group[part] = group = dict(inner)
    if value == "":
        group.pop(parts[-1], None)
    else:
        group[parts[-1]] = _value_of(value)
    return changed


def split_key(key: str) -> list[str]:
    """Split a dotted key; quotes protect dots: `routes."a.example".host` has three parts."""
    parts = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|([^."]+)', key)]
    if not parts:
        raise InvalidSettings(key, "takes a dotted name such as sending.hold")
    return parts


def limit_of(settings: Settings, names: list[str], now: datetime) -> int:
    """Connections that each sender may open to an MX site known under any of `names` (hosts, domain)."""
    for name in names:
        own = settings.limits.sites.get(name.lower())
        if own is not None and (own.until is None or now < own.until):
            return own.connections
    return settings.limits.connections


# ---------------------------------------------------------------------------------------------------------


def _value_of(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _decode_duration(kind: type, value: object) -> object:
    if kind is Duration:
        return Duration.parse(value)
    raise NotImplementedError(kind)


def _encode_duration(value: object) -> object:
    if isinstance(value, Duration):
        return str(value)
    raise NotImplementedError(type(value))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return value


def _decode_leniently(body: bytes) -> Any:
    return msgspec.json.decode(body)


def _refuse_plain_passwords(document: dict[str, Any]) -> None:
    groups: list[tuple[str, Any]] = [("relay", document.get("relay"))]
    routes = document.get("routes")
    if isinstance(routes, dict):
        groups += [(f'routes."{name}"', route) for name, route in routes.items()]
    for name, group in groups:
        auth = group.get("auth") if isinstance(group, dict) else None
        password = auth.get("password") if isinstance(auth, dict) else None
        if isinstance(password, str):
            # The value is not repeated: it is a secret, and refusals are published and logged.
            raise InvalidSettings(
                f"{name}.auth.password",
                "got a plain text; takes a reference to where the senders find the password, "
                '{ env = "NAME" } or { file = "/path" }: '
                "no secret ever lies on the broker, in the store or in a log",
            )


def _check_across_fields(settings: Settings) -> None:
    owners = [("relay", settings.relay.auth)] + [
        (f'routes."{name}"', route.auth) for name, route in settings.routes.items()
    ]
    for name, auth in owners:
        if auth is not None and (auth.password.env is None) == (auth.password.file is None):
            raise InvalidSettings(
                f"{name}.auth.password", 'takes either { env = "NAME" } or { file = "/path" }, one of the two'
            )
    if any(ord(character) < 32 for character in settings.identity.reply_to + settings.identity.sender_name):
        raise InvalidSettings("identity", "reply_to and sender_name take one line without control characters")
    if settings.identity.reply_to and "@" not in settings.identity.reply_to:
        raise InvalidSettings(
            "identity.reply_to", f"got {settings.identity.reply_to!r}; takes an e-mail address or nothing"
        )
    for name in settings.routes:
        if not re.fullmatch(_HOST, name):
            raise InvalidSettings(f'routes."{name}"', "takes a domain name")


_AT = re.compile(r" - at `([^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")


def _explain(error: msgspec.ValidationError, document: Any, root: type) -> InvalidSettings:
    """Turn msgspec's message into: the field, what it got, what it takes."""
    message = str(error)
    at = _AT.search(message)
    path = at.group(1).removeprefix("$").lstrip(".") if at else ""
    reason = _AT.sub("", message)
    field = _name_the_keys(path, document, root)
    if unknown := _UNKNOWN.match(reason):
        name = unknown.group(1)
        return InvalidSettings(f"{field}.{name}".lstrip("."), _unknown_field(name, field, root))
    if missing := _MISSING.match(reason):
        return InvalidSettings(f"{field}.{missing.group(1)}".lstrip("."), "is missing")
    got = _look_up(document, field)
    return InvalidSettings(field, f"got {_shown(got)}; {_what_it_takes(reason)}")


def _what_it_takes(reason: str) -> str:
    if reason.startswith("takes "):
        return reason
    takes = re.sub(r", got .*$", "", reason).replace("Expected ", "takes ").replace("`", "")
    words = {
        "str": "a text",
        "int": "a whole number",
        "bool": "true or false",
        "array": "a list",
        "object": "a group",
    }
    takes = re.sub(r"^takes (str|int|bool|array|object)\b", lambda match: f"takes {words[match.group(1)]}", takes)
    if match := re.match(r"Invalid enum value ('?.*'?)", takes):
        return f"{match.group(1)} is none of the values it takes"
    return takes


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode() if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 80 else text[:77] + "..."


def _unknown_field(name: str, group: str, root: type) -> str:
    known = _fields_of(root, group)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"there is no such field; {hint}"


def _fields_of(root: type, group: str) -> list[str]:
    """The field names of a group, found by walking the types; empty where the walk leaves them."""
    kind: Any = msgspec.inspect.type_info(root)
    for part in split_key(group) if group else []:
        kind = _struct_in(kind)
        if isinstance(kind, msgspec.inspect.DictType):
            kind = kind.value_type
        elif isinstance(kind, msgspec.inspect.StructType):
            kind = next((field.type for field in kind.fields if field.name == part), None)
        else:
            return []
    kind = _struct_in(kind)
    return [field.encode_name for field in kind.fields] if isinstance(kind, msgspec.inspect.StructType) else []


def _struct_in(kind: Any) -> Any:
    if isinstance(kind, msgspec.inspect.Metadata):
        return _struct_in(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return next((inner for inner in kind.types if isinstance(_struct_in(inner), msgspec.inspect.StructType)), None)
    return kind


def _name_the_keys(path: str, document: Any, root: type) -> str:
    """msgspec writes `routes[...].port`, not which route; find the key whose entry is the one refused."""
    if "[...]" not in path:
        return path
    before, _, after = path.partition("[...]")
    mapping = _look_up(document, before.rstrip("."))
    if not isinstance(mapping, dict):
        return path
    for key, value in mapping.items():
        try:
            msgspec.convert({**_nested(before, {key: value})}, root, dec_hook=_decode_duration)
        except msgspec.ValidationError:
            return f'{before}."{key}"{after}'
    return path


def _nested(path: str, value: Any) -> dict[str, Any]:
    for part in reversed(split_key(path)):
        value = {part: value}
    return dict(value)


def _look_up(document: Any, field: str) -> Any:
    value = document
    for part in split_key(field) if field else []:
        name, _, index = part.partition("[")
        value = value.get(name) if isinstance(value, dict) else None
        if index and isinstance(value, list):
            value = value[int(index.rstrip("]"))]
    return value
