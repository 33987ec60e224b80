"""A delivery status notification (RFC 3464): what the reverse-path of a mail is told of its recipients. Pure.

multipart/report in three parts (RFC 6522): a text for people, the fields for programs, and the mail's headers, or all
of it. Everything is ASCII but where the reverse-path itself is not: who has such an address can take UTF-8 (RFC 6533).
"""

import hashlib
import re
from binascii import b2a_base64, b2a_qp
from collections.abc import Sequence
from datetime import datetime
from email.utils import format_datetime
from typing import Literal

import msgspec

from services.scheduler.composed import Composed
from services.scheduler.dsn_words import advice_on
from services.scheduler.headers import address_line, date_line, message_id_line, text_line
from shared.addresses import Address, ascii_domain_of
from shared.contracts.words import MAX_MAIL_ID
from shared.settings import Identity
from shared.smtp_reply import Reply
from shared.xtext import utf8_xtext

Action = Literal["failed", "delayed"]

_WIDTH = 76
_LONGEST_WORD = 90  # characters: as escapes ten times as many octets, and RFC 5322 section 2.1.1 has lines of 998
_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[!-;=?-~]{1,250}>)\s*$", re.IGNORECASE | re.MULTILINE)
_REPORT = re.compile(
    rb"^content-type:\s*multipart/report\b(?:[^\r\n]|\r\n[ \t])*\breport-type\s*=\s*\"?delivery-status\b",
    re.IGNORECASE | re.MULTILINE,
)


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """The mail that is reported on."""

    id: str
    reverse_path: str  # not the null one
    subject: str
    admitted: datetime
    give_up: datetime
    header: bytes  # its lines with their ends; b"" where they are lost
    content: bytes = b""  # all of it, where the report may return it


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one recipient."""

    number: int  # of its row
    address: str
    verdict: Reply
    said: Reply | None  # what a receiver said last; None: none said anything
    host: str  # that said it: "mx1.example.net [192.0.2.1]:25"


class Names(msgspec.Struct, frozen=True):
    """Who reports."""

    reporting_mta: str
    postmaster: str  # From of the report


def names_of(identity: Identity, machine: str, reverse_path: str) -> Names:
    """Who reports to this reverse-path.

    From is at the HELO name where that is set, for it is the name that receivers hold us to; else at the domain of the
    reverse-path, for which we send anyway. `machine` is this one's name, which may be a container's and mean nothing.
    """
    helo = "" if identity.helo_name == "auto" or identity.helo_name.startswith("[") else identity.helo_name
    mta = identity.reporting_mta or helo
    domain = mta if "." in mta else ascii_domain_of(reverse_path)
    return Names(mta or machine, identity.postmaster or f"MAILER-DAEMON@{domain}")


def report_id(original: str, action: Action, fates: Sequence[Fate]) -> str:
    """The id of a report, the same whenever it is made: nobody gets it twice."""
    kind = "dsn" if action == "failed" else "delay"
    id = f"{kind}.{original}.{fates[0].number}"
    if len(id) <= MAX_MAIL_ID:
        return id
    return f"{kind}.{hashlib.sha256(original.encode()).hexdigest()}.{fates[0].number}"


def is_report(header: bytes) -> bool:
    """Whether a mail with this header is itself a report of failure (RFC 5321 section 4.5.4: none answers another)."""
    return _REPORT.search(header) is not None


def compose(original: Original, action: Action, fates: Sequence[Fate], names: Names, now: datetime) -> Composed:
    """The report on some recipients of a mail."""
    utf8 = not original.reverse_path.isascii()
    id = report_id(original.id, action, fates)
    parts = [
        _text_part(original, action, fates, names),
        _status_part(original, action, fates, names, now, utf8=utf8),
    ]
    if original.header:
        parts.append(_whole_part(original.content) or _header_part(original.header, utf8=utf8))
    # What is returned was written by others and may not end its part: nobody writes what holds its own digest.
    boundary = "=_" + hashlib.sha256(b"".join((id.encode(), *parts))).hexdigest()[:32]
    subject = ("Not delivered: " if action == "failed" else "Delayed: ") + (original.subject or "your mail")
    head = [
        date_line(now),
        address_line("From", [Address("Mail Delivery System", names.postmaster)]),
        address_line("To", [Address("", original.reverse_path)]),
        text_line("Subject", subject),
        message_id_line(id, ascii_domain_of(names.postmaster)),
        _references(original.header),
        "Auto-Submitted: auto-replied\r\n",  # RFC 3834 section 5
        "MIME-Version: 1.0\r\n",
        "Content-Type: multipart/report; report-type=delivery-status;\r\n",
        f' boundary="{boundary}"\r\n\r\n',
    ]
    opening = f"--{boundary}\r\n".encode()
    body = b"".join(opening + part for part in parts)
    return Composed(
        reverse_path="",
        recipients=(original.reverse_path,),
        content="".join(head).encode() + body + f"--{boundary}--\r\n".encode(),
        subject=subject[:200],
        smtputf8=utf8,
    )


def _references(header: bytes) -> str:
    """The report stands beside its mail in the sender's mailbox."""
    found = _MESSAGE_ID.search(header)
    return f"References: {found[1].decode()}\r\n" if found else ""


