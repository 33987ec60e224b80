"""What the flags of `send` and `replace` say, judged before anything is published."""

import mimetypes
import re
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from cli.failures import usage
from shared.addresses import parse_addresses
from shared.contracts.submissions import Attachment, Submission
from shared.contracts.words import MAX_MAIL_ID, Notify, Ret
from shared.durations import Duration

_MAX_BATCH = 200  # characters, as the contract says
_UNKNOWN_TYPE = "application/octet-stream"


class ContentFlags(msgspec.Struct, frozen=True, kw_only=True):
    """A mail put together on the command line."""

    sender: str | None = None
    to: list[str] = []
    cc: list[str] = []
    bcc: list[str] = []
    reply_to: list[str] = []
    subject: str = ""
    text: str | None = None
    text_file: str | None = None
    html_file: str | None = None
    attach: list[str] = []
    header: list[str] = []
    return_path: str | None = None
    unsubscribe_url: str | None = None

    @property
    def given(self) -> list[str]:
        """The flags that say something, by the names people type."""
        names = {"sender": "--from"}
        said = msgspec.structs.asdict(self)
        return [names.get(name, f"--{name.replace('_', '-')}") for name, value in said.items() if value]


class HandlingFlags(msgspec.Struct, frozen=True, kw_only=True):
    """What is to happen with it."""

    hold: timedelta | None = None
    send_at: datetime | None = None
    give_up_after: timedelta | None = None
    batch: str = ""
    priority: str = "normal"
    notify: Notify | None = None
    ret: Ret | None = None
    ignore_suppression: bool = False


def to_submission(content: ContentFlags, handling: HandlingFlags, read: Callable[[str], bytes]) -> Submission:
    """The submission that the flags describe; `read` reads a file, or `-` for standard input.

    Raises CommandFailed that names the flag.
    """
    if not content.sender:
        raise usage("--from: is missing; takes the author's address, such as --from 'Ada <ada@example.org>'")
    if not (content.to or content.cc or content.bcc):
        raise usage("--to: no recipient; takes at least one address in --to, --cc or --bcc")
    if content.text is not None and content.text_file is not None:
        raise usage("--text and --text-file: one of the two")
    text = content.text if content.text_file is None else _text("--text-file", content.text_file, read)
    html = None if content.html_file is None else _text("--html-file", content.html_file, read)
    if text is None and html is None and not content.attach:
        raise usage("--text: the mail is empty; takes --text, --text-file, --html-file or --attach")
    for flag in ("to", "cc", "bcc", "reply_to"):
        _check_addresses(f"--{flag.replace('_', '-')}", getattr(content, flag))
    _check_addresses("--from", [content.sender])
    return Submission(
        from_=content.sender,
        to=content.to,
        cc=content.cc,
        bcc=content.bcc,
        reply_to=content.reply_to,
        subject=content.subject,
        text=text,
        html=html,
        attachments=[_attachment(path, read) for path in content.attach],
        headers=parse_headers(content.header),
        return_path=content.return_path,
        unsubscribe_url=content.unsubscribe_url,
        hold=as_duration(handling.hold),
        send_at=handling.send_at,
        give_up_after=as_duration(handling.give_up_after),
        batch=handling.batch,
        priority="urgent" if handling.priority == "urgent" else "normal",
        notify=handling.notify,
        ret=handling.ret,
        ignore_suppression=handling.ignore_suppression,
    )


def to_handling(
    *,
    hold: timedelta | None,
    send_at: str | None,
    give_up_after: timedelta | None,
    batch: str,
    priority: str,
    notify: str | None = None,
    ret: Ret | None = None,
    ignore_suppression: bool = False,
) -> HandlingFlags:
    """Judge the flags. Raises CommandFailed."""
    if len(batch) > _MAX_BATCH:
        raise usage(f"--batch: has {len(batch)} characters; takes at most {_MAX_BATCH}")
    return HandlingFlags(
        hold=hold,
        send_at=None if send_at is None else parse_send_at(send_at),
        give_up_after=give_up_after,
        batch=batch,
        priority=priority,
        notify=None if notify is None else _notices(notify),
        ret=ret,
        ignore_suppression=ignore_suppression,
    )


