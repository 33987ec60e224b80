"""What the gateway reads of a message's headers, and takes out of them. Pure.

The scheduler judges the whole message; what a client can be told at once, because the rules are shared, is judged here.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from email.errors import MessageError
from email.header import decode_header, make_header
from functools import lru_cache
from typing import Any

import msgspec

from shared.addresses import Address, parse_addresses
from shared.limits import MAX_HEAD, check_head
from shared.line_ends import has_crlf_alone
from shared.refusals import Invalid
from shared.tracing import context_headers
from shared.wishes import check_batch, check_send_at, read_wishes

_PREFIX = "X-Pillarbox-"
# Header and AMQP header (docs/contract.md).
_OURS = {f"{_PREFIX}{name}": name.lower().replace("-", "_") for name in ("Hold", "Send-At", "Batch", "Priority")}
_TRACE = ("traceparent", "tracestate")
# Characters of a value in encoded words: more than the longest batch needs. Decoding a megabyte of what only looks
# like them takes seconds.
_MOST_ENCODED = 4096
_FIELD = re.compile(
    rb"^(x-pillarbox-[^:\s]*+|from|sender|traceparent|tracestate)[ \t]*+:([^\r]*+(?:\r\n[ \t][^\r]*+)*+)\r\n",
    re.I | re.M,
)


class Letter(msgspec.Struct, frozen=True):
    """A message, and what its headers say."""

    content: bytes  # without our own headers
    wishes: dict[str, Any]  # AMQP headers; the trace that it belongs to is among them
    authors: tuple[Address, ...]  # of From, and of Sender if it has one


def read_letter(content: bytes, now: datetime) -> Letter:
    """Judge a message and take our own headers out. Raises Invalid, which names the header and says what it takes."""
    if not has_crlf_alone(content):
        raise Invalid("content", "has a bare CR or LF; takes lines that end in CRLF (RFC 5321)")
    if b"\0" in content:
        raise Invalid("content", "has a NUL octet; encode the part in base64")
    end = _end_of_head(content)
    head = content[:end]
    fields = list(_fields(head))
    wishes = {**_wishes(fields, now), **context_headers(fields)}
    kept = _FIELD.sub(_without_ours, head) if any(_is_ours(name) for name, _ in fields) else head
    return Letter(kept + content[end:], wishes, _authors(fields))


def _end_of_head(content: bytes) -> int:
    if content.startswith(b"\r\n"):
        return 0
    end = content.find(b"\r\n\r\n", 0, MAX_HEAD + 4)
    if end < 0:
        check_head(len(content))
        return len(content)
    return end + 2


def _wishes(fields: Sequence[tuple[str, str]], now: datetime) -> dict[str, Any]:
    said: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name, value in fields:
        if not name.startswith(_PREFIX.lower()):
            continue
        known = next((ours for ours in _OURS if ours.lower() == name), None)
        if known is None:
            raise Invalid(_spelt(name), _no_such_header(name))
        if _OURS[known] in said:
            raise Invalid(known, "stands twice; takes it once")
        said[_OURS[known]], names[_OURS[known]] = value, known
    try:
        wishes = read_wishes(said)
        check_batch(wishes.batch)
        if wishes.send_at is not None:
            check_send_at(wishes.send_at, now)
    except Invalid as refused:
        raise Invalid(names.get(refused.field, refused.field), refused.reason) from refused
    return said


def _authors(fields: Sequence[tuple[str, str]]) -> tuple[Address, ...]:
    found: dict[str, list[str]] = {"from": [], "sender": []}
    for name, value in fields:
        if name in found:
            found[name].append(value)
    if len(found["from"]) != 1:
        raise Invalid(
            "From", f"the message has {len(found['from']) or 'no'} From headers; takes exactly one (RFC 5322)"
        )
    authors = _addresses("From", found["from"][0])
    if not authors:
        raise Invalid("From", "is empty; takes an e-mail address")
    return authors + tuple(one for value in found["sender"] for one in _addresses("Sender", value))


@lru_cache(maxsize=1000)
def _addresses(name: str, value: str) -> tuple[Address, ...]:
    """Who writes to many is read once."""
    try:
        return tuple(parse_addresses(value.replace("\t", " ")))
    except ValueError as error:
        raise Invalid(name, str(error)) from error


def _fields(head: bytes) -> Iterator[tuple[str, str]]:
    """The headers that matter here: names in lower case, values unfolded, and decoded where they are ours."""
    for found in _FIELD.finditer(head):
        name = _name(found)
        value = found.group(2).decode("utf-8", "replace").replace("\r\n", "").strip()
        yield name, _decoded(value) if _is_ours(name) else value


def _without_ours(found: re.Match[bytes]) -> bytes:
    return b"" if _is_ours(_name(found)) else found.group()


def _name(found: re.Match[bytes]) -> str:
    return found.group(1).decode("ascii", "replace").lower()


def _is_ours(name: str) -> bool:
    return name in _TRACE or name.startswith(_PREFIX.lower())


def _decoded(text: str) -> str:
    """Programs encode what is not ASCII, in a header as well, and long words (RFC 2047)."""
    if "=?" not in text or len(text) > _MOST_ENCODED:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (ValueError, LookupError, MessageError):
        return text


def _spelt(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


def _no_such_header(name: str) -> str:
    ends = [ours.removeprefix(_PREFIX) for ours in _OURS]  # the beginning is alike
    near = difflib.get_close_matches(_spelt(name).removeprefix(_PREFIX), ends, n=1)
    hint = f"did you mean {_PREFIX}{near[0]}?" if near else f"known are {', '.join(_OURS)}"
    return f"there is no such header; {hint}"
