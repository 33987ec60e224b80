"""What smtp-sink can do wrong, against the sender's connection: each of its options for faults, on each command."""

import re
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import uvloop

from services.sender.connection import Connection
from services.sender.envelope import OutgoingMail
from tests.support.connections import all_results, at, reached
from tests.support.postfix import SmtpSink
from tests.support.transcript import in_words, mail, told

OK = "delivered 250 2.0.0 Ok"
LOST = "deferred 451 4.4.2"
CLOSING = "deferred 421 4.0.0 Server closing connection"
SOFT = "deferred 450 4.3.0 Error: command failed"
HARD = "bounced 500 5.3.0 Error: command failed"
THE_REST_UNTOUCHED = ["2: untouched", "3: untouched"]

EIGHT_BIT = {"content": "Subject: hi\r\n\r\nGrüße\r\n".encode(), "eight_bit": True}
# More than a window of 4 KiB and the buffers of this side hold: the sender has to wait with the rest.
BUFFERED = int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[2])
LARGE = {"content": b"Subject: hi\r\n\r\n" + b"0123456789abcdef\r\n" * (2 * BUFFERED // 18)}
WANTS_REPORTS = {"id": "m-1", "notify": "success,failure", "ret": "hdrs"}


def each(outcome: str) -> list[str]:
    """The same for all of three mails."""
    return [f"{number}: {outcome}" for number in (1, 2, 3)]


def first(outcome: str) -> list[str]:
    """The connection ends with the first of three mails."""
    return [f"1: {outcome}", *THE_REST_UNTOUCHED]


async def outcomes(
    options: Sequence[str], mails: Sequence[OutgoingMail] = (mail(1), mail(2), mail(3)), **limits: float
) -> list[str] | str:
    """What becomes of three small mails; a text when no session came about. `limits` are time-outs in seconds."""
    with SmtpSink(*options) as sink:
        timeouts = {name: timedelta(seconds=limit) for name, limit in limits.items()}
        connection = await reached(at(sink.port), **timeouts)
        if not isinstance(connection, Connection):
            return in_words(connection.outcome)
        connection.submit(mails)
        results = await all_results(connection)
        await connection.quit()
        assert connection.closed
        return told(sorted(results, key=lambda result: str(result.mail.key)))


def told_of(options: str, *mails: OutgoingMail, **limits: float) -> list[str] | str:
    """As `outcomes`."""
    return uvloop.run(outcomes(options.split(), mails or (mail(1), mail(2), mail(3)), **limits))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("CONNECT", LOST),
        pytest.param("EHLO", LOST, marks=pytest.mark.checklist(38)),
        pytest.param("MAIL", first(LOST), marks=pytest.mark.checklist(73)),
        pytest.param("RCPT", first(LOST), marks=pytest.mark.checklist(73)),
        pytest.param("DATA", first(LOST), marks=pytest.mark.checklist(73)),
        pytest.param(".", first(f"{LOST} in doubt"), marks=pytest.mark.checklist(75)),
        pytest.param("RSET -f RCPT", first(HARD), marks=pytest.mark.checklist(71, 74)),
        pytest.param("QUIT", each(OK), marks=pytest.mark.checklist(77)),
    ],
)
def test_it_hangs_up_without_a_word(command: str, expected: list[str] | str):
    assert told_of(f"-q {command}") == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        pytest.param("CONNECT", CLOSING, marks=pytest.mark.checklist(35, 72)),
        pytest.param("EHLO", CLOSING, marks=pytest.mark.checklist(72)),
        pytest.param("MAIL", first(CLOSING), marks=pytest.mark.checklist(72)),
        pytest.param("RCPT", first(CLOSING), marks=pytest.mark.checklist(72)),
        pytest.param("DATA", first(CLOSING), marks=pytest.mark.checklist(72)),
        pytest.param(".", first(CLOSING), marks=pytest.mark.checklist(72)),  # an answer: no doubt
        pytest.param("RSET -f RCPT", first(HARD), marks=pytest.mark.checklist(71, 72)),
        pytest.param("QUIT", each(OK), marks=pytest.mark.checklist(77)),
    ],
)
def test_it_says_421_and_hangs_up(command: str, expected: list[str] | str):
    assert told_of(f"-Q {command}") == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        pytest.param("CONNECT", SOFT, marks=pytest.mark.checklist(35)),
        ("EHLO", SOFT),
        pytest.param("MAIL", each(SOFT), marks=pytest.mark.checklist(68)),
        ("RCPT", each(SOFT)),
        ("DATA", each(SOFT)),
        pytest.param(".", each(SOFT), marks=pytest.mark.checklist(69)),
        pytest.param("RSET,RCPT", first(SOFT), marks=pytest.mark.checklist(71)),
        pytest.param("QUIT", each(OK), marks=pytest.mark.checklist(77)),
    ],
)
def test_it_refuses_for_now(command: str, expected: list[str] | str):
    assert told_of(f"-r {command}") == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        pytest.param("CONNECT", HARD, marks=pytest.mark.checklist(36)),
        pytest.param("EHLO", each(OK), marks=pytest.mark.checklist(37, 39)),
        ("EHLO,HELO", "deferred 500 5.3.0 Error: command failed"),  # a verdict on us, not on the mail
        pytest.param("MAIL", each(HARD), marks=pytest.mark.checklist(68)),
        ("RCPT", each(HARD)),
        pytest.param("RCPT,DATA", each(HARD), marks=pytest.mark.checklist(67)),
        ("DATA", each(HARD)),
        pytest.param(".", each(HARD), marks=pytest.mark.checklist(69)),
        pytest.param("RSET,RCPT", first(HARD), marks=pytest.mark.checklist(71)),
        pytest.param("QUIT", each(OK), marks=pytest.mark.checklist(77)),
    ],
)
def test_it_refuses_for_good(command: str, expected: list[str] | str):
    assert told_of(f"-f {command}") == expected