def _notices(text: str) -> Notify:
    words = text if text == "never" else [word.strip() for word in text.split(",")]
    try:
        notify: Notify = msgspec.convert(words, Notify)
    except msgspec.ValidationError as error:
        raise usage(f"--notify: got {text!r}; takes never, or failure, delay and success with commas") from error
    return notify


def check_id(flag: str, mail_id: str) -> None:
    """Raises CommandFailed for an id that the scheduler would refuse."""
    if not 0 < len(mail_id) <= MAX_MAIL_ID or re.search(r"[\x00-\x20\x7f]", mail_id):
        raise usage(f"{flag}: takes up to {MAX_MAIL_ID} characters, no spaces or control characters")


def read_file(path: str) -> bytes:
    """A file, or standard input for `-`. Raises OSError."""
    return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()


def handling_headers(handling: HandlingFlags) -> dict[str, Any]:
    """The same for a finished message, as AMQP headers; only what is said."""
    said = {
        "hold": None if handling.hold is None else str(as_duration(handling.hold)),
        "send_at": None if handling.send_at is None else handling.send_at.isoformat(),
        "give_up_after": None if handling.give_up_after is None else str(as_duration(handling.give_up_after)),
        "batch": handling.batch,
        "priority": "" if handling.priority == "normal" else handling.priority,
        "notify": handling.notify,
        "ret": handling.ret,
        "ignore_suppression": handling.ignore_suppression,
    }
    return {name: value for name, value in said.items() if value}


def envelope_headers(mail_from: str | None, rcpt_to: list[str]) -> dict[str, Any]:
    """The envelope of a finished message, as AMQP headers; only what is given. Raises CommandFailed."""
    check_envelope(mail_from, rcpt_to)
    said = {"mail-from": mail_from, "rcpt-to": rcpt_to or None}
    return {name: value for name, value in said.items() if value is not None}


def check_envelope(mail_from: str | None, rcpt_to: list[str]) -> None:
    """Raises CommandFailed for what are no addresses."""
    if mail_from not in (None, "", "<>"):
        _check_addresses("--mail-from", [mail_from])
    _check_addresses("--rcpt-to", rcpt_to)


def parse_headers(texts: list[str]) -> dict[str, str]:
    """`["X-Kind: test"]` as a mapping. Raises CommandFailed."""
    headers: dict[str, str] = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise usage(f"--header: got {text!r}; takes a name and a value, such as --header 'X-Kind: invoice'")
        if name.strip() in headers:
            raise usage(f"--header: {name.strip()} is given twice; takes each once")
        headers[name.strip()] = value.strip()
    return headers


def parse_send_at(text: str) -> datetime:
    """A time with its offset (RFC 3339). Raises CommandFailed."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise usage(f"--send-at: got {text!r}; takes a time with its offset, such as 2030-01-31T08:30:00+01:00")
    return time


def _attachment(path: str, read: Callable[[str], bytes]) -> Attachment:
    kind, coding = mimetypes.guess_type(path)
    # guess_type names the type inside a compressed file; what travels is the compression.
    content_type = kind if kind and not coding else _UNKNOWN_TYPE
    name = "attachment" if path == "-" else Path(path).name
    return Attachment(filename=name, content=read(path), content_type=content_type)


def _text(flag: str, path: str, read: Callable[[str], bytes]) -> str:
    try:
        return read(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise usage(f"{flag}: {path} is not UTF-8 text (octet {error.start}); convert it, or attach it") from error


def _check_addresses(flag: str, texts: list[str]) -> None:
    for text in texts:
        try:
            found = parse_addresses(text)
        except ValueError as error:
            raise usage(f"{flag}: {error}") from error
        if not found:
            raise usage(f"{flag}: is empty; takes an e-mail address")


def as_duration(span: timedelta | None) -> Duration | None:
    """As the contract has it."""
    return None if span is None else Duration(seconds=span.total_seconds())
