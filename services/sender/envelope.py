"""A mail's envelope → the commands that state it, or the verdict that this server can not have it. Pure."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import idna
import msgspec

from services.sender.extensions import Extensions
from services.sender.notification import of_mail, of_recipient
from shared.smtp_reply import Reply, own_verdict

_NEEDS_SMTPUTF8 = "needs SMTPUTF8, the server does not offer it (RFC 6531)"
MAX_PATH = 254  # octets between the brackets, RFC 5321 section 4.5.3.1.3; so without DSN no command comes to 512


def _surely() -> bool:
    return True


class OutgoingMail(msgspec.Struct, frozen=True):
    """One copy of a mail for recipients of one site."""

    reverse_path: str  # "" is the null reverse-path
    recipients: tuple[str, ...]
    content: bytes  # CRLF line ends; not dot-stuffed
    eight_bit: bool  # the content has octets above 127
    smtputf8: bool  # an address or a header is not ASCII
    key: Any = None  # the caller's own reference, untouched
    id: str = ""  # the mail's, for reports about it
    notify: str = ""  # of which outcomes the receiver is to tell the reverse-path; "" leaves it to the receiver
    ret: str = ""  # what such a report returns; "" as well
    is_ours: Callable[[], bool] = _surely  # still: where it is not, nothing more of it is sent


class Commands(msgspec.Struct):
    """How a mail is announced to one server. Every recipient is in one of the two."""

    mail: str  # the MAIL command
    recipients: list[tuple[int, str]]  # index of the recipient, its RCPT command
    refused: list[tuple[int, Reply]]  # index of the recipient, why it can not be named to this server


class BadAddress(ValueError):
    """An address that has no place between angle brackets, and why."""


def announce(mail: OutgoingMail, offered: Extensions) -> Commands | Reply:
    """The commands for a mail, or a verdict on all of its recipients, which is permanent."""
    try:
        sender = spell(mail.reverse_path) if mail.reverse_path else ""
    except BadAddress as error:
        return own_verdict(553, "5.1.7", f"the sender's address {error}")
    size = len(mail.content)
    if offered.size and size > offered.size:
        return own_verdict(552, "5.3.4", f"the mail has {size} octets, the server takes {offered.size}")
    if mail.eight_bit and not offered.eight_bit:
        return own_verdict(554, "5.6.3", "the mail has 8-bit content, the server offers no 8BITMIME (RFC 6152)")
    utf8 = not sender.isascii() or (mail.smtputf8 and not _header(mail.content).isascii())
    if utf8 and not offered.smtputf8:
        return own_verdict(553, "5.6.7", f"the mail {_NEEDS_SMTPUTF8}")
    recipients: list[tuple[int, str]] = []
    refused: list[tuple[int, Reply]] = []
    for index, address in enumerate(mail.recipients):
        command = _name(address, mail.notify, offered)
        if isinstance(command, Reply):
            refused.append((index, command))
        else:
            recipients.append((index, command))
            utf8 = utf8 or not command.isascii()
    return Commands(_mail_command(mail, sender, utf8, offered), recipients, refused)


def _mail_command(mail: OutgoingMail, sender: str, utf8: bool, offered: Extensions) -> str:
    command = f"MAIL FROM:<{sender}>" if offered.size is None else f"MAIL FROM:<{sender}> SIZE={len(mail.content)}"
    if mail.eight_bit:
        command += " BODY=8BITMIME"
    if offered.dsn and sender:  # about a mail from the null reverse-path there is nobody to tell
        command += of_mail(mail.id, mail.ret)
    return command + (" SMTPUTF8\r\n" if utf8 else "\r\n")


def _name(address: str, notify: str, offered: Extensions) -> str | Reply:
    """The command that names a recipient, or why this server can not be told of it."""
    try:
        path = spell(address)
    except BadAddress as error:
        return own_verdict(553, "5.1.3", f"the address {error}")
    if path.isascii() or offered.smtputf8:
        return f"RCPT TO:<{path}>{of_recipient(address, notify)}\r\n" if offered.dsn else f"RCPT TO:<{path}>\r\n"
    return own_verdict(553, "5.6.7", f"the address {_NEEDS_SMTPUTF8}")


def _header(content: bytes) -> bytes:
    return content.partition(b"\r\n\r\n")[0]


# ---------------------------------------------------------------------------------------------------------

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"  # RFC 5322 section 3.2.3
_LABELS = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_LITERAL = r"\[(?:[0-9.]+|[Ii][Pp][Vv]6:[0-9A-Fa-f:.]+)\]"  # RFC 5321 section 4.1.3
_DOT_STRING = rf"{_ATEXT}(?:\.{_ATEXT})*"
_PLAIN = re.compile(rf"{_DOT_STRING}@{_LABELS}")
_DOMAIN = re.compile(rf"{_LABELS}|{_LITERAL}")
_DOT_STRING_UTF8 = re.compile(_DOT_STRING.replace("~-", "~\x80-\U0010ffff-"))
_UNQUOTED = re.compile(_ATEXT.replace("~-", "~.\x80-\U0010ffff-"))
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


def spell(address: str) -> str:
    """An address as it goes between the brackets: the least quoting that keeps its meaning, the domain in A-labels.

    What comes back not ASCII needs SMTPUTF8. Raises BadAddress for what would break out of the brackets, and for
    what is no address (RFC 5321 section 4.1.2).
    """
    if _PLAIN.fullmatch(address) and len(address) <= MAX_PATH:
        return address
    return _spell(address)


@lru_cache(maxsize=4096)
def _spell(address: str) -> str:
    local, at, domain = address.rpartition("@")
    if not at:
        raise BadAddress("has no domain")
    path = f"{_local_part(local)}@{_domain(domain)}"
    if len(path.encode("utf-8", "replace")) > MAX_PATH:
        raise BadAddress(f"is longer than {MAX_PATH} octets")
    return path


def _local_part(local: str) -> str:
    quoted = _QUOTED.fullmatch(local)
    if quoted is None and not _UNQUOTED.fullmatch(local):
        raise BadAddress("has characters in its local part that must be quoted")
    text = local if quoted is None else re.sub(r"\\(.)", r"\1", quoted.group(1))
    if not text.isprintable():
        raise BadAddress("has control characters")
    if _DOT_STRING_UTF8.fullmatch(text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _domain(domain: str) -> str:
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except UnicodeError as error:  # IDNAError is one
            raise BadAddress("has a domain that can not be written in A-labels (RFC 5891)") from error
    if not _DOMAIN.fullmatch(domain):
        raise BadAddress("has a domain that is none")
    return domain
