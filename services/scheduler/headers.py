"""Header lines as they go over the wire (RFC 5322, RFC 2047)."""

import re
from datetime import datetime
from email.header import Header
from email.utils import format_datetime

from shared.addresses import Address

_WIDTH = 78  # RFC 5322 section 2.1.1
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_ID_SAFE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")


def text_line(name: str, value: str) -> str:
    """A header of free text. ASCII is folded at spaces only, so that long tokens stay whole; the rest is encoded."""
    if value.isascii():
        return _fold(name, value.split(" "))
    return f"{name}: {Header(value, 'utf-8', maxlinelen=75, header_name=name).encode(linesep=chr(13) + chr(10))}\r\n"


def address_line(name: str, addresses: list[Address]) -> str:
    """A header of addresses."""
    words = [address_text(address) for address in addresses]
    return _fold(name, [f"{word}," for word in words[:-1]] + words[-1:])


def address_text(address: Address) -> str:
    """One address with its display name: quoted where it has specials, encoded where it is not ASCII."""
    if not address.name:
        return address.spec
    if not address.name.isascii():
        encoded = Header(address.name, "utf-8", maxlinelen=75).encode(linesep="\r\n")
        return f"{encoded} <{address.spec}>"
    if _ATOMS.fullmatch(address.name):
        return f"{address.name} <{address.spec}>"
    quoted = address.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{address.spec}>'


def date_line(now: datetime) -> str:
    """Date of now (RFC 5322 section 3.3)."""
    return f"Date: {format_datetime(now)}\r\n"


def message_id_line(mail: str, domain: str) -> str:
    """Message-ID made from the mail's id, so that it is the same at every attempt."""
    return f"Message-ID: <{id_token(mail)}@{domain}>\r\n"


def received_line(mail: str, host: str, now: datetime) -> str:
    """The trace header of a finished mail that passes through us (RFC 5321 section 4.4)."""
    return f"Received: by {host} (Pillarbox) with AMQP id {id_token(mail)};\r\n {format_datetime(now)}\r\n"


def id_token(mail: str) -> str:
    """The mail's id as a dot-atom; what does not fit in one is written in hexadecimal."""
    if _ID_SAFE.fullmatch(mail) and not mail.startswith(".") and not mail.endswith(".") and ".." not in mail:
        return mail
    return mail.encode().hex()


def _fold(name: str, words: list[str]) -> str:
    lines, line = [], f"{name}:"
    for word in words:
        # Never fold before the first word: some readers take an empty first line for an empty header.
        if len(line) + 1 + len(word) > _WIDTH and line != f"{name}:" and word:
            lines.append(line)
            line = ""
        line = f"{line} {word}"
    return "\r\n".join([*lines, line]) + "\r\n"
