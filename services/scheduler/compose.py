"""A structured submission becomes a message, once; every attempt sends the same octets."""

import re
from datetime import datetime
from email.headerregistry import HeaderRegistry, MessageIDHeader
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP
from typing import Any

from services.scheduler.composed import Composed
from services.scheduler.header_rules import ADDRESS_HEADERS, check_encodable, check_single, unsubscribe_lines
from services.scheduler.headers import address_line, date_line, message_id_line, text_line
from shared.addresses import Address, ascii_domain_of, check_spec, parse_addresses, refuse_control_characters
from shared.contracts import AddressList, Attachment, Submission
from shared.refusals import Invalid
from shared.settings import Identity

# Seven-bit bodies: every receiver takes them, and nothing on the way may change them.
# 76 characters is the line length of both encodings (RFC 2045 sections 6.7 and 6.8).
_HEADERS = HeaderRegistry()
# As free text a long one would be folded, and found by nobody.
_HEADERS.map_to_type("content-id", MessageIDHeader)  # type: ignore[arg-type]  # typeshed: it takes mixins, as here
_POLICY = SMTP.clone(cte_type="7bit", max_line_length=76, header_factory=_HEADERS)
# What a body may not carry as it is: NUL and bare CR are refused by receivers, others get lost on the way.
_NEEDS_ENCODING = re.compile(r"[^\t\n\r -~]")
_MAX_PLAIN_LINE = 900  # octets; RFC 5322 section 2.1.1 has 998, and forwarders add to lines
_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322 section 3.6.8
_CONTENT_ID = re.compile(r"<?([!-;=?-~]{1,250})>?")  # RFC 2045 section 7: as a Message-ID, kept in one line
_WORD = r"[A-Za-z0-9!#$&^_.+-]+"
_CONTENT_TYPE = re.compile(rf"({_WORD})/({_WORD})")
_PARAMETER = re.compile(rf'\s*;\s*({_WORD})=(?:({_WORD})|"((?:[ !#-\[\]-~]|\\[ -~])*)")', re.ASCII)
_MAX_CONTENT_TYPE = 500  # characters, with parameters
_MAX_ATTACHMENTS = 1000  # each costs about a millisecond, whatever its size
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
    _check_single(submission)
    head = [
        "" if _has(submission, "date") else date_line(now),
        _address_line("from", "From", [sender]),
        _address_line("to", "To", to),
        _address_line("cc", "Cc", cc),
        _address_line("reply_to", "Reply-To", reply_to),
        _checked_line("subject", "Subject", submission.subject) if submission.subject else "",
        "" if _has(submission, "message-id") else message_id_line(mail, ascii_domain_of(sender.spec)),
        *(_own_header(name, value) for name, value in submission.headers.items()),
        "" if submission.unsubscribe_url is None else unsubscribe_lines(submission.unsubscribe_url, submission.headers),
        "" if to or cc else "To: undisclosed-recipients:;\r\n",
    ]
    written = "".join(head)
    reverse_path = _reverse_path(submission, sender)
    recipients = tuple(dict.fromkeys(address.spec for address in (*to, *cc, *bcc)))
    return Composed(
        reverse_path=reverse_path,
        recipients=recipients,
        content=written.encode() + _body(submission),
        subject=submission.subject[:200],
        smtputf8=not "".join((written, reverse_path, *recipients)).isascii(),
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


def _check_single(submission: Submission) -> None:
    try:
        check_single(submission.headers)
    except Invalid as refused:
        raise Invalid(f'headers."{refused.field}"', refused.reason) from refused


def _own_header(name: str, value: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise Invalid(f'headers."{name[:80]}"', "is no header name; takes printable ASCII without a colon or a space")
    if field := _OWN_FIELDS.get(name.lower()):
        raise Invalid(f'headers."{name}"', f"has a field of its own: `{field}`")
    if name.lower() in _MADE_HERE:
        raise Invalid(f'headers."{name}"', "is made here, from the parts of the mail")
    field = f'headers."{name}"'
    if name.lower() in ADDRESS_HEADERS and not value.isascii():
        return _address_line(field, name, _addresses(field, value))
    return _checked_line(field, name, value)


def _address_line(field: str, name: str, addresses: list[Address]) -> str:
    try:
        return address_line(name, addresses) if addresses else ""
    except ValueError as error:
        raise Invalid(field, str(error)) from error


def _checked_line(field: str, name: str, value: str) -> str:
    try:
        check_encodable(name, value)
        return text_line(name, refuse_control_characters(value))
    except ValueError as error:
        raise Invalid(field, str(error)) from error


def _body(submission: Submission) -> bytes:
    if len(submission.attachments) > _MAX_ATTACHMENTS:
        raise Invalid("attachments", f"has {len(submission.attachments)}; takes at most {_MAX_ATTACHMENTS}")
    message = EmailMessage(_POLICY)
    parts = [(f"attachments[{index}]", part) for index, part in enumerate(submission.attachments)]
    if submission.html is None:
        message.set_content(submission.text or "", cte=_encoding(submission.text or ""))
    elif submission.text is None:
        message.set_content(submission.html, subtype="html", cte=_encoding(submission.html))
    else:
        message.set_content(submission.text, cte=_encoding(submission.text))
        message.add_alternative(submission.html, subtype="html", cte=_encoding(submission.html))
    for field, part in parts:
        if part.content_id is not None:
            _add_inline(_html_part(message), part, field, part.content_id)
    for field, part in parts:
        if part.content_id is None:
            message.add_attachment(part.content, **_described(part, field))
    return message.as_bytes()


def _html_part(message: EmailMessage) -> MIMEPart:
    body = message.get_body(("related", "html", "plain"))
    return message if body is None else body


def _add_inline(message: MIMEPart, part: Attachment, field: str, content_id: str) -> None:
    token = _CONTENT_ID.fullmatch(content_id)
    if token is None:
        raise Invalid(f"{field}.content_id", f"got {content_id[:80]!r}; takes printable ASCII without spaces and <>")
    message.add_related(part.content, cid=f"<{token.group(1)}>", disposition="inline", **_described(part, field))


def _described(part: Attachment, field: str) -> dict[str, Any]:
    kind, parameters = _content_type(part.content_type)
    if kind is None or kind.group(1).lower() in ("multipart", "message"):
        raise Invalid(f"{field}.content_type", f"got {part.content_type[:80]!r}; takes a type such as application/pdf")
    try:
        refuse_control_characters(part.filename)
    except ValueError as error:
        raise Invalid(f"{field}.filename", str(error)) from error
    return {"maintype": kind.group(1), "subtype": kind.group(2), "filename": part.filename, "params": parameters}


def _content_type(text: str) -> tuple[re.Match[str] | None, dict[str, str]]:
    """The type and its parameters (RFC 2045 section 5.1), `name` aside, which is the file's; None where it is none."""
    kind = _CONTENT_TYPE.match(text)
    parameters: dict[str, str] = {}
    end = kind.end() if kind else 0
    while kind and (found := _PARAMETER.match(text, end)):
        if found.group(1).lower() in parameters:
            return None, {}
        value = found.group(2) or re.sub(r"\\(.)", r"\1", found.group(3) or "")
        parameters[found.group(1).lower()] = value
        end = found.end()
    parameters.pop("name", None)
    rest = text[end:].strip(" ;")
    return (None, {}) if rest or len(text) > _MAX_CONTENT_TYPE else (kind, parameters)


def _encoding(text: str) -> str:
    """Seven bits where that is all there is, else whichever of the two encodings is shorter."""
    if not _NEEDS_ENCODING.search(text) and max(map(len, text.splitlines()), default=0) <= _MAX_PLAIN_LINE:
        return "7bit"
    beyond = sum(1 for character in text if not character.isascii())
    return "base64" if beyond * 3 > len(text) else "quoted-printable"
