"""A mail's content to be looked at: parsed, and made harmless by where it is shown, not by what is taken out.

What is shown as HTML is shown in a frame of its own with a policy that runs nothing and loads nothing (`POLICY`). Some
elements make browsers connect to a server without loading anything, of which no policy speaks: its owner would know
that somebody looked. They get names that mean nothing (`_CONNECTING`).
"""

import base64
import email.policy
import html
import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.parser import BytesParser

import msgspec

# A sandbox without any permission: no script, no form, no window, no origin. Images only those that the mail brings.
POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; base-uri 'none'"
)

# Chromium connects for <link rel="preconnect">, for the frame that the policy is about to refuse, and for a link that
# is pressed; in <math> others have links as well. A tag is these very letters wherever HTML is parsed, and references
# to characters make none; but in the `srcdoc` of a frame, which goes with the frame.
_CONNECTING = re.compile(r"(</?)(?=(?:a|area|frame|iframe|link|math)[\s/>])", re.IGNORECASE)

# Nothing ends a `link`, so what follows is within it: that is to look as if it were not.
_STYLE = "pre{white-space:pre-wrap}no-a{text-decoration:underline}no-link,no-area,no-frame{display:contents}"

MOST_OCTETS = 4 * 1024 * 1024  # of a mail that is parsed to be looked at

_MOST_INLINE = 2 * 1024 * 1024  # characters of images in the page; one that stands there twice counts twice
_HEADERS = ("From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID")
_CID = re.compile(r"cid:([^\"'\s)>]+)", re.IGNORECASE)
_REMOTE = re.compile(
    r"""(?:src|background|srcset)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?\s*(?:https?:)?//""", re.IGNORECASE
)


class Part(msgspec.Struct, frozen=True):
    """An attachment."""

    name: str
    kind: str
    size: int


class MailView(msgspec.Struct, frozen=True):
    """What there is to see of a mail."""

    headers: list[tuple[str, str]]
    text: str
    html: str  # "" where it has none
    attachments: list[Part]
    remote_images: bool  # some would be loaded from elsewhere, and are not


def view(content: bytes) -> MailView:
    """Read a message. Whatever it is, something comes out."""
    try:
        return _seen(BytesParser(policy=email.policy.default).parsebytes(content))
    except Exception:  # Python's parser fails in many ways over headers that were made to
        return MailView([], content.decode("utf-8", "backslashreplace"), "", [], False)


def _seen(message: EmailMessage) -> MailView:
    plain = _text_of(message, "plain")
    shown = _text_of(message, "html")
    return MailView(
        headers=[(name, _header(message, name)) for name in _HEADERS if name in message],
        text=plain,
        html=_with_images(shown, message) if shown else "",
        attachments=list(_attachments(message)),
        remote_images=bool(_REMOTE.search(shown)),
    )


def document(seen: MailView) -> bytes:
    """The page for the frame."""
    body = seen.html or f"<pre>{html.escape(seen.text)}</pre>"
    head = f'<!doctype html><meta charset="utf-8"><title>Mail</title><style>{_STYLE}</style>'
    return (head + _CONNECTING.sub(r"\1no-", body)).encode("utf-8", "replace")


def _header(message: EmailMessage, name: str) -> str:
    try:
        return str(message[name])
    except Exception:  # the parser of structured headers fails in many ways over hostile ones
        return "(can not be read)"


def _text_of(message: EmailMessage, kind: str) -> str:
    try:
        part = message.get_body(preferencelist=(kind,))
        return str(part.get_content()) if part is not None else ""
    except (LookupError, ValueError, AttributeError, TypeError, AssertionError):  # charsets and encodings of any name
        return ""


def _attachments(message: EmailMessage) -> Iterator[Part]:
    for part in message.walk():
        name = _file_name(part)
        if not part.is_multipart() and (name or part.get_content_disposition() == "attachment"):
            payload = part.get_payload(decode=True)
            yield Part(name or "(no name)", part.get_content_type(), len(payload) if isinstance(payload, bytes) else 0)


def _file_name(part: EmailMessage) -> str:
    try:
        return part.get_filename() or ""
    except (LookupError, ValueError, TypeError):
        return ""


def _with_images(shown: str, message: EmailMessage) -> str:
    """The images that the mail brings with it, in the place of their names."""
    images: dict[str, str] = {}
    for part in message.walk():
        name, payload = str(part.get("Content-ID", "")).strip().strip("<>"), part.get_payload(decode=True)
        if name and part.get_content_maintype() == "image" and isinstance(payload, bytes):
            images[name] = f"data:{part.get_content_type()};base64,{base64.b64encode(payload).decode()}"
    room = _MOST_INLINE

    def put_in(found: re.Match[str]) -> str:
        nonlocal room
        image = images.get(found[1], "")
        if not image or len(image) > room:
            return found[0]
        room -= len(image)
        return image

    return _CID.sub(put_in, shown)
