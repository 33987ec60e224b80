"""Whatever comes over SMTP is refused with a reason, or the scheduler finds nothing wrong where the gate looked."""

import asyncio
import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.head import Letter, read_letter
from services.gateway.input import Input, NotALine
from services.gateway.parcel import parcel
from services.scheduler.admission import admit
from shared.refusals import Invalid
from shared.settings import Settings
from tests.support.fuzz import AWKWARD, awkward_text, damaged, rounds

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OURS = ("hold", "send_at", "batch", "priority")  # what is judged at the gate, in the contract's words
GOOD = (
    b"X-Pillarbox-Hold: 5m\r\nFrom: Ann <a@x.example>\r\nX-Pillarbox-Send-At: 2026-03-02T12:00:00Z\r\n"
    b"Subject: x\r\nX-Pillarbox-Batch: =?utf-8?q?M=C3=A4rz?=\r\n\tmore\r\nX-Pillarbox-Priority: urgent\r\n\r\n"
    b"X-Pillarbox-Hold: text\r\n"
)
NAMES = ["From", "X-Pillarbox-Hold", "X-Pillarbox-Batch", "x-pillarbox-send-at", "X-Pillarbox-Priority", "Sender", "To"]
NAMES += ["traceparent", "Tracestate"]

headers = st.lists(st.tuples(st.sampled_from(NAMES), awkward_text), max_size=5)
written = headers.map(lambda pairs: "".join(f"{name}: {value}\r\n" for name, value in pairs).encode() + b"\r\nHi\r\n")
messages = damaged(st.just(GOOD)) | written.map(lambda octets: b"From: a@x.example\r\n" + octets) | written


def read(content: bytes) -> Letter | Invalid:
    try:
        return read_letter(content, NOW)
    except Invalid as refused:
        return refused


def refusal_by_the_scheduler(letter: Letter) -> Invalid | None:
    message = parcel("m1", letter.content, "a@x.example", ["b@y.example"], letter.wishes, None, "gate")
    try:
        admit(message.body, message.properties, Settings(), 1, NOW)
    except Invalid as refused:
        return refused
    return None


async def lines_of(pieces: list[bytes]) -> list[bytes]:
    taken, lines = Input(lambda _hold: None), list[bytes]()
    for piece in pieces:
        taken.feed(piece)
    for _ in range(b"".join(pieces).count(b"\r\n")):
        try:
            lines.append(await taken.line())
        except NotALine:
            break
    return lines


@rounds
@given(messages)
def test_what_the_gate_has_judged_the_scheduler_does_not_refuse(content: bytes):
    letter = read(content)
    if isinstance(letter, Invalid):
        assert letter.field
        assert letter.reason
        return
    refused = refusal_by_the_scheduler(letter)
    head = letter.content.partition(b"\r\n\r\n")[0]
    if refused is None:
        assert not re.search(rb"^(x-pillarbox-|traceparent:|tracestate:)", head, re.I | re.M)
    else:
        assert refused.field not in (*OURS, "From", "mail-from", "rcpt-to")


@rounds
@given(st.lists(st.sampled_from([piece.encode() for piece in AWKWARD]) | st.binary(max_size=6), max_size=12))
def test_lines_are_lines_and_nothing_else(pieces: list[bytes]):
    for line in asyncio.run(asyncio.wait_for(lines_of(pieces), 10)):
        assert line.endswith(b"\r\n")
        assert not {b"\r"[0], b"\n"[0], 0} & set(line[:-2])


def test_the_good_message_is_taken():
    letter = read(GOOD)
    assert isinstance(letter, Letter)
    assert letter.wishes["batch"] == "März\tmore"
