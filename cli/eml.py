"""A finished message taken apart into a submission, for `replace`: the command takes the structured form alone."""

from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from cli.failures import CommandFailed, usage
from cli.submission import HandlingFlags, as_duration
from shared.contracts import Attachment, Submission

_FIELDS = {"from", "to", "cc", "bcc", "reply-to", "subject", "return-path"}
# Written anew with the new content: trace, MIME structure, and signatures over what is no longer the same octets.
_MADE_ANEW = {
    "received", "mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-id",
    "content-language", "dkim-signature", "arc-seal", "arc-message-signature", "arc-authentication-results",
    "authentication-results",
}  # fmt: skip
_SEALED = {"multipart/signed", "multipart/encrypted", "application/pkcs7-mime"}


def from_eml(source: str, content: bytes, handling: HandlingFlags) -> Submission:
    """The submission with the same headers, texts and attachments. Raises CommandFailed for what has no such form."""
    message = BytesParser(policy=policy.default).parsebytes(content)
    if message["From"] is None:
        raise usage(f"{source}: From: is missing; takes a finished message")
    for part in message.walk():
        if part.get_content_type() in _SEALED:
            raise CommandFailed(
                f"{source}: {part.get_content_type()} would not survive being taken apart; "
                "retract the former mail and send this one"
            )
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    return Submission(
        from_=str(message["From"]),
        to=_addresses(message, "To"),
        cc=_addresses(message, "Cc"),
        bcc=_addresses(message, "Bcc"),
        reply_to=_addresses(message, "Reply-To"),
        subject=str(message["Subject"] or ""),
        text=None if text is None else _text(text),
        html=None if html is None else _text(html),
        attachments=_attachments(message, source),
        headers=_further_headers(message, source),
        hold=as_duration(handling.hold),
        send_at=handling.send_at,
        give_up_after=as_duration(handling.give_up_after),
        batch=handling.batch,
        priority="urgent" if handling.priority == "urgent" else "normal",
        notify=handling.notify,
        ret=handling.ret,
        ignore_suppression=handling.ignore_suppression,
    )


def _addresses(message: EmailMessage, name: str) -> list[str]:
    return [str(address) for header in message.get_all(name, []) for address in header.addresses]


def _text(part: Any) -> str:
    return str(part.get_content())


def _attachments(message: EmailMessage, source: str) -> list[Attachment]:
    bodies = {id(message.get_body((kind,))) for kind in ("plain", "html")}
    leaves = [part for part in _parts(message) if part.get_content_maintype() != "multipart"]
    return [_attachment(part, source) for part in leaves if id(part) not in bodies]


def _parts(message: Any) -> Iterator[Any]:
    """As `walk`, but not into attached messages."""
    yield message
    if message.get_content_maintype() == "multipart":
        for part in message.iter_parts():
            yield from _parts(part)


def _attachment(part: Any, source: str) -> Attachment:
    if part.get_content_maintype() == "message":
        raise CommandFailed(f"{source}: an attached message can not be carried; retract the former mail, send this one")
    identifier = part["Content-ID"]
    return Attachment(
        filename=part.get_filename() or "attachment",
        content=part.get_payload(decode=True) or b"",
        content_type=part.get_content_type(),
        content_id=None if identifier is None else str(identifier).strip("<> "),
    )


def _further_headers(message: EmailMessage, source: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in message.items():
        if name.lower() in _FIELDS | _MADE_ANEW:
            continue
        if any(name.lower() == known.lower() for known in headers):
            raise CommandFailed(f"{source}: {name}: stands there twice; takes each header once")
        headers[name] = str(value)
    return headers
