"""Octets become a submission; a large one is measured before objects are made of it, perhaps one for every octet."""

from typing import Any

import msgspec

from shared.contracts import Submission
from shared.durations import decode_duration
from shared.refusals import UNREADABLE, Invalid, explain, read_plain

# A base64 attachment takes as many octets here as in the mail; texts with each letter escaped take twice as many.
_TIMES_THE_MAIL = 2
_ENVELOPE_MOST = 4 * 1024 * 1024  # octets of all fields but the contents: ten thousand addresses, the longest there are
_SMALL = 1024 * 1024  # octets that become forty times as many at most: nobody need look before
_BETWEEN_MOST = 64 * 1024  # octets of field names and blanks
_CONTENTS = ("text", "html", "attachments")

# Each field as it stands there, not read; of one that stands there twice, the last.
_Frame = msgspec.defstruct(
    "_Frame",
    [
        (field.name, msgspec.Raw, msgspec.field(default=msgspec.Raw(), name=field.encode_name))
        for field in msgspec.structs.fields(Submission)
    ],
    frozen=True,
    forbid_unknown_fields=True,
)


def check_octets(body: bytes, max_size: int) -> None:
    """Raises Invalid for what could be no mail of up to `max_size` octets (the setting `sending.max_size`)."""
    most = _TIMES_THE_MAIL * max_size + _ENVELOPE_MOST
    if len(body) > most:
        raise Invalid("content", f"the submission has {len(body)} octets; takes at most {most} (from sending.max_size)")


def parse_submission(body: bytes, kind: str) -> Submission:
    """Decode a structured submission. Raises Invalid."""
    codec: Any = msgspec.json if kind == "application/json" else msgspec.msgpack
    language = kind.removeprefix("application/").upper()
    try:
        if len(body) > _SMALL:
            _measure(codec.decode(body, type=_Frame), len(body))
        decoded: Submission = codec.decode(body, type=Submission, dec_hook=decode_duration)
    except msgspec.ValidationError as error:
        raise explain(error, read_plain(codec.decode, body, language), Submission, decode_duration) from error
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


def _measure(frame: Any, size: int) -> None:
    sizes = {field.encode_name: _size(getattr(frame, field.name)) for field in msgspec.structs.fields(_Frame)}
    light = {name: octets for name, octets in sizes.items() if name not in _CONTENTS}
    if sum(light.values()) > _ENVELOPE_MOST:
        largest = max(light, key=lambda name: light[name])
        raise Invalid(
            largest,
            f"has {light[largest]} octets; takes, with all fields but {', '.join(_CONTENTS)}, at most {_ENVELOPE_MOST}",
        )
    between = size - sum(sizes.values())
    if between > _BETWEEN_MOST:
        raise Invalid(
            "", f"has {between} octets that belong to no field; takes each field once, at most {_BETWEEN_MOST}"
        )


def _size(raw: msgspec.Raw) -> int:
    return len(memoryview(raw))
