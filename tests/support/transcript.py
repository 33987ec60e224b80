"""SMTP dialogues as tests: a sans-IO machine is held against a transcript, and the outcomes are put in a few words.

C: MAIL FROM:<a@sender.example>     what the machine must say next; lines without a break go in one write
S: 250 ok                           what the server answers; lines without a break come in one segment
X: hangs up                         the connection is gone
T: waits in vain                    the deadline passes
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from textwrap import dedent
from typing import Protocol

from services.sender.envelope import OutgoingMail
from services.sender.session_mails import MailResult, Sent
from shared.outcomes import Bounced, Deferred, Delivered, Outcome

CONTENT = b"Subject: hi\r\n\r\nbody\r\n"
CONTENT_LINES = "C: Subject: hi\nC: \nC: body\nC: ."


class Machine(Protocol):
    """What both sans-IO machines are."""

    def feed(self, data: bytes, now: float) -> None: ...

    def to_send(self, now: float) -> bytes | memoryview: ...

    def expire(self) -> None: ...

    def lost(self, why: str) -> None: ...


def play(machine: Machine, transcript: str) -> None:
    """Hold the dialogue. The machine must say what the transcript says, when it says it, and nothing else."""
    for side, lines in turns(transcript):
        if side == "C":
            assert said(machine).split(b"\r\n")[:-1] == [line.encode() for line in lines]
            continue
        assert said(machine) == b"", "the machine speaks out of turn"
        match side:
            case "S":
                machine.feed("".join(f"{line}\r\n" for line in lines).encode(), 0.0)
            case "X":
                machine.lost("the server hung up")
            case "T":
                machine.expire()
    assert said(machine) == b"", "the machine says more than the transcript"


def said(machine: Machine, now: float = 0.0) -> bytes:
    """All that the machine has to say now."""
    return b"".join(bytes(data) for data in iter(lambda: machine.to_send(now), b""))


def mail(key: object = 1, *recipients: str, **changes: object) -> OutgoingMail:
    """A small mail; it has one recipient where none is given."""
    fields: dict[str, object] = {
        "reverse_path": "a@sender.example",
        "recipients": recipients or ("b@mx.example",),
        "content": CONTENT,
        "eight_bit": False,
        "smtputf8": False,
        "key": key,
    }
    return OutgoingMail(**{**fields, **changes})  # type: ignore[arg-type]  # a table's row names what differs


def told(results: Iterable[MailResult]) -> list[str]:
    """`1: delivered 250 ok, bounced 550 no` or `2: untouched`. Verdicts of our own are told without their text."""
    return [f"{result.mail.key}: {_outcomes(result)}" for result in results]


def in_words(outcome: Outcome) -> str:
    """`deferred 451 4.4.2 in doubt`"""
    assert isinstance(outcome, Delivered | Deferred | Bounced)
    reply = outcome.reply
    parts = [type(outcome).__name__.lower(), str(reply) if reply.remote else f"{reply.code} {reply.enhanced}"]
    if isinstance(outcome, Deferred) and outcome.in_doubt:
        parts.append("in doubt")
    return " ".join(parts)


def _outcomes(result: MailResult) -> str:
    if isinstance(result, Sent):
        return ", ".join(in_words(outcome) for outcome in result.outcomes)
    return "untouched"


def turns(transcript: str) -> Iterator[tuple[str, list[str]]]:
    """An empty line, or a change of sides, is a break."""
    lines = dedent(transcript).strip("\n").split("\n")
    numbered = [(line[:2], line[3:], sum(not other for other in lines[:index])) for index, line in enumerate(lines)]
    for (side, _), turn in groupby((entry for entry in numbered if entry[0]), key=lambda entry: (entry[0], entry[2])):
        assert side[1:] == ":", f"no line of a transcript: {side}"
        yield side[0], [text for _, text, _ in turn]
