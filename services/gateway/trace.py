"""The line that says by which way a mail came in (RFC 5321 section 4.4). Pure."""

import re
from datetime import datetime
from email.utils import format_datetime

import msgspec

from services.gateway.crowd import plain_address

_HELO = re.compile(r"[A-Za-z0-9.:_\[\]-]{1,255}")


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """How a client was connected when it sent a mail."""

    helo: str
    address: str
    extended: bool  # it said EHLO
    tls: bool
    signed_in: bool
    smtputf8: bool


def received_line(passage: Passage, name: str, mail: str, now: datetime) -> bytes:
    """The Received header. What a client calls itself is repeated only where it could be a name."""
    helo = passage.helo if _HELO.fullmatch(passage.helo) else "unknown"
    address = plain_address(passage.address)
    literal = f"IPv6:{address}" if address.version == 6 else str(address)
    line = (
        f"Received: from {helo} ([{literal}])\r\n"
        f" by {name} (Pillarbox) with {protocol(passage)} id {mail};\r\n"
        f" {format_datetime(now)}\r\n"
    )
    return line.encode("ascii")


def protocol(passage: Passage) -> str:
    """The keyword of the transmission type (RFC 3848, RFC 6531 section 4.3)."""
    if not passage.extended:
        return "SMTP"
    kind = "UTF8SMTP" if passage.smtputf8 else "ESMTP"
    return kind + "S" * passage.tls + "A" * passage.signed_in
