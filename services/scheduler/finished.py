"""A finished message (message/rfc822) is taken as it is: trace header in front, what is missing added, Bcc removed."""

import contextlib
import re
import socket
from collections.abc import Mapping
from datetime import datetime
from email.errors import MessageError
from email.header import decode_header, make_header
from functools import cache, lru_cache
from typing import Any

import msgspec

from services.scheduler.composed import Composed
from services.scheduler.header_rules import check_octets, check_single, unsubscribe_lines
from services.scheduler.headers import address_line, date_line, message_id_line, received_line
from services.scheduler.long_lines import shorten
from shared.addresses import Address, ascii_domain_of, check_spec, parse_addresses
from shared.limits import MAX_HEAD, MAX_HEADERS, check_head, check_headers
from shared.line_ends import has_crlf_alone
from shared.refusals import Invalid
from shared.settings import Identity

_BARE = re.compile(rb"\r\n|\r|\n")
_LINE_ENDS = {b"\r\n": "CRLF", b"\r": "a bare CR", b"\n": "a bare LF"}
_STARTS = re.compile(rb"(?:^|\r\n)[^ \t\r]")  # of headers, the folds left out
_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
_UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_LOOP = 100  # Received headers, RFC 5321 section 6.3


class _Field(msgspec.Struct, frozen=True):
    name: str  # lower case
    raw: bytes  # with its CRLFs

    @property
    def value(self) -> str:
        return self.raw.partition(b":")[2].decode("utf-8", "replace").replace("\r\n", "").strip()


def take_finished(body: bytes, headers: Mapping[str, Any], mail: str, identity: Identity, now: datetime) -> Composed:
    """Check a finished message and complete it. Raises Invalid, which names the header or the AMQP header."""
    body = _with_crlf(body)
    _check_size_of_head(body)
    fields, rest = _split(shorten(body))
    check_single(field.name for field in fields if field.name != "from")
    for field in fields:
        check_octets(field.name, field.raw)
    authors = _from(fields)
    reverse_path, recipients = _envelope(fields, headers)
    if sum(field.name == "received" for field in fields) >= _LOOP:
        raise Invalid("Received", f"5.4.6: the message has passed {_LOOP} hosts and more, it goes in a circle")
    kept = [_named(field, authors, identity) for field in fields if field.name not in ("bcc", "resent-bcc")]
    head = received_line(mail, _host(identity), now).encode() + b"".join(kept)
    head += _missing(fields, authors[0], mail, identity, now) + _unsubscribe(fields, headers.get("unsubscribe_url"))
    return Composed(
        reverse_path=reverse_path,
        recipients=recipients,
        content=head + b"\r\n" + rest,
        subject=_decoded(next((field.value[:2000] for field in fields if field.name == "subject"), ""))[:200],
        smtputf8=_is_utf8(head) or not "".join((reverse_path, *recipients)).isascii(),
    )


def _with_crlf(body: bytes) -> bytes:
    """Line ends are put right here, before anything is signed: a bare one could end the data early for somebody."""
    if not has_crlf_alone(body):
        _check_head(body)
        body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    if not body.endswith(b"\r\n"):
        body += b"\r\n"
    if b"\0" in body:
        raise Invalid("content", "has a NUL octet; encode the part in base64")
    return body


def _check_head(body: bytes) -> None:
    """A line end of another kind among the headers came with somebody's value, and would make a header of it."""
    kind, end = b"", 0
    for number, found in enumerate(_BARE.finditer(body, 0, MAX_HEAD), start=1):
        kind = kind or found.group()
        if found.group() != kind:
            ends = f"{_LINE_ENDS[found.group()]}, those before it in {_LINE_ENDS[kind]}"
            raise Invalid("content", f"line {number}, of the headers, ends in {ends}; takes one kind of line end there")
        if found.start() == end:
            return
        end = found.end()


def _check_size_of_head(body: bytes) -> None:
    """Before anything takes it apart."""
    end = 0 if body.startswith(b"\r\n") else body.find(b"\r\n\r\n", 0, MAX_HEAD + 4)
    if end < 0:
        end = len(body)
        check_head(end)
    if body.count(b"\r\n", 0, end) > MAX_HEADERS:
        check_headers(len(_STARTS.findall(body, 0, end)))


