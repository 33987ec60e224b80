"""A structured submission becomes a message, once; every attempt sends the same octets."""

import re
from datetime import datetime

from services.scheduler.body import body_of
from services.scheduler.composed import Composed
from services.scheduler.header_rules import ADDRESS_HEADERS, check_encodable, check_single, unsubscribe_lines
from services.scheduler.headers import address_line, date_line, message_id_line, text_line
from shared.addresses import Address, ascii_domain_of, check_spec, parse_addresses, refuse_control_characters
from shared.contracts.submissions import Submission
from shared.contracts.words import AddressList
from shared.limits import check_head, check_headers, check_recipients
from shared.refusals import Invalid
from shared.settings import Identity

_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322 section 3.6.8
_MAX_ATTACHMENTS = 1000  # each costs a tenth of a millisecond, whatever its size
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
    _check_counts(submission)
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
    check_head(len(written))
    reverse_path = _reverse_path(submission, sender)
    recipients = tuple(dict.fromkeys(address.spec for address in (*to, *cc, *bcc)))
    return Composed(
        reverse_path=reverse_path,
        recipients=recipients,
        content=written.encode() + body_of(submission),
        subject=submission.subject[:200],
        smtputf8=not "".join((written, reverse_path, *recipients)).isascii(),
    )


def _check_counts(submission: Submission) -> None:
    """What each costs a look is counted before the first is looked at."""
    check_headers(len(submission.headers))
    check_head(len(submission.subject) + sum(len(name) + len(value) for name, value in submission.headers.items()))
    if len(submission.attachments) > _MAX_ATTACHMENTS:
        raise Invalid("attachments", f"has {len(submission.attachments)}; takes at most {_MAX_ATTACHMENTS}")
    lists = [submission.to, submission.cc, submission.bcc, submission.reply_to]
    check_recipients(sum(len(value) for value in lists if not isinstance(value, str)))


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
        check_recipients(len(found), field)
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
        check_single([name.lower() for name in submission.headers])
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
