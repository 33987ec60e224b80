"""Sessions opening, as transcripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sender.extensions import Extensions
from services.sender.login import Login
from services.sender.opening import NotOpened, Opened, Stage
from tests.support.openings import EHLO, ENABLE, NONE, QUIT, REQUIRE, TLS_1_3, opening, result
from tests.support.transcript import play, said

LOGIN = Login(b"robot", b"s3cret", allow_plaintext=False)
IN_CLEAR = Login(b"robot", b"s3cret", allow_plaintext=True)
CRAM = Login(b"robot", b"s3cret", allow_plaintext=True, mechanisms=("CRAM-MD5", "LOGIN"))
TOKEN = Login(b"robot", b"", allow_plaintext=True, token=b"t")

# -- greeting and EHLO


@pytest.mark.checklist(34)
def test_nothing_is_said_before_the_greeting_is_complete():
    machine = opening()
    play(machine, "S: 220-mx.example")
    assert said(machine) == b""
    play(machine, "S: 220 ESMTP\nC: EHLO us.example\nS: 250 mx.example")
    assert machine.result == Opened(Extensions(server="mx.example"))


@pytest.mark.checklist(35, 36, 37, 38, 47, 48, 80)
@pytest.mark.parametrize(
    ("transcript", "expected"),
    [
        (f"{EHLO}S: 250-mx.example hello\nS: 250 PIPELINING", "opened"),
        (f"S: 421 4.3.2 busy{QUIT}", "greeting: 421 4.3.2"),
        (f"S: 554 5.7.1 go away{QUIT}", "greeting: 554 5.7.1"),
        (f"S: 521 no mail here{QUIT}", "greeting: 521"),
        *((f"{EHLO}S: {code} what?\nC: HELO us.example\nS: 250 mx.example", "opened") for code in (500, 501, 502, 504)),
        (f"{EHLO}S: 550 no\nC: HELO us.example\nS: 250 mx.example", "opened"),
        (f"{EHLO}S: 500 what?\nC: HELO us.example\nS: 550 no{QUIT}", "hello: 550"),
        (f"{EHLO}S: 421 busy{QUIT}", "hello: 421"),
        (f"{EHLO}S: 450 later{QUIT}", "hello: 450"),
        (f"{EHLO}X: hangs up", "hello: 451 4.4.2"),
        ("X: hangs up", "hello: 451 4.4.2"),
        ("T: waits in vain", "hello: 451 4.4.2"),
        (f"{EHLO}T: waits in vain", "hello: 451 4.4.2"),
        ("S: SSH-2.0-OpenSSH_9.2", "hello: 451 4.5.0"),
        ("S: 354 go", "hello: 451 4.5.0"),
        (f"{EHLO}S: 334 go", "hello: 451 4.5.0"),
        ("S: 220 mx.example\nS: 250 mx.example", "hello: 451 4.5.0"),  # an answer to what was not yet asked
        (f"{EHLO}S: 250 mx.example\nS: 250 more", "hello: 451 4.5.0"),
        (f"{EHLO}S: 250 mx.example\nS: 421 bye", "hello: 421"),
        ("S: 220 mx.example\nS: 421 4.3.2 bye", "hello: 421 4.3.2"),  # before EHLO has left
        ("S: 220-mx.example\nS: 221 two codes", "hello: 451 4.5.0"),
    ],
)
def test_greeting_and_hello(transcript, expected):
    assert result(opening(), transcript) == expected


@pytest.mark.checklist(77)
@pytest.mark.parametrize("end", ["S: 221 bye", "S: nonsense", "X: hangs up", "T: waits in vain"])
def test_what_comes_after_quit_changes_no_verdict(end):
    assert result(opening(), f"S: 554 5.7.1 go away\nC: QUIT\n{end}") == "greeting: 554 5.7.1"


@pytest.mark.checklist(39)
def test_after_helo_there_are_no_extensions():
    machine = opening()
    play(machine, f"{EHLO}S: 500 what?\nC: HELO us.example\nS: 250-mx.example\nS: 250 PIPELINING")
    assert machine.result == Opened(Extensions(server="mx.example"))


@pytest.mark.checklist(41)
@pytest.mark.parametrize(
    ("name", "beware", "expected"),
    [("us.example", True, "loop: 554 5.4.6"), ("US.EXAMPLE", True, "loop: 554 5.4.6"),
     ("us.example", False, "opened"), ("them.example", True, "opened")],
)  # fmt: skip
def test_a_server_with_our_own_name_is_a_loop(name, beware, expected):
    end = QUIT if expected != "opened" else ""
    assert result(opening(beware_of_loops=beware), f"{EHLO}S: 250 {name} hello{end}") == expected


# -- TLS

OFFERED = f"{EHLO}S: 250-mx.example\nS: 250 STARTTLS\n"
SECURED = "C: STARTTLS\nS: 220 go\nH: done\nC: EHLO us.example\n"


@pytest.mark.checklist(120)
@pytest.mark.parametrize("offer", [OFFERED, f"{EHLO}S: 250-mx.example\nS: 250-SIZE 1\nS: 250 STARTTLS\n"])
def test_mode_none_says_no_starttls(offer):
    assert result(opening(NONE), offer) == "opened"


@pytest.mark.checklist(125, 126)
@pytest.mark.parametrize("policy", [ENABLE, REQUIRE])
def test_starttls_goes_alone_and_ehlo_is_repeated_after_it(policy):
    assert result(opening(policy), f"{OFFERED}{SECURED}S: 250 mx.example") == "opened"


@pytest.mark.checklist(127)
@pytest.mark.parametrize("policy", [ENABLE, REQUIRE])
def test_starttls_offered_inside_tls_is_ignored(policy):
    assert result(opening(policy), f"{OFFERED}{SECURED}S: 250-mx.example\nS: 250 STARTTLS") == "opened"


@pytest.mark.checklist(121, 156)
@pytest.mark.parametrize(
    ("transcript", "expected"),
    [
        (f"{EHLO}S: 250 mx.example{QUIT}", "tls: 451 4.7.4"),
        (f"{EHLO}S: 502 what?\nC: HELO us.example\nS: 250 mx.example{QUIT}", "tls: 451 4.7.4"),
        (f"{OFFERED}C: STARTTLS\nS: 454 4.7.0 not now{QUIT}", "tls later: 451 4.7.4"),
        (f"{OFFERED}C: STARTTLS\nS: 501 what?{QUIT}", "tls: 451 4.7.4"),
        (f"{OFFERED}C: STARTTLS\nS: 554 no{QUIT}", "tls: 451 4.7.4"),
    ],
)
def test_mode_require_says_no_mail_without_tls(transcript, expected):
    assert result(opening(REQUIRE), transcript) == expected


@pytest.mark.checklist(122, 132)
@pytest.mark.parametrize(
    ("transcript", "expected"),
    [
        (f"{EHLO}S: 250 mx.example", "opened"),
        # Another host may have TLS: what becomes of this one is decided when all were asked.
        (f"{OFFERED}C: STARTTLS\nS: 454 4.7.0 not now{QUIT}", "tls later: 451 4.7.4"),
        (f"{OFFERED}C: STARTTLS\nS: 502 what?{QUIT}", "tls: 451 4.7.4"),
        (f"{OFFERED}C: STARTTLS\nX: hangs up", "tls: 451 4.4.2"),
        (f"{OFFERED}C: STARTTLS\nT: waits in vain", "tls: 451 4.4.2"),
        (f"{OFFERED}C: STARTTLS\nS: 421 bye{QUIT}", "tls later: 421"),
        (f"{OFFERED}{SECURED}X: hangs up", "tls: 451 4.4.2"),  # with TLS 1.3, it may refuse us only then
        (f"{OFFERED}{SECURED}S: 500 what?\nC: HELO us.example\nX: hangs up", "hello: 451 4.4.2"),
        (f"{OFFERED}{SECURED}S: 500 what?\nC: HELO us.example\nS: 250 mx.example", "opened"),
    ],
)
def test_mode_enable_goes_on_in_plaintext_only_where_no_tls_is_offered(transcript, expected):
    assert result(opening(ENABLE), transcript) == expected


@pytest.mark.checklist(124)
@pytest.mark.parametrize("injected", ["S: 220 go\nS: 250 injected", "S: 220 go\n\nS: 250 injected"])
@pytest.mark.parametrize("policy", [ENABLE, REQUIRE])
def test_what_comes_between_starttls_and_the_handshake_closes_the_connection(policy, injected):
    assert result(opening(policy), f"{OFFERED}C: STARTTLS\n{injected}") == "tls: 451 4.7.5"


@pytest.mark.checklist(124)
@pytest.mark.parametrize("injected", [b"220 go\r\n2", b"220 go\r\n\x16\x03\x03"])
def test_a_single_octet_is_enough(injected):
    machine = opening(ENABLE)
    play(machine, f"{OFFERED}C: STARTTLS")
    machine.feed(injected, 0.0)
    assert machine.closed


@pytest.mark.checklist(125)
def test_what_was_offered_before_tls_is_forgotten():
    machine = opening(ENABLE)
    before = f"{EHLO}S: 250-mx.example\nS: 250-SIZE 1\nS: 250-AUTH PLAIN\nS: 250 STARTTLS\n"
    assert result(machine, f"{before}{SECURED}S: 250 mx.example") == "opened"
    assert machine.result == Opened(Extensions(server="mx.example"))


@pytest.mark.checklist(130)
def test_implicit_tls_comes_before_the_greeting():
    machine = opening(REQUIRE, implicit_tls=True)
    assert result(machine, f"\nH: done\n{EHLO}S: 250-mx.example\nS: 250 STARTTLS") == "opened"


def test_a_failed_handshake_is_the_end():
    machine = opening(ENABLE)
    play(machine, f"{OFFERED}C: STARTTLS\nS: 220 go")
    machine.not_secured("wrong version number")
    assert isinstance(machine.result, NotOpened)
    assert machine.result.stage is Stage.TLS
    assert "wrong version number" in machine.result.reply.text


# -- deadlines


@pytest.mark.checklist(80, 87, 88)
def test_each_step_has_its_own_time():
    machine = opening(ENABLE, IN_CLEAR)
    machine.start(10)
    assert machine.deadline == 10 + 300
    machine.feed(b"2", 20)
    assert machine.deadline == 10 + 300
    machine.feed(b"20 mx.example\r\n", 30)
    said(machine)
    assert machine.deadline == 30 + 300
    machine.feed(b"250-mx.example\r\n250 STARTTLS\r\n", 40)
    said(machine)
    machine.feed(b"220 go\r\n", 50)
    assert machine.deadline == float("inf")  # the handshake has a limit of the driver's
    machine.secured(60, TLS_1_3)
    said(machine)
    assert machine.deadline == 60 + 300
    machine.feed(b"250-mx.example\r\n250 AUTH PLAIN\r\n", 70)
    said(machine)
    assert machine.deadline == 70 + 180
    machine.feed(b"535 no\r\n", 80)
    assert machine.deadline == 80 + 5


# -- whatever comes

HANDSHAKE = b"(the handshake is done)"
_PIECES = [
    b"220 mx\r\n", b"250-mx\r\n", b"250 STARTTLS\r\n", b"250 AUTH PLAIN\r\n", b"334 x\r\n", b"235 ok\r\n",
    b"250 AUTH SCRAM-SHA-256 XOAUTH2 CRAM-MD5 LOGIN\r\n", b"334 YQ==\r\n", b"334 cj14LHM9eCxpPTQwOTY=\r\n",
    b"535 no\r\n", b"421 bye\r\n", b"\x16\x03", b"\r\n", b"2", b"500 x\r\n",
]  # fmt: skip


_WHATEVER = st.lists(st.one_of(st.sampled_from(_PIECES), st.binary(max_size=3), st.just(HANDSHAKE)), max_size=30)


@given(st.sampled_from([NONE, ENABLE, REQUIRE]), st.sampled_from([None, LOGIN, IN_CLEAR, CRAM, TOKEN]), _WHATEVER)
def test_random_octets_neither_hang_nor_crash(policy, login, pieces):
    machine = opening(policy, login)
    for piece in pieces:
        if piece == HANDSHAKE and machine.wants_handshake:
            machine.secured(0.0, TLS_1_3)
        elif not machine.closed:
            machine.feed(piece, 0.0)
            said(machine)
    machine.lost("the server hung up")
    assert isinstance(machine.result, NotOpened)
