"""Octets become a command, within bounds."""

import msgspec

from shared.contracts.commands import Command, FinishedMail, Replace
from shared.contracts.submissions import Submission
from shared.contracts.words import MailId
from shared.durations import decode_duration
from shared.reading import check_octets, parse_mail
from shared.refusals import UNREAD, UNREADABLE, Invalid, explain, read_plain

_MOST = 4 * 1024 * 1024  # octets: a thousand addresses, each with the longest reason, every letter of it escaped
_BETWEEN_MOST = 64 * 1024  # octets of a large one that are not its mail


class _LargeReplace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="command", tag="replace"):
    id: MailId
    submission: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()


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
    if isinstance(command, Replace):
        _check_form(command.submission, command.message)
    return command


def within(form: str, refused: Invalid) -> Invalid:
    """What is wrong with the mail of a `replace`, by the name of the field in the command."""
    field = refused.field.replace("-", "_") if refused.field in ("mail-from", "rcpt-to") else refused.field
    return Invalid(f"{form}.{field}".rstrip("."), refused.reason)


def _large_replace(body: bytes, max_size: int) -> Replace:
    """The one command that carries a mail; it is measured like a submission."""
    check_octets(body, max_size)
    replace = msgspec.json.decode(body, type=_LargeReplace)
    given = {"submission": bytes(memoryview(replace.submission)), "message": bytes(memoryview(replace.message))}
    said = {form: raw for form, raw in given.items() if raw not in (b"", b"null")}
    _check_form(said.get("submission"), said.get("message"))
    [(form, mail)] = said.items()
    if len(body) - len(mail) > _BETWEEN_MOST:
        raise Invalid("", f"has {len(body) - len(mail)} octets beside its {form}; takes {_BETWEEN_MOST}")
    try:
        if form == "submission":
            return Replace(id=replace.id, submission=parse_mail(mail, Submission))
        return Replace(id=replace.id, message=parse_mail(mail, FinishedMail))
    except Invalid as refused:
        raise within(form, refused) from refused


def _check_form(submission: object | None, message: object | None) -> None:
    if (submission is None) == (message is None):
        raise Invalid("submission", "takes either a submission or, in its place, a message")


def _explained(error: msgspec.ValidationError, body: bytes) -> Invalid:
    if len(body) > _MOST:
        return Invalid("", f"has {len(body)} octets; takes at most {_MOST}, but for a replace with id and mail")
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
