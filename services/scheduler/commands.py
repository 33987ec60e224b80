"""Octets become a command, within bounds."""

import msgspec

from shared.contracts import Command, MailId, Replace
from shared.durations import decode_duration
from shared.reading import check_octets, parse_submission
from shared.refusals import UNREAD, UNREADABLE, Invalid, explain, read_plain

_MOST = 4 * 1024 * 1024  # octets: a thousand addresses, each with the longest reason, every letter of it escaped
_BETWEEN_MOST = 64 * 1024  # octets of a large one that are not its submission


class _LargeReplace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="command", tag="replace"):
    id: MailId
    submission: msgspec.Raw


class _Named(msgspec.Struct, frozen=True):
    command: str = ""


def parse_command(body: bytes, max_size: int) -> Command:
    """Decode a command; `max_size` limits the mail in it. Raises Invalid, which names the field."""
    try:
        if len(body) > _MOST:
            return _large_replace(body, max_size)
        command: Command = msgspec.json.decode(body, type=Command, dec_hook=decode_duration)
    except msgspec.ValidationError as error:
        raise _explained(error, body) from error
    except UNREADABLE as error:
        raise Invalid("", f"not JSON: {error}") from error
    return command


def in_submission(refused: Invalid) -> Invalid:
    """What is wrong with the submission of a `replace`."""
    return Invalid(f"submission.{refused.field}".rstrip("."), refused.reason)


def _large_replace(body: bytes, max_size: int) -> Replace:
    """The one command that carries a mail; it is measured like a submission."""
    check_octets(body, max_size)
    replace = msgspec.json.decode(body, type=_LargeReplace)
    submission = bytes(memoryview(replace.submission))
    if len(body) - len(submission) > _BETWEEN_MOST:
        raise Invalid("", f"has {len(body) - len(submission)} octets beside its submission; takes {_BETWEEN_MOST}")
    try:
        return Replace(id=replace.id, submission=parse_submission(submission, "application/json"))
    except Invalid as refused:
        raise in_submission(refused) from refused


def _explained(error: msgspec.ValidationError, body: bytes) -> Invalid:
    if len(body) > _MOST:
        return Invalid("", f"has {len(body)} octets; takes at most {_MOST}, but for a replace with id and submission")
    document = read_plain(msgspec.json.decode, body, "JSON")
    kinds = {kind.__struct_config__.tag: kind for kind in Command.__args__}
    said = _name_in(body) if document is UNREAD else document.get("command") if isinstance(document, dict) else None
    if not isinstance(said, str) or said not in kinds:
        return Invalid("command", f"got {str(said)[:80]!r}; takes one of {', '.join(sorted(map(str, kinds)))}")
    return explain(error, document, kinds[said], decode_duration)


def _name_in(body: bytes) -> str | None:
    try:
        return msgspec.json.decode(body, type=_Named).command
    except UNREADABLE:
        return None
