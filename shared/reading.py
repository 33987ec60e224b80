"""Octets become a submission; a large one is measured before objects are made of it, perhaps one for every octet."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from shared.contracts.commands import FinishedMail
from shared.contracts.submissions import Submission
from shared.durations import decode_duration
from shared.refusals import UNREADABLE, Invalid, explain, read_plain

# A base64 attachment takes as many octets here as in the mail; texts with each letter escaped take twice as many.
_TIMES_THE_MAIL = 2
_ENVELOPE_MOST = 4 * 1024 * 1024  # octets of all fields but the contents: ten thousand addresses, the longest there are
_SMALL = 1024 * 1024  # octets that become forty times as many at most: nobody need look before
_BETWEEN_MOST = 64 * 1024  # octets of field names and blanks

T = TypeVar("T", Submission, FinishedMail)


class _Form(msgspec.Struct, frozen=True):
    """One of the forms in which a mail comes: its fields as they stand there, not read, and which may be large."""

    frame: Any  # of a field that stands there twice, the last
    contents: tuple[str, ...]


def _form(kind: type[msgspec.Struct], *contents: str) -> _Form:
    fields = [
        (field.name, msgspec.Raw, msgspec.field(default=msgspec.Raw(), name=field.encode_name))
        for field in msgspec.structs.fields(kind)
    ]
    frame = msgspec.defstruct("_Frame", fields, frozen=True, forbid_unknown_fields=True)
    return _Form(frame, contents)


_FORMS: dict[type, _Form] = {
    Submission: _form(Submission, "text", "html", "attachments"),
    FinishedMail: _form(FinishedMail, "content"),
}


def check_octets(body: bytes, max_size: int) -> None:
    """Raises Invalid for what could be no mail of up to `max_size` octets (the setting `sending.max_size`)."""
    most = _TIMES_THE_MAIL * max_size + _ENVELOPE_MOST
    if len(body) > most:
        raise Invalid("content", f"the submission has {len(body)} octets; takes at most {most} (from sending.max_size)")


def parse_submission(body: bytes, kind: str) -> Submission:
    """Decode a structured submission. Raises Invalid."""
    codec = msgspec.json if kind == "application/json" else msgspec.msgpack
    return parse_mail(body, Submission, codec, kind.removeprefix("application/").upper())


def parse_mail(body: bytes, kind: type[T], codec: Any = msgspec.json, language: str = "JSON") -> T:
    """Decode a mail of either form. Raises Invalid."""
    try:
        if len(body) > _SMALL:
            form = _FORMS[kind]
            _measure(codec.decode(body, type=form.frame), len(body), form.contents)
        decoded: T = codec.decode(body, type=kind, dec_hook=decode_duration)
    except msgspec.ValidationError as error:
        raise explain(error, read_plain(codec.decode, body, language), kind, decode_duration) from error
    except UNREADABLE as error:
        raise Invalid("", f"not {language}: {error}") from error
    return decoded


def check_contents(submission: Submission, max_size: int) -> None:
    """Raises Invalid where the contents alone are too large: they get no smaller when they are composed."""
    texts = len(submission.text or "") + len(submission.html or "")
    size = texts + sum(len(attachment.content) for attachment in submission.attachments)
    if size > max_size:
        raise too_large(size, max_size)


def too_large(size: int, most: int) -> Invalid:
    """The refusal of a mail of that size."""
    return Invalid("content", f"the mail has {size} octets; takes at most {most} (sending.max_size)")


def _measure(frame: Any, size: int, contents: Sequence[str]) -> None:
    sizes = {field.encode_name: _size(getattr(frame, field.name)) for field in msgspec.structs.fields(frame)}
    light = {name: octets for name, octets in sizes.items() if name not in contents}
    if sum(light.values()) > _ENVELOPE_MOST:
        largest = max(light, key=lambda name: light[name])
        raise Invalid(
            largest,
            f"has {light[largest]} octets; takes, with all fields but {', '.join(contents)}, at most {_ENVELOPE_MOST}",
        )
    between = size - sum(sizes.values())
    if between > _BETWEEN_MOST:
        raise Invalid(
            "", f"has {between} octets that belong to no field; takes each field once, at most {_BETWEEN_MOST}"
        )


def _size(raw: msgspec.Raw) -> int:
    return len(memoryview(raw))
