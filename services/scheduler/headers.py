"""Header lines as they go over the wire (RFC 5322, RFC 2047)."""

import re
from datetime import datetime
from email.header import Header
from email.utils import format_datetime
from functools import lru_cache

from shared.addresses import Address

_WIDTH = 76  # RFC 2047 section 2; without encoded words RFC 5322 section 2.1.1 would allow two more
_MAX_LINE = 998  # octets without CRLF, RFC 5322 section 2.1.1
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_ID_SAFE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")


def text_line(name: str, value: str) -> str:
    """A header of free text. ASCII is folded at spaces only, so that long tokens stay whole; the rest is encoded.

    Raises ValueError where a line would be too long for SMTP.
    """
    return _fold(name, value.split(" ") if value.isascii() else _encoded_words(value, name))


def address_line(name: str, addresses: list[Address]) -> str:
    """A header of addresses. Raises ValueError where a line would be too long for SMTP."""
    words: list[str] = []
    for address in addresses:
        words += _phrase(address.name, "" if words else name)
        words.append(f"<{address.spec}>," if address.name else f"{address.spec},")
    return _fold(name, [*words[:-1], words[-1].removesuffix(",")])


def _phrase(name: str, header: str) -> list[str]:
    """The words of a display name: quoted where it has specials, encoded where it is not ASCII."""
    if not name:
        return []
    if not name.isascii():
        return _encoded_words(name, header)
    if not _ATOMS.fullmatch(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return name.split(" ")


def _encoded_words(text: str, header: str) -> list[str]:
    """Encoded words of at most 75 characters (RFC 2047 section 2), the first one with room for the header's name."""
    words = Header(text, "utf-8", maxlinelen=75, header_name=header or None).encode(linesep="").split(" ")
    return [word for word in words if word]  # beside a very long name there is room for none


@lru_cache(maxsize=4)
def _written(now: datetime) -> str:
    """All mails of a batch are admitted at the same time."""
    return format_datetime(now)


def date_line(now: datetime) -> str:
    """Date of now (RFC 5322 section 3.3)."""
    return f"Date: {_written(now)}\r\n"


def message_id_line(mail: str, domain: str) -> str:
    """Message-ID made from the mail's id, so that it is the same at every attempt."""
    return f"Message-ID: <{id_token(mail)}@{domain}>\r\n"


def received_line(mail: str, host: str, now: datetime) -> str:
    """The trace header of a finished mail that passes through us (RFC 5321 section 4.4)."""
    return f"Received: by {host} (Pillarbox) with AMQP id {id_token(mail)};\r\n {_written(now)}\r\n"


def id_token(mail: str) -> str:
    """The mail's id as a dot-atom; what does not fit in one is written in hexadecimal."""
    if _ID_SAFE.fullmatch(mail) and not mail.startswith(".") and not mail.endswith(".") and ".." not in mail:
        return mail
    return mail.encode().hex()


def _fold(name: str, words: list[str]) -> str:
    whole = " ".join([f"{name}:", *words])
    if len(whole) <= _WIDTH:
        return f"{whole}\r\n"
    lines, line, length = [], [f"{name}:"], len(name) + 1
    for word in words:
        # Never fold before the first word: some readers take an empty first line for an empty header.
        if length + 1 + len(word) > _WIDTH and len(line) > 1 and word:
            lines.append(" ".join(line))
            line, length = [""], 0
        line.append(word)
        length += 1 + len(word)
    lines.append(" ".join(line))
    if max(map(len, lines)) > _MAX_LINE:
        raise ValueError(f"has a word of over {_MAX_LINE} characters, for which no line is long enough")
    return "\r\n".join(lines) + "\r\n"