# smtp-sink carries out a delayed command last, and answers those that came in the same group before it. RFC 2920
# section 3.2 forbids that, so delays go without PIPELINING; what it does with it is a scenario of its own.
@pytest.mark.parametrize(
    ("command", "limit", "expected"),
    [
        pytest.param("CONNECT", "greeting", LOST, marks=pytest.mark.checklist(80, 89)),
        ("EHLO", "hello", LOST),
        pytest.param("MAIL", "mail", first(LOST), marks=pytest.mark.checklist(81, 89)),
        pytest.param("RCPT", "recipient", first(LOST), marks=pytest.mark.checklist(82, 89)),
        pytest.param("DATA", "data", first(LOST), marks=pytest.mark.checklist(83, 89)),
        pytest.param(".", "final_dot", first(f"{LOST} in doubt"), marks=pytest.mark.checklist(75, 85, 89)),
        pytest.param("QUIT", "quit", each(OK), marks=pytest.mark.checklist(77, 88)),
    ],
)
def test_it_answers_too_late(command: str, limit: str, expected: list[str] | str):
    assert told_of(f"-p -W {command}:20", **{limit: 0.1}) == expected


@pytest.mark.checklist(86)
def test_it_answers_late_but_in_time():
    # Two seconds for the mail: each limit is for one command.
    limits = {"mail": 1.9, "recipient": 1.9, "data": 1.9, "final_dot": 1.9}
    assert told_of("-p -W DATA:1 -W .:1", mail(1), **limits) == [f"1: {OK}"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        # "503 need MAIL" comes as the answer to MAIL: a disorder of the server's, and no verdict on the mail.
        ("MAIL", first("deferred 503 5.5.1 Error: need MAIL command")),
        ("RCPT", first("deferred 503 5.5.1 Error: need RCPT command")),
        # The mail behind it is in the middle of what the server has mixed up.
        pytest.param(
            ".",
            ["1: delivered 250 2.1.0 Ok", "2: deferred 451 4.5.0", "3: untouched"],
            marks=pytest.mark.checklist(104),
        ),
    ],
)
def test_it_answers_in_another_order_than_it_was_asked(command: str, expected: list[str]):
    assert told_of(f"-W {command}:1") == expected


@pytest.mark.checklist(86)
def test_it_reads_late():
    assert told_of("-H 1 -T 4096", mail(1, **LARGE), mail(2)) == [f"1: {OK}", f"2: {OK}"]


@pytest.mark.checklist(84)
def test_it_reads_too_late():
    assert told_of("-H 20 -T 4096", mail(1, **LARGE), mail(2), block=0.2) == [f"1: {LOST}", "2: untouched"]


@pytest.mark.parametrize("delay", [0, 1])
@pytest.mark.parametrize(
    ("content", "lost"),
    [({}, f"{LOST} in doubt"), (LARGE, LOST)],
    ids=["with the final dot out", "before the final dot"],
)
def test_it_refuses_in_the_middle_of_the_content(content: dict[str, bytes], lost: str, delay: int):
    refused, behind = told_of(f"-A {delay} -T 4096", mail(1, **content), mail(2))
    # It does not read what we send and closes: that may take its own last word away from us.
    assert refused in ("1: bounced 550 This violates SMTP", f"1: {lost}")
    assert behind == "2: untouched"


# -- what it does not offer


NO_PARAMETERS = "<a@sender.example> <b@mx.example>"
WITH_DSN = f"ESMTP {NO_PARAMETERS} ORCPT=rfc822;b@mx.example"


def _dumped(folder: Path) -> list[str]:
    """The envelopes of the mails that came, as smtp-sink writes them."""
    return [
        " ".join(re.findall(r"^X-(?:Client-Proto|Mail-Args|Rcpt-Args): (.*)$", file.read_text("latin-1"), re.MULTILINE))
        for file in sorted(folder.iterdir())
    ]


@pytest.mark.parametrize(
    ("options", "submitted", "expected", "arrived"),
    [
        pytest.param("-p", {}, OK, WITH_DSN, marks=pytest.mark.checklist(98), id="no PIPELINING"),
        pytest.param("-8", {}, OK, WITH_DSN, marks=pytest.mark.checklist(110), id="no 8BITMIME"),
        pytest.param(
            "-8",
            EIGHT_BIT,
            "bounced 554 5.6.3",
            WITH_DSN,
            marks=pytest.mark.checklist(109, 110),
            id="no 8BITMIME, and the mail is eight-bit",
        ),
        pytest.param("-e", WANTS_REPORTS, OK, f"SMTP {NO_PARAMETERS}", marks=pytest.mark.checklist(39), id="no ESMTP"),
        pytest.param(
            "-e", EIGHT_BIT, "bounced 554 5.6.3", f"SMTP {NO_PARAMETERS}", id="no ESMTP, and the mail is eight-bit"
        ),
        pytest.param("-N", WANTS_REPORTS, OK, f"ESMTP {NO_PARAMETERS}", marks=pytest.mark.checklist(118), id="no DSN"),
    ],
)
def test_what_it_does_not_offer_is_not_used(options: str, submitted: dict[str, object], expected: str, arrived: str):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        results = told_of(f"{options} -d {folder}/mail.", mail(1, **submitted), mail(2))
        envelopes = _dumped(Path(folder))
    assert results == [f"1: {expected}", f"2: {OK}"]
    assert envelopes == [arrived] * (2 if expected == OK else 1)
