"""Admission: a submission is judged as a whole, and composed once, or refused with the field that is wrong."""

from datetime import datetime, timedelta
from functools import lru_cache

from services.scheduler.compose import compose
from services.scheduler.composed import Composed, Draft, Wishes
from services.scheduler.finished import take_finished
from shared.broker import Properties
from shared.contracts.commands import FinishedMail
from shared.contracts.submissions import Submission
from shared.contracts.words import Notify
from shared.durations import Duration
from shared.limits import check_recipients
from shared.mail_ids import check_id, new_mail_id
from shared.reading import check_contents, check_octets, parse_submission, too_large
from shared.refusals import Invalid
from shared.settings import Settings
from shared.wishes import HeaderWishes, check_batch, check_send_at, read_wishes


def admit(body: bytes, properties: Properties, settings: Settings, revision: int, now: datetime) -> Draft:
    """Judge and compose one submission. Raises Invalid, which names the field and says what it takes."""
    mail = mail_id(properties)
    check_octets(body, settings.sending.max_size)
    match (properties.content_type or "application/json").partition(";")[0].strip().lower():
        case "application/json" | "application/msgpack" as kind:
            submission = parse_submission(body, kind)
            wishes = wishes_of(submission)
            composed = compose_within(submission, mail, settings, now)
        case "message/rfc822":
            wishes = wishes_of(read_wishes(properties.headers))
            composed = take_finished(body, properties.headers, mail, settings.identity, now)
        case other:
            raise Invalid(
                "content_type",
                f"got {other[:80]!r}; takes application/json, application/msgpack or message/rfc822",
            )
    return draft(mail, composed, wishes, settings, revision, now, properties.user_id or "")


def compose_within(submission: Submission, mail: str, settings: Settings, now: datetime) -> Composed:
    """Compose what the settings take. Raises Invalid."""
    check_contents(submission, settings.sending.max_size)
    return compose(submission, mail, settings.identity, now)


def finish_within(message: FinishedMail, mail: str, settings: Settings, now: datetime) -> Composed:
    """Take the finished message of a command. Raises Invalid, with the names of AMQP headers."""
    said = {
        "mail-from": message.mail_from,
        "rcpt-to": message.rcpt_to,
        "unsubscribe_url": message.unsubscribe_url,
    }
    headers = {name: value for name, value in said.items() if value is not None}
    return take_finished(message.content, headers, mail, settings.identity, now)


def draft(
    mail: str, composed: Composed, wishes: Wishes, settings: Settings, revision: int, now: datetime, submitted_by: str
) -> Draft:
    """Count the times of a composed mail and check what concerns all kinds. Raises Invalid."""
    if not composed.recipients:
        raise Invalid("to", "no recipient; takes at least one address in to, cc or bcc")
    check_recipients(len(composed.recipients))
    size, most = len(composed.content), settings.sending.max_size
    if size > most:
        raise too_large(size, most)
    due, held_by = _due(wishes, settings, now)
    give_up = settings.retry.give_up if wishes.give_up_s is None else timedelta(seconds=wishes.give_up_s)
    return Draft(
        id=mail,
        composed=composed,
        batch=check_batch(wishes.batch),
        urgent=wishes.urgent,
        submitted_by=submitted_by,
        admitted=now,
        due=due,
        give_up=due + give_up,
        revision=revision,
        held_by=held_by,
        notify=wishes.notify,
        ret=wishes.ret,
        ignore_suppression=wishes.ignore_suppression,
    )


def mail_id(properties: Properties) -> str:
    """The client's own id, or a new one. Raises Invalid for one that could not be a key."""
    return check_id(properties.message_id, "message_id") if properties.message_id else new_mail_id()


def wishes_of(submission: Submission | FinishedMail | HeaderWishes) -> Wishes:
    """What a mail says about its handling."""
    return Wishes(
        hold_s=None if submission.hold is None else submission.hold.total_seconds(),
        send_at=submission.send_at,
        give_up_s=None if submission.give_up_after is None else submission.give_up_after.total_seconds(),
        batch=submission.batch,
        urgent=submission.priority == "urgent",
        notify=_notices(submission.notify),
        ret=submission.ret or "",
        ignore_suppression=submission.ignore_suppression,
    )


def _notices(notify: Notify | None) -> str:
    """As the envelope has it: each word once, in one order."""
    if notify is None or notify == "never":
        return notify or ""
    return ",".join(word for word in ("success", "failure", "delay") if word in notify)


def _due(wishes: Wishes, settings: Settings, now: datetime) -> tuple[datetime, str]:
    if wishes.hold_s is not None:
        due, held_by = now + timedelta(seconds=wishes.hold_s), "the mail's own hold"
    elif wishes.urgent:
        due, held_by = now, "nothing: it is urgent"
    else:
        due, held_by = now + settings.sending.hold, _held_by_setting(settings.sending.hold)
    if wishes.send_at is None:
        return due, held_by
    send_at = check_send_at(wishes.send_at, now)
    return (send_at, "the mail's send_at") if send_at > due else (due, held_by)


@lru_cache(maxsize=4)
def _held_by_setting(hold: Duration) -> str:
    """The same for all mails until the setting changes."""
    return f"the setting sending.hold = {hold}"
