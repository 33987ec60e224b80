"""DKIM signatures over stored content (RFC 6376, RFC 8463): relaxed/relaxed, without a length. Pure.

What is signed is what goes over the wire: the content is not touched between here and there but for dots doubled.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from shared.addresses import ascii_domain_of, parse_addresses
from shared.dkim_key import SigningKey

# Named once more than they occur, so that nobody can add one without breaking the signature (RFC 6376 section 8.15).
_SEALED = (
    "From", "To", "Cc", "Subject", "Date", "Reply-To", "Message-ID", "MIME-Version", "Content-Type",
    "Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post",
)  # fmt: skip
# Signed as they are; lists and forwarders may add such (RFC 6376 section 5.4.1).
_SIGNED = (
    "Sender", "In-Reply-To", "References", "Resent-Date", "Resent-From", "Resent-To", "Resent-Cc", "List-ID",
    "List-Help", "List-Subscribe", "List-Post", "List-Owner", "List-Archive", "Feedback-ID",
)  # fmt: skip
_WIDTH = 76
_FIELD = re.compile(rb"([^\r\n:]+):((?:[^\r]|\r\n[ \t]|\r(?!\n))*)")
_BLANKS = re.compile(rb"[ \t]+")
_FROM = re.compile(rb"^from[ \t]*:((?:[^\r]|\r\n[ \t])*)", re.IGNORECASE | re.MULTILINE)


class Signer(msgspec.Struct, frozen=True):
    """One key of a domain."""

    domain: str
    selector: str
    key: SigningKey


def author_domain(content: bytes) -> str:
    """The domain of the (first) author in From, in A-labels; "" where there is none."""
    found = _FROM.search(content, 0, _end_of_head(content))
    return _domain_of(found.group(1)) if found else ""


def sign(content: bytes, signers: Sequence[Signer], at: int) -> bytes:
    """The content behind one DKIM-Signature header for each signer; `at` is the time in seconds since 1970."""
    split = _end_of_head(content)
    fields = _fields(content[:split])
    names = _names(fields)
    signed = _canonical_fields(fields, names)
    body_hash = base64.b64encode(hashlib.sha256(canonical_body(content[split + 2 :])).digest()).decode()
    headers = [_signature(signer, names, signed, body_hash, at) for signer in signers]
    return b"".join([*headers, content])


def canonical_body(body: bytes) -> bytes:
    """The body in relaxed form (RFC 6376 section 3.4.4). Attachments in base64 have no blanks: looking is cheap."""
    if b"\t" in body:
        body = body.replace(b"\t", b" ")
    while b"  " in body:
        body = body.replace(b"  ", b" ")
    if b" \r\n" in body:
        body = body.replace(b" \r\n", b"\r\n")
    body = body.removesuffix(b" ") if body.endswith(b" ") else body
    stripped = body.rstrip(b"\r\n")
    return stripped + b"\r\n" if stripped else b""


def canonical_field(name: bytes, value: bytes) -> bytes:
    """A header in relaxed form, without its line end (RFC 6376 section 3.4.2)."""
    return name.strip().lower() + b":" + _BLANKS.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")


# ---------------------------------------------------------------------------------------------------------


def _end_of_head(content: bytes) -> int:
    """Where the last header has its line end's end."""
    found = content.find(b"\r\n\r\n")
    return len(content) if found < 0 else found + 2


def _fields(head: bytes) -> dict[str, list[bytes]]:
    """Headers in relaxed form, by name in lower case."""
    fields: dict[str, list[bytes]] = {}
    for match in _FIELD.finditer(head):
        name = match.group(1).strip().decode("latin-1").lower()
        if name in _WANTED:
            fields.setdefault(name, []).append(canonical_field(match.group(1), match.group(2)))
    return fields


_WANTED = frozenset(name.lower() for name in _SEALED + _SIGNED)


def _names(fields: dict[str, list[bytes]]) -> list[str]:
    """What the tag `h=` lists."""
    sealed = [name for name in _SEALED for _ in range(len(fields.get(name.lower(), ())) + 1)]
    return sealed + [name for name in _SIGNED for _ in fields.get(name.lower(), ())]


def _canonical_fields(fields: dict[str, list[bytes]], names: Sequence[str]) -> bytes:
    """The headers named, of equal ones the lowest first (RFC 6376 section 5.4.2); one that is not there is nothing."""
    left = {name: list(values) for name, values in fields.items()}
    lines = [left[name.lower()].pop() for name in names if left.get(name.lower())]
    return b"".join(line + b"\r\n" for line in lines)


def _signature(signer: Signer, names: Sequence[str], signed: bytes, body_hash: str, at: int) -> bytes:
    value = (
        f" v=1; a={signer.key.algorithm}; c=relaxed/relaxed;\r\n d={signer.domain};\r\n s={signer.selector}; t={at};"
        f"\r\n{_listed(tuple(names))}\r\n bh={body_hash};\r\n b="
    ).encode()
    signature = signer.key.sign(signed + canonical_field(b"dkim-signature", value))
    return b"DKIM-Signature:" + value + _folded(base64.b64encode(signature)) + b"\r\n"


@lru_cache(maxsize=256)
def _listed(names: tuple[str, ...]) -> str:
    """The tag `h=`, folded between names."""
    lines, line = [], " h="
    for index, name in enumerate(names):
        piece = f"{name};" if index == len(names) - 1 else f"{name}:"
        if len(line) + len(piece) > _WIDTH:
            lines.append(line)
            line = "  "
        line += piece
    return "\r\n".join([*lines, line])


def _folded(text: bytes) -> bytes:
    room = _WIDTH - 3
    return b"\r\n  ".join(text[start : start + room] for start in range(0, len(text), room))


@lru_cache(maxsize=4096)
def _domain_of(value: bytes) -> str:
    text = value.decode("utf-8", "replace").replace("\r\n", "").replace("\t", " ").strip()
    try:
        authors = parse_addresses(text)
        return ascii_domain_of(authors[0].spec).lower() if authors else ""
    except ValueError:  # a domain that has no A-labels too
        return ""
