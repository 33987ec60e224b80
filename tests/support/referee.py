"""Who is right about an SMTP dialogue: reads the tape of both sides' octets, by rules as plain as can be.

It shares nothing with the client, so that a fault of the client's reading can not hide in both.
"""

import re
from collections.abc import Sequence

_REPLY_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])[^\n]*)?\n")
_LONGEST_LINE = 2048

Tape = Sequence[tuple[str, bytes]]  # "C" or "S", what that side sent next


def taken(tape: Tape) -> set[tuple[int, bytes]]:
    """The mails, by the number in their header `Key`, and the recipients for whom the server took them."""
    answers = replies(tape)
    said = _Said(tape)
    took: set[tuple[int, bytes]] = set()
    recipients: list[bytes] = []
    sender = False
    awaited = 1  # the greeting is the first reply
    while (command := said.line()) is not None:
        code, answered = answers[awaited] if awaited < len(answers) else (0, 0)
        awaited += 1
        yes = code // 100 == 2 and answered > said.at
        if command.startswith(b"MAIL"):
            sender, recipients = yes, []
        elif command.startswith(b"RCPT") and yes and sender:
            recipients.append(command[9 : command.index(b">")])
        elif command == b"DATA" and code == 354 and answered > said.at:
            content = said.content()
            code, answered = answers[awaited] if awaited < len(answers) else (0, 0)
            awaited += 1
            if content is not None and code // 100 == 2 and answered > said.at and recipients:
                key = int(content.split()[1])
                took |= {(key, recipient) for recipient in recipients}
            recipients = []
    return took


def replies(tape: Tape) -> list[tuple[int, int]]:
    """Code, and where on the tape its last octet is; up to the first octets that are no reply."""
    found: list[tuple[int, int]] = []
    codes: list[bytes] = []
    line = b""
    for place, octet in _octets(tape, "S"):
        line += octet
        if octet != b"\n":
            continue
        match = _REPLY_LINE.fullmatch(line.replace(b"\r\n", b"\n") if line.endswith(b"\r\n") else line)
        if match is None or len(line) > _LONGEST_LINE + 2 or any(match[1] != code for code in codes):
            break
        codes.append(match[1])
        if match[2] != b"-":
            found.append((int(match[1]), place))
            codes = []
        line = b""
    return found


def _octets(tape: Tape, side: str) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    place = 0
    for who, data in tape:
        for index in range(len(data)):
            place += 1
            if who == side:
                found.append((place, data[index : index + 1]))
    return found


class _Said:
    """What the client said, line by line."""

    def __init__(self, tape: Tape) -> None:
        octets = _octets(tape, "C")
        self._places = [place for place, _ in octets]
        self._left = b"".join(octet for _, octet in octets)
        self._taken = 0
        self.at = 0  # where on the tape the last octet of what was given is

    def line(self) -> bytes | None:
        return self._until(b"\r\n")

    def content(self) -> bytes | None:
        return (
            b"" if self._left.startswith(b".\r\n") and self._until(b".\r\n") is not None else self._until(b"\r\n.\r\n")
        )

    def _until(self, end: bytes) -> bytes | None:
        text, found, left = self._left.partition(end)
        if not found:
            return None
        self._taken += len(text) + len(end)
        self._left = left
        self.at = self._places[self._taken - 1]
        return text
