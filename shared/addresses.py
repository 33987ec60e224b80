"""E-mail addresses: reading them from texts of people, and judging their syntax (RFC 5321 section 4.1.2, RFC 6531)."""

import inspect
import re
from collections.abc import Iterable
from email.utils import getaddresses
from functools import lru_cache
from typing import Any

import idna
import msgspec
from email_validator import EmailNotValidError, validate_email

# What needs no library's judgement: dot-atoms in ASCII. Checked before it because it is a hundred times quicker.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_LABEL}(?:\.{_LABEL})*)")
# And one behind a name of letters and digits: 3 µs instead of 15 in the library's parser, and the same result.
_NAMED = re.compile(rf"([A-Za-z0-9]+(?: [A-Za-z0-9]+)*) <({_PLAIN.pattern})>")
_NOT_IN_HEADERS = re.compile("[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")  # RFC 5322 section 2.2; CR and LF would inject
_MAX_LOCAL, _MAX_PATH = 64, 254  # octets, RFC 5321 sections 4.5.3.1.1 and 4.5.3.1.3
_MAX_TEXT = (
    400_000  # characters of one text: the parser takes up to 4 µs for each, and nobody else's turn comes meanwhile
)
# Newer Pythons refuse every text in which the count of commas surprises them, so "a@b," too; `_split` looks closer.
_LENIENT: dict[str, Any] = {"strict": False} if "strict" in inspect.signature(getaddresses).parameters else {}
_SHOWN = 80  # characters of a bad address that its refusal repeats: it may be megabytes


class Address(msgspec.Struct, frozen=True):
    """An address as a header has it."""

    name: str  # display name, "" for none
    spec: str  # local-part@domain, the domain in lower case and A-labels where the local part is ASCII


def refuse_control_characters(text: str) -> str:
    """The text itself. Raises ValueError where it could break out of its header line."""
    if found := _NOT_IN_HEADERS.search(text):
        raise ValueError(f"has the control character U+{ord(found.group()):04X}; takes one line of text")
    return text


def parse_addresses(value: str | Iterable[str]) -> list[Address]:
    """Read addresses, each with or without a display name, from one text with commas or from several.

    Raises ValueError that shows the part which is no address.
    """
    texts = [value] if isinstance(value, str) else list(value)
    found: list[Address] = []
    for text in texts:
        if len(text) > _MAX_TEXT:
            raise ValueError(f"has {len(text)} characters; takes at most {_MAX_TEXT} in one text")
        refuse_control_characters(text)
        if _PLAIN.fullmatch(text):
            found.append(Address("", check_spec(text)))
        elif named := _NAMED.fullmatch(text):
            found.append(Address(named.group(1), check_spec(named.group(2))))
        elif text.strip():
            found += [Address(name.strip(), check_spec(spec)) for name, spec in _split(text)]
    return found


@lru_cache(maxsize=20_000)
def check_spec(spec: str) -> str:
    """The address in its normal form. Raises ValueError when it is none, or would break out of `<>`."""
    plain = _PLAIN.fullmatch(spec)
    if plain and len(plain.group(1)) <= _MAX_LOCAL and len(spec) <= _MAX_PATH:
        return f"{plain.group(1)}@{plain.group(2).lower()}"
    try:
        judged = validate_email(
            spec,
            check_deliverability=False,
            allow_quoted_local=True,
            allow_smtputf8=True,
            allow_domain_literal=True,  # where mail to them goes is the resolver's business
            globally_deliverable=False,  # intranets have names of one label
            test_environment=True,  # .test is a domain like others to us
        )
    except EmailNotValidError as error:
        raise ValueError(f"{spec[:_SHOWN]!r} is no e-mail address: {str(error)[: 2 * _SHOWN]}") from error
    return judged.ascii_email or judged.normalized


def domain_of(spec: str) -> str:
    """The domain of a checked address."""
    return spec.rpartition("@")[2]


def ascii_domain_of(spec: str) -> str:
    """The domain of a checked address in A-labels (RFC 5891)."""
    domain = domain_of(spec)
    return domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")


def _split(text: str) -> list[tuple[str, str]]:
    try:
        pairs = getaddresses([text], **_LENIENT)
    except RecursionError:  # comments in comments
        pairs = []
    # The parser drops what it can not read; a dropped recipient would be lost mail. And it takes what follows an
    # address without a comma for another one: a name that nobody quoted could add recipients.
    if not pairs or any(not spec for _, spec in pairs) or len(pairs) > 1 + text.count(","):
        raise ValueError(f"{text[:_SHOWN]!r} is no e-mail address; takes name@domain or Name <name@domain>")
    return pairs
