"""A structured submission becomes a message, once; every attempt sends the same octets."""

import re
from datetime import datetime
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP
from typing import Any

from services.scheduler.composed import Composed
from services.scheduler.headers import address_line, date_line, message_id_line, text_line
from shared.addresses import Address, check_spec, domain_of, parse_addresses, refuse_control_characters
from shared.contracts import AddressList, Attachment, Submission
from shared.refusals import Invalid
from shared.settings import Identity

# Seven-bit bodies: every receiver takes them, and nothing on the way may change them.
_POLICY = SMTP.clone(cte_type="7bit")
_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322 section 3.6.8
_CONTENT_TYPE = re.compile(r"([A-Za-z0-9!#$&^_.+-]+)/([A-Za-z0-9!#$&^_.+-]+)")
_OWN_FIELDS = {
    "from": "from",
    "to": "to",
    "cc": "cc",
    "bcc": "bcc",
    "reply-to": "reply_to",
    "subject": "subject",
    "return-path": "return_path",
}
_MADE_HERE = {"mime-version", "content-type", "content-transfer-encoding", "received"}


def compose(submission: Submission, mail: str, identity: Identity, now: datetime) -> Composed:
    """Build the message of a submission. Raises Invalid, which names the field."""
    sender = _sender(submission)
    to, cc, bcc = (_addresses(name, getattr(submission, name)) for name in ("to", "cc", "bcc"))
    reply_to = _addresses("reply_to", submission.reply_to)
    if not reply_to and identity.reply_to:
        reply_to = parse_addresses(identity.reply_to)
    if not sender.name and identity.sender_name:
        sender = Address(identity.sender_name, sender.spec)
    head = [
        "" if _has(submission, "date") else date_line(now),
        address_line("From", [sender]),
        address_line("To", to) if to else "",
        address_line("Cc", cc) if cc else "",
        address_line("Reply-To", reply_to) if reply_to else "",
        _checked_line("subject", "Subject", submission.subject) if submission.subject else "",
        "" if _has(submission, "message-id") else message_id_line(mail, _ascii(domain_of(sender.spec))),
        *(_own_header(name, value) for name, value in submission.headers.items()),
        "" if to or cc else "To: undisclosed-recipients:;\r\n",
    ]
    written = "".join(head)
    return Composed(
        reverse_path=_reverse_path(submission, sender),
        recipients=tuple(dict.fromkeys(address.spec for address in (*to, *cc, *bcc))),
        content=written.encode() + _body(submission),
        subject=submission.subject[:200],
        smtputf8=not written.isascii(),
    )


def _sender(submission: Submission) -> Address:
    found = _addresses("from", submission.from_)
    if len(found) != 1:
        raise Invalid("from", f"has {len(found) or 'no'} addresses; takes exactly one")
    return found[0]


def _addresses(field: str, value: AddressList) -> list[Address]:
    found: list[Address] = []
    for index, text in enumerate([value] if isinstance(value, str) else value):
        where = field if isinstance(value, str) else f"{field}[{index}]"
        try:
            found += parse_addresses(text)
        except ValueError as error:
            raise Invalid(where, str(error)) from error
    return found


def _reverse_path(submission: Submission, sender: Address) -> str:
    if submission.return_path is None:
        return sender.spec
    if submission.return_path in ("", "<>"):
        return ""
    try:
        return check_spec(submission.return_path)
    except ValueError as error:
        raise Invalid("return_path", str(error)) from error


def _has(submission: Submission, header: str) -> bool:
    return any(name.lower() == header for name in submission.headers)


def _own_header(name: str, value: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise Invalid(f'headers."{name[:80]}"', "is no header name; takes printable ASCII without a colon or a space")
    if field := _OWN_FIELDS.get(name.lower()):
        raise Invalid(f'headers."{name}"', f"has a field of its own: `{field}`")
    if name.lower() in _MADE_HERE:
        raise Invalid(f'headers."{name}"', "is made here, from the parts of the mail")
    return _checked_line(f'headers."{name}"', name, value)


def _checked_line(field: str, name: str, value: str) -> str:
    try:
        return text_line(name, refuse_control_characters(value))
    except ValueError as error:
        raise Invalid(field, str(error)) from error


def _body(submission: Submission) -> bytes:
    message = EmailMessage(_POLICY)
    inline = [part for part in submission.attachments if part.content_id]
    attached = [part for part in submission.attachments if not part.content_id]
    if submission.html is None:
        message.set_content(submission.text or "", cte=_encoding(submission.text or ""))
    elif submission.text is None:
        message.set_content(submission.html, subtype="html", cte=_encoding(submission.html))
    else:
        message.set_content(submission.text, cte=_encoding(submission.text))
        message.add_alternative(submission.html, subtype="html", cte=_encoding(submission.html))
    for index, part in enumerate(inline):
        _add(_html_part(message), part, f"attachments[{index}]", inline=True)
    for index, part in enumerate(attached):
        _add(message, part, f"attachments[{index}]", inline=False)
    return message.as_bytes()


def _html_part(message: EmailMessage) -> MIMEPart:
    body = message.get_body(("related", "html", "plain"))
    return message if body is None else body


def _add(message: MIMEPart, part: Attachment, field: str, *, inline: bool) -> None:
    kind = _CONTENT_TYPE.fullmatch(part.content_type)
    if kind is None or kind.group(1).lower() in ("multipart", "message"):
        raise Invalid(f"{field}.content_type", f"got {part.content_type[:80]!r}; takes a type such as application/pdf")
    try:
        refuse_control_characters(part.filename)
        refuse_control_characters(part.content_id or "")
    except ValueError as error:
        raise Invalid(field, str(error)) from error
    options: dict[str, Any] = {"maintype": kind.group(1), "subtype": kind.group(2), "filename": part.filename}
    if inline and part.content_id:
        message.add_related(part.content, cid=f"<{part.content_id.strip('<>')}>", disposition="inline", **options)
    else:
        message.add_attachment(part.content, **options)


def _encoding(text: str) -> str:
    """Seven bits where that is all there is, else whichever of the two encodings is shorter."""
    if text.isascii() and max(map(len, text.splitlines()), default=0) <= 900:
        return "7bit"
    beyond = sum(1 for character in text if not character.isascii())
    return "base64" if beyond * 3 > len(text) else "quoted-printable"


def _ascii(domain: str) -> str:
    return domain if domain.isascii() else domain.encode("idna").decode()