# ---------------------------------------------------------------------------------------------------------
# For people


def _text_part(original: Original, action: Action, fates: Sequence[Fate], names: Names) -> bytes:
    those = "the recipient below" if len(fates) == 1 else f"the {len(fates)} recipients below"
    if action == "failed":
        lines = [f"Your mail could not be delivered to {those}.", "It will not be tried again."]
    else:
        lines = [
            f"Your mail has not been delivered yet to {those}.",
            "You need not do anything. It will be tried again until",
            f"{_when(original.give_up)}.",
        ]
    lines += ["", *_folded("  Subject: ", original.subject or "(none)"), f"  Sent:    {_when(original.admitted)}"]
    for fate in fates:
        lines += ["", fate.address, *_explained(action, fate)]
    lines += [
        "",
        "Attached are the details for administrators and programs, and your mail or",
        "its headers. Nobody reads answers to this report, which was made by the mail",
        f"system {names.reporting_mta}.",
        "",
    ]
    text = "\r\n".join(lines)
    if text.isascii():
        return _part("text/plain; charset=us-ascii", "Notification", text.encode())
    return _part("text/plain; charset=utf-8", "Notification", b2a_qp(text.encode(), istext=True), "quoted-printable")


def _explained(action: Action, fate: Fate) -> list[str]:
    advice = advice_on(status_of(fate.verdict, action), action, said=fate.said is not None)
    lines = _folded("  What happened: ", advice.happened)
    if action == "failed":
        lines += _folded("  What to do:    ", advice.to_do)
    if fate.said is not None:
        lines += _folded(f"  The answer of {_host_name(fate.host) or 'the receiver'}: ", str(fate.said))
    else:
        lines += _folded("  In detail:     ", fate.verdict.text.replace("\n", " "))
    return lines


def _when(time: datetime) -> str:
    return f"{time:%A, %d %B %Y, %H:%M} UTC"


# ---------------------------------------------------------------------------------------------------------
# For programs


def status_of(verdict: Reply, action: Action) -> str:
    """The status code (RFC 3463) of a verdict: its own, or what its code says. What is delayed has one of class 4."""
    permanent = verdict.code // 100 == 5
    status = verdict.enhanced if verdict.enhanced[:2] in ("4.", "5.") else f"{5 if permanent else 4}.0.0"
    return f"4{status[1:]}" if action == "delayed" else status