def _split(body: bytes) -> tuple[list[_Field], bytes]:
    head, _, rest = (b"\r\n" + body).partition(b"\r\n\r\n")
    fields: list[tuple[str, list[bytes]]] = []
    # Without a body there may be no empty line either (RFC 5322 section 3.5); then the head has the last line's end.
    for number, line in enumerate(head.removesuffix(b"\r\n").split(b"\r\n")[1:], start=1):
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1][1].append(line + b"\r\n")
        elif match := _NAME.match(line):
            fields.append((match.group(1).decode().lower(), [line + b"\r\n"]))
        else:
            raise Invalid("content", f"line {number} is no header: {line[:60].decode('ascii', 'backslashreplace')!r}")
    return [_Field(name, b"".join(lines)) for name, lines in fields], rest


def _from(fields: list[_Field]) -> tuple[Address, ...]:
    found = [field for field in fields if field.name == "from"]
    if len(found) != 1:
        raise Invalid("From", f"the message has {len(found) or 'no'} From headers; takes exactly one (RFC 5322)")
    addresses = _authors(found[0].value)
    if not addresses:
        raise Invalid("From", "is empty; takes an e-mail address")
    return addresses


@lru_cache(maxsize=1000)
def _authors(value: str) -> tuple[Address, ...]:
    """Who writes to many is read once."""
    return tuple(_addresses("From", value))


def _envelope(fields: list[_Field], headers: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    return _reverse_path(fields, headers.get("mail-from")), _recipients(fields, headers.get("rcpt-to"))


def _reverse_path(fields: list[_Field], given: Any) -> str:
    if given is None:
        source = next(field for name in ("sender", "from") for field in fields if field.name == name)
        addresses = _header_addresses(source.name.title(), source)
        if not addresses:
            raise Invalid(source.name.title(), "is empty; takes an e-mail address")
        return addresses[0].spec
    if not isinstance(given, str):
        raise Invalid("mail-from", f"got {type(given).__name__}; takes an address, or an empty text for the null one")
    text = given.strip().removeprefix("<").removesuffix(">")
    return _checked("mail-from", text) if text else ""


def _recipients(fields: list[_Field], given: Any) -> tuple[str, ...]:
    if given is None:
        named = [field for field in fields if field.name in ("to", "cc", "bcc")]
        found = [address.spec for field in named for address in _header_addresses(field.name.title(), field)]
        return tuple(dict.fromkeys(found))
    texts = given.split(",") if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Invalid("rcpt-to", f"got {type(given).__name__}; takes addresses, in a list or separated by commas")
    bare = [text.strip().removeprefix("<").removesuffix(">") for text in texts]
    return tuple(dict.fromkeys(_checked("rcpt-to", text) for text in bare if text))


def _checked(field: str, text: str) -> str:
    try:
        return check_spec(text)
    except ValueError as error:
        raise Invalid(field, str(error)) from error


def _header_addresses(name: str, field: _Field) -> list[Address]:
    return _addresses(name, field.value)


def _addresses(name: str, value: str) -> list[Address]:
    if re.fullmatch(r"[^<>@,]*:\s*;", value):  # an empty group: undisclosed-recipients:;
        return []
    try:
        return parse_addresses(value.replace("\t", " "))
    except ValueError as error:
        raise Invalid(name, str(error)) from error


def _named(field: _Field, authors: tuple[Address, ...], identity: Identity) -> bytes:
    if field.name == "from" and identity.sender_name and len(authors) == 1 and not authors[0].name:
        return address_line("From", [Address(identity.sender_name, authors[0].spec)]).encode()
    return field.raw


def _missing(fields: list[_Field], sender: Address, mail: str, identity: Identity, now: datetime) -> bytes:
    names = {field.name for field in fields}
    added = ""
    if "date" not in names:
        added += date_line(now)
    if "message-id" not in names:
        added += message_id_line(mail, ascii_domain_of(sender.spec))
    if "reply-to" not in names and identity.reply_to:
        added += address_line("Reply-To", parse_addresses(identity.reply_to))
    return added.encode()


def _unsubscribe(fields: list[_Field], url: Any) -> bytes:
    if url is None:
        return b""
    if not isinstance(url, str):
        raise Invalid("unsubscribe_url", f"got {type(url).__name__}; takes an https address")
    return unsubscribe_lines(url, (field.name for field in fields)).encode()


def _host(identity: Identity) -> str:
    return identity.helo_name if identity.helo_name != "auto" else _machine()


@cache
def _machine() -> str:
    return socket.gethostname()


def _decoded(text: str) -> str:
    """A header's text for lists, without what the store or a terminal could not take."""
    if "=?" in text:
        with contextlib.suppress(ValueError, LookupError, MessageError):  # encoded badly, in a set that nobody knows
            text = str(make_header(decode_header(text)))
    return _UNSHOWABLE.sub("\ufffd", text)


def _is_utf8(octets: bytes) -> bool:
    """Whether it is UTF-8 and more than ASCII."""
    if octets.isascii():
        return False
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
