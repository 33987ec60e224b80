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

from services.scheduler.composed import Composed
from services.scheduler.finished_head import Head, check_size, split, value
from services.scheduler.header_rules import check_octets, check_single, unsubscribe_lines
from services.scheduler.headers import address_line, date_line, message_id_line, received_line
from services.scheduler.long_lines import shorten
from shared.addresses import Address, ascii_domain_of, check_spec, parse_addresses
from shared.limits import MAX_HEAD
from shared.line_ends import has_crlf_alone
from shared.refusals import Invalid
from shared.settings import Identity

_BARE = re.compile(rb"\r\n|\r|\n")
_LINE_ENDS = {b"\r\n": "CRLF", b"\r": "a bare CR", b"\n": "a bare LF"}
_EMPTY_GROUP = re.compile(r"[^<>@,]*:\s*;")  # undisclosed-recipients:;
_HIDDEN = frozenset(("bcc", "resent-bcc"))
_UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_LOOP = 100  # Received headers, RFC 5321 section 6.3


def take_finished(body: bytes, headers: Mapping[str, Any], mail: str, identity: Identity, now: datetime) -> Composed:
    """Check a finished message and complete it. Raises Invalid, which names the header or the AMQP header."""
    body = _with_crlf(body)
    check_size(body)
    head, rest = split(shorten(body))
    check_single(head.names)
    check_octets(head.octets, head.names, head.fields)
    authors = _from(head)
    reverse_path = _reverse_path(head, headers.get("mail-from"))
    recipients = _recipients(head, headers.get("rcpt-to"))
    if head.names.count("received") >= _LOOP:
        raise Invalid("Received", f"5.4.6: the message has passed {_LOOP} hosts and more, it goes in a circle")
    kept = _kept(head, authors, identity)
    received = received_line(mail, _host(identity), now).encode()
    added = _missing(head, authors[0], mail, identity, now) + _unsubscribe(head, headers.get("unsubscribe_url"))
    written = received + kept + added
    return Composed(
        reverse_path=reverse_path,
        recipients=recipients,
        content=b"".join((written, b"\r\n", rest)),
        subject=_decoded(value(head.first("subject") or b"")[:2000])[:200],
        smtputf8=_is_utf8(written) or not "".join((reverse_path, *recipients)).isascii(),
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


def _from(head: Head) -> tuple[Address, ...]:
    count = head.names.count("from")
    if count != 1:
        raise Invalid("From", f"the message has {count or 'no'} From headers; takes exactly one (RFC 5322)")
    addresses = _authors(head.fields[head.names.index("from")])
    if not addresses:
        raise Invalid("From", "is empty; takes an e-mail address")
    return addresses


@lru_cache(maxsize=1000)
def _authors(field: bytes) -> tuple[Address, ...]:
    """Who writes to many is read once."""
    return tuple(_addresses("From", field))


def _reverse_path(head: Head, given: Any) -> str:
    if given is None:
        name = "sender" if "sender" in head.names else "from"
        addresses = _addresses(name.title(), head.fields[head.names.index(name)])
        if not addresses:
            raise Invalid(name.title(), "is empty; takes an e-mail address")
        return addresses[0].spec
    if not isinstance(given, str):
        raise Invalid("mail-from", f"got {type(given).__name__}; takes an address, or an empty text for the null one")
    text = _bare(given)
    return _checked("mail-from", text) if text else ""


def _recipients(head: Head, given: Any) -> tuple[str, ...]:
    if given is None:
        named = [each for each in zip(head.names, head.fields, strict=True) if each[0] in ("to", "cc", "bcc")]
        found = [address.spec for name, field in named for address in _addresses(name.title(), field)]
        return tuple(dict.fromkeys(found))
    if isinstance(given, str):
        texts = given.split(",")
    elif isinstance(given, list) and all(isinstance(text, str) for text in given):
        texts = given
    else:
        raise Invalid("rcpt-to", f"got {type(given).__name__}; takes addresses, in a list or separated by commas")
    return tuple(dict.fromkeys([_checked("rcpt-to", text) for text in map(_bare, texts) if text]))


def _bare(path: str) -> str:
    return path.strip().removeprefix("<").removesuffix(">")


def _checked(field: str, text: str) -> str:
    try:
        return check_spec(text)
    except ValueError as error:
        raise Invalid(field, str(error)) from error


def _addresses(name: str, field: bytes) -> list[Address]:
    text = value(field)
    if _EMPTY_GROUP.fullmatch(text):
        return []
    try:
        return parse_addresses(text.replace("\t", " "))
    except ValueError as error:
        raise Invalid(name, str(error)) from error


def _kept(head: Head, authors: tuple[Address, ...], identity: Identity) -> bytes:
    """The headers as they came, but what readers may not see, and From where the sender has its name from us."""
    renamed = identity.sender_name and len(authors) == 1 and not authors[0].name
    if not renamed and _HIDDEN.isdisjoint(head.names):
        return head.octets
    kept = [each for each in zip(head.names, head.fields, strict=True) if each[0] not in _HIDDEN]
    author = address_line("From", [Address(identity.sender_name, authors[0].spec)]).encode() if renamed else b""
    return b"".join([author if renamed and name == "from" else field for name, field in kept])


def _missing(head: Head, sender: Address, mail: str, identity: Identity, now: datetime) -> bytes:
    added = ""
    if "date" not in head.names:
        added += date_line(now)
    if "message-id" not in head.names:
        added += message_id_line(mail, ascii_domain_of(sender.spec))
    if identity.reply_to and "reply-to" not in head.names:
        added += address_line("Reply-To", parse_addresses(identity.reply_to))
    return added.encode()


def _unsubscribe(head: Head, url: Any) -> bytes:
    if url is None:
        return b""
    if not isinstance(url, str):
        raise Invalid("unsubscribe_url", f"got {type(url).__name__}; takes an https address")
    return unsubscribe_lines(url, head.names).encode()


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
    return text if text.isprintable() else _UNSHOWABLE.sub("\ufffd", text)


def _is_utf8(octets: bytes) -> bool:
    """Whether it is UTF-8 and more than ASCII."""
    if octets.isascii():
        return False
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