def _status_part(
    original: Original, action: Action, fates: Sequence[Fate], names: Names, now: datetime, *, utf8: bool
) -> bytes:
    mta = names.reporting_mta
    # RFC 3464 section 2.2.2: a name that is not in DNS is of no type that others know.
    fields = [f"Reporting-MTA: {'dns' if '.' in mta else 'x-local-hostname'}; {mta}"]
    if original.id.isascii() and original.id.isprintable():
        fields.append(f"Original-Envelope-Id: {original.id}")
    fields.append(f"Arrival-Date: {format_datetime(original.admitted)}")
    for fate in fates:
        fields += ["", *_recipient_fields(original, action, fate, now, utf8=utf8)]
    text = "\r\n".join(fields) + "\r\n"
    if utf8:
        return _part("message/global-delivery-status", "Delivery report", text.encode(), "8bit")
    # RFC 3464 section 2.1: this type is in seven bits, and in no encoding.
    return _part("message/delivery-status", "Delivery report", text.encode("ascii", "backslashreplace"))


def _recipient_fields(original: Original, action: Action, fate: Fate, now: datetime, *, utf8: bool) -> list[str]:
    fields = [
        f"Final-Recipient: {_typed(fate.address, utf8=utf8)}",
        f"Action: {action}",
        f"Status: {status_of(fate.verdict, action)}",
    ]
    if fate.said is not None:
        if name := _host_name(fate.host):
            fields.append(f"Remote-MTA: dns; {name}")
        fields += _folded("Diagnostic-Code: smtp; ", str(fate.said), indent=" ")
    fields.append(f"Last-Attempt-Date: {format_datetime(now)}")
    if action == "delayed":
        fields.append(f"Will-Retry-Until: {format_datetime(original.give_up)}")
    return fields


def _typed(address: str, *, utf8: bool) -> str:
    if address.isascii():
        return f"rfc822; {address}"
    return f"utf-8; {address if utf8 else utf8_xtext(address)}"  # RFC 6533 section 3


def _host_name(host: str) -> str:
    """The name in "mx1.example.net [192.0.2.1]:25"; of a host that has none, its address in brackets."""
    name, _, rest = host.rpartition("[")
    address = rest.partition("]")[0]
    if name or not address:
        return name.strip()
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"  # RFC 5321 section 4.1.3


# ---------------------------------------------------------------------------------------------------------
# The mail itself


def _whole_part(content: bytes) -> bytes:
    """The mail as a part; b"" where it is not to be returned or may not be: message/rfc822 takes no encoding."""
    return _part("message/rfc822", "Undelivered mail", content) if content and content.isascii() else b""


def _header_part(header: bytes, *, utf8: bool) -> bytes:
    what = "Headers of the undelivered mail"
    if header.isascii():
        return _part("text/rfc822-headers", what, header)
    if not _is_utf8(header):  # RFC 6522 section 4: what is broken is encoded
        return _part("text/rfc822-headers", what, b2a_qp(header, istext=True), "quoted-printable")
    if utf8:
        return _part("message/global-headers", what, header, "8bit")
    encoded = b2a_base64(header, newline=False)
    lines = b"\r\n".join(encoded[start : start + _WIDTH] for start in range(0, len(encoded), _WIDTH))
    return _part("message/global-headers", what, lines + b"\r\n", "base64")


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


# ---------------------------------------------------------------------------------------------------------


def _part(kind: str, what: str, body: bytes, encoding: str = "7bit") -> bytes:
    """A part without its first boundary; the line end before the next one belongs to that (RFC 2046 section 5.1.1)."""
    head = f"Content-Type: {kind}\r\nContent-Description: {what}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + body + b"\r\n"


def _folded(label: str, text: str, indent: str = "    ") -> list[str]:
    """The text behind its label, in lines of 76 characters where its words allow; further ones are indented."""
    if len(label) + len(text) <= _WIDTH and text.isprintable():
        return [label + text]
    pieces = [
        word[start : start + _LONGEST_WORD] for word in text.split() for start in range(0, len(word), _LONGEST_WORD)
    ]
    lines, line, gap = [], label, ""
    for piece in pieces:
        if len(line) + len(gap) + len(piece) > _WIDTH and line.strip():
            lines.append(line.rstrip())
            line, gap = indent, ""
        line += gap + piece
        gap = " "
    return [*lines, line]
