"""What the demo publishes and does, and what it then expects to find; told by a run that is scripted throughout."""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import msgspec

from cli.inbox import file_time
from cli.output import encode_hook
from shared.broker import Message, Properties
from shared.contracts.answers import RetractResult
from shared.contracts.events import DeliveredEvent, Event, RetractedEvent
from shared.contracts.submissions import Submission
from shared.durations import Duration
from shared.topology import SUBMIT

MARK = "X-Pillarbox-Demo"  # header by which the inbox's mails are told apart; its value is the id
_FIRST, _CORRECTED = "The first version", "The corrected version"


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """The mails of the demo, by their ids."""

    batch: str
    held: tuple[str, ...]  # with the hold; the two below are among them
    retracted: str
    replaced: str
    urgent: str  # without a hold: it leaves at once

    @property
    def expected(self) -> set[str]:
        """The ids that must arrive."""
        return {*self.held, self.urgent} - {self.retracted}


class Arrival(msgspec.Struct, frozen=True):
    """A mail that was found in the inbox."""

    id: str
    text: str


class Check(msgspec.Struct, frozen=True):
    """One line of the verdict."""

    what: str
    found: str
    right: bool


def cast_of(count: int) -> Cast:
    """Ids for `count` held mails and one more. The one to retract and the one to replace lie in the middle."""
    held = tuple(str(uuid.uuid4()) for _ in range(count))
    return Cast(
        batch=f"demo {uuid.uuid4().hex[:8]}",
        held=held,
        retracted=held[count // 2],
        replaced=held[count // 2 + 1],
        urgent=str(uuid.uuid4()),
    )


def held_messages(cast: Cast, hold: timedelta) -> list[Message]:
    """The mails with the hold."""
    return [_message(mail, letter(cast, mail, number, hold)) for number, mail in enumerate(cast.held, 1)]


def urgent_message(cast: Cast) -> Message:
    """The mail that leaves at once."""
    return _message(cast.urgent, letter(cast, cast.urgent, 0, timedelta()))


def correction(cast: Cast, hold: timedelta) -> Submission:
    """What takes the place of the one to replace."""
    return letter(cast, cast.replaced, cast.held.index(cast.replaced) + 1, hold, _CORRECTED)


def letter(cast: Cast, mail: str, number: int, hold: timedelta, words: str = _FIRST) -> Submission:
    """A mail to somebody who can not exist (RFC 2606)."""
    return Submission(
        from_="Pillarbox demo <demo@example.org>",
        to=[f"reader{number}@example.net"],
        subject=f"Demo letter {number}",
        text=f"{words} of letter {number}.\n",
        headers={MARK: mail},
        hold=Duration(seconds=hold.total_seconds()),
        batch=cast.batch,
    )


def _message(mail: str, submission: Submission) -> Message:
    body = msgspec.json.encode(submission, enc_hook=encode_hook)
    return Message(SUBMIT, "", body, Properties(message_id=mail, content_type="application/json"))


def arrivals_in(folder: Path, since: datetime) -> list[Arrival]:
    """The demo's mails among those that the inbox kept since then."""
    first = file_time(since)
    files = [file for file in folder.glob("*.eml") if file.name >= first]
    mails = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
    return [Arrival(str(mail[MARK]), str(mail.get_content())) for mail in mails if mail[MARK] is not None]


def verdict(
    cast: Cast, arrivals: Sequence[Arrival], events: Iterable[Event], answers: Mapping[str, RetractResult]
) -> list[Check]:
    """Whether everything is as it must be. `answers`: what retracting said, by id."""
    events = list(events)
    copies = Counter(arrival.id for arrival in arrivals)
    texts = {arrival.id: arrival.text for arrival in arrivals}
    delivered = Counter(event.mail for event in events if isinstance(event, DeliveredEvent))
    missing, more = cast.expected - copies.keys(), [mail for mail, count in copies.items() if count > 1]
    silent = cast.expected - delivered.keys()
    taken_back = {event.mail for event in events if isinstance(event, RetractedEvent)}
    return [
        Check(
            f"{len(cast.expected)} mails are in the inbox",
            f"{len(cast.expected) - len(missing)} are, {len(missing)} are missing",
            not missing,
        ),
        Check(
            "each exactly once",
            f"{len(more)} came more than once",
            not more and set(copies) <= {*cast.held, cast.urgent},
        ),
        Check(
            "each with a `delivered` event",
            f"{len(silent)} have none",
            not silent and max(delivered.values(), default=0) <= 1,
        ),
        Check(
            "the one retracted in time never arrives",
            f"answer {_words(answers.get(cast.retracted))}, {copies[cast.retracted]} in the inbox",
            answers.get(cast.retracted) is RetractResult.RETRACTED
            and not copies[cast.retracted]
            and not delivered[cast.retracted]
            and cast.retracted in taken_back,
        ),
        Check(
            "the one replaced arrives with its new content",
            f"it reads: {texts.get(cast.replaced, '(not there)').strip()}",
            texts.get(cast.replaced, "").startswith(_CORRECTED),
        ),
        Check(
            "the one retracted too late arrives, and the answer says so",
            f"answer {_words(answers.get(cast.urgent))}, {copies[cast.urgent]} in the inbox",
            answers.get(cast.urgent) is RetractResult.TOO_LATE and copies[cast.urgent] == 1,
        ),
    ]


def _words(result: RetractResult | None) -> str:
    return "none" if result is None else result.replace("_", " ")
