"""Sessions opening, as transcripts. Items are those of the outbound SMTP checklist, sections C, J and K."""

import base64
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sender.auth import Login, choose_mechanism
from services.sender.channel import Channel
from services.sender.extensions import Extensions
from services.sender.opening import Introduction, NotOpened, Opened, Opening, Stage, opening_of
from services.sender.reply_parser import ReplyParser
from services.sender.timeouts import Timeouts
from services.sender.tls import TlsPolicy
from shared.contracts import TlsMode
from tests.support.transcript import play, said

NONE, ENABLE, REQUIRE = (TlsPolicy(mode, verify=False) for mode in (TlsMode.NONE, TlsMode.ENABLE, TlsMode.REQUIRE))
EHLO = "S: 220 mx.example ESMTP\nC: EHLO us.example\n"
QUIT = "\nC: QUIT\nS: 221 bye"
TLS_1_3 = Channel("TLSv1.3", "TLS_AES_256_GCM_SHA384", "valid")


def opening(
    policy: TlsPolicy = NONE, login: Login | None = None, implicit_tls: bool = False, beware_of_loops: bool = False
) -> Opening:
    introduction = Introduction("us.example", policy, implicit_tls, login, beware_of_loops)
    return opening_of(introduction, Timeouts(), ReplyParser())


def result(machine: Opening, transcript: str) -> str:
    """`opened …` or the stage and the verdict; a line "H: done" is a handshake."""
    for number, part in enumerate(transcript.split("\nH: done\n")):
        if number:
            assert machine.wants_handshake, "no handshake was due"
            machine.secured(0.0, TLS_1_3)
        play(machine, part or "\n")
    match machine.result:
        case Opened():
            return "opened"
        case NotOpened(stage, reply):
            return f"{stage.value}: {reply.code} {reply.enhanced}".rstrip()
        case None:
            return "under way"


# -- greeting and EHLO


def test_nothing_is_said_before_the_greeting_is_complete():  # item 34
    machine = opening()
    play(machine, "S: 220-mx.example")
    assert said(machine) == b""
    play(machine, "S: 220 ESMTP\nC: EHLO us.example\nS: 250 mx.example")
    assert machine.result == Opened(Extensions(server="mx.example"))


@pytest.mark.parametrize(
    ("transcript", "expected"),
    [
        (f"{EHLO}S: 250-mx.example hello\nS: 250 PIPELINING", "opened"),
        (f"S: 421 4.3.2 busy{QUIT}", "greeting: 421 4.3.2"),  # item 35
        (f"S: 554 5.7.1 go away{QUIT}", "greeting: 554 5.7.1"),  # item 36
        (f"S: 521 no mail here{QUIT}", "greeting: 521"),
        (f"{EHLO}S: 502 what?\nC: HELO us.example\nS: 250 mx.example", "opened"),  # item 37
        (f"{EHLO}S: 550 no\nC: HELO us.example\nS: 250 mx.example", "opened"),
        (f"{EHLO}S: 500 what?\nC: HELO us.example\nS: 550 no{QUIT}", "hello: 550"),
        (f"{EHLO}S: 421 busy{QUIT}", "hello: 421"),
        (f"{EHLO}S: 450 later{QUIT}", "hello: 450"),
        (f"{EHLO}X: hangs up", "hello: 451 4.4.2"),  # item 38
        ("X: hangs up", "hello: 451 4.4.2"),
        ("T: waits in vain", "hello: 451 4.4.2"),  # item 80
        (f"{EHLO}T: waits in vain", "hello: 451 4.4.2"),
        ("S: SSH-2.0-OpenSSH_9.2", "hello: 451 4.5.0"),  # item 47
        ("S: 354 go", "hello: 451 4.5.0"),  # item 48
        (f"{EHLO}S: 334 go", "hello: 451 4.5.0"),
        ("S: 220 mx.example\nS: 250 mx.example", "hello: 451 4.5.0"),  # an answer to what was not yet asked
        (f"{EHLO}S: 250 mx.example\nS: 250 more", "hello: 451 4.5.0"),
        (f"{EHLO}S: 250 mx.example\nS: 421 bye", "hello: 421"),
    ],
)
def test_greeting_and_hello(transcript, expected):
    assert result(opening(), transcript) == expected


@pytest.mark.parametrize("end", ["S: 221 bye", "S: nonsense", "X: hangs up", "T: waits in vain"])
def test_what_comes_after_quit_changes_no_verdict(end):  # item 77
    assert result(opening(), f"S: 554 5.7.1 go away\nC: QUIT\n{end}") == "greeting: 554 5.7.1"


def test_after_helo_there_are_no_extensions():  # item 39
    machine = opening()
    play(machine, f"{EHLO}S: 500 what?\nC: HELO us.example\nS: 250-mx.example\nS: 250 PIPELINING")
    assert machine.result == Opened(Extensions(server="mx.example"))


@pytest.mark.parametrize(
    ("name", "beware", "expected"),
    [("us.example", True, "loop: 554 5.4.6"), ("US.EXAMPLE", True, "loop: 554 5.4.6"),
     ("us.example", False, "opened"), ("them.example", True, "opened")],
)  # fmt: skip
def test_a_server_with_our_own_name_is_a_loop(name, beware, expected):  # item 41
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


@pytest.mark.checklist(121)
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
        (f"{OFFERED}C: STARTTLS\nS: 421 bye{QUIT}", "tls: 421"),
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


# -- AUTH

LOGIN = Login(b"robot", b"s3cret", allow_plaintext=False)
IN_CLEAR = Login(b"robot", b"s3cret", allow_plaintext=True)


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


@pytest.mark.parametrize(
    ("offered", "may_show_password", "mechanism"),
    [
        ("LOGIN PLAIN CRAM-MD5", True, "PLAIN"),  # item 134
        ("LOGIN CRAM-MD5", True, "LOGIN"),
        ("CRAM-MD5", True, "CRAM-MD5"),
        ("LOGIN PLAIN CRAM-MD5", False, "CRAM-MD5"),  # item 133
        ("LOGIN PLAIN", False, None),
        ("XOAUTH2", True, None),
        ("", True, None),
    ],
)
def test_the_mechanism_depends_on_who_can_read_along(offered, may_show_password, mechanism):
    assert choose_mechanism(frozenset(offered.split()), may_show_password) == mechanism


def signing_in(mechanisms: str, dialogue: str, login: Login = IN_CLEAR) -> str:
    return result(opening(login=login), f"{EHLO}S: 250-mx.example\nS: 250 AUTH {mechanisms}\n{dialogue}")


PLAIN = f"C: AUTH PLAIN {b64(chr(0) + 'robot' + chr(0) + 's3cret')}"
CHALLENGE = "<1896.697170952@mx.example>"
DIGEST = hmac.new(b"s3cret", CHALLENGE.encode(), "md5").hexdigest()


@pytest.mark.parametrize(
    ("mechanisms", "dialogue", "expected"),
    [
        ("PLAIN", f"{PLAIN}\nS: 235 2.7.0 welcome", "opened"),  # item 135
        ("PLAIN", f"{PLAIN}\nS: 535 5.7.8 no{QUIT}", "auth: 535 5.7.8"),  # item 139
        ("PLAIN", f"{PLAIN}\nS: 454 4.7.0 later{QUIT}", "auth: 454 4.7.0"),  # item 140
        ("PLAIN", f"{PLAIN}\nS: 334 more\nC: *\nS: 501 gave up{QUIT}", "auth: 451 4.7.0"),
        ("PLAIN", f"{PLAIN}\nX: hangs up", "hello: 451 4.4.2"),
        ("PLAIN", f"{PLAIN}\nT: waits in vain", "hello: 451 4.4.2"),  # item 88
        ("LOGIN", f"C: AUTH LOGIN\nS: 334 {b64('Username:')}\nC: {b64('robot')}\nS: 334 {b64('Password:')}\n"
         f"C: {b64('s3cret')}\nS: 235 welcome", "opened"),
        ("LOGIN", f"C: AUTH LOGIN\nS: 334 who?\nC: {b64('robot')}\nS: 334\nC: {b64('s3cret')}\nS: 235 welcome",
         "opened"),  # item 137
        ("LOGIN", f"C: AUTH LOGIN\nS: 334\nC: {b64('robot')}\nS: 535 unknown{QUIT}", "auth: 535"),
        ("LOGIN", f"C: AUTH LOGIN\nS: 504 not today{QUIT}", "auth: 504"),
        ("CRAM-MD5", f"C: AUTH CRAM-MD5\nS: 334 {b64(CHALLENGE)}\nC: {b64('robot ' + DIGEST)}\nS: 235 welcome",
         "opened"),
        ("CRAM-MD5", f"C: AUTH CRAM-MD5\nS: 334 ?!\nC: *\nS: 501 gave up{QUIT}", "auth: 451 4.7.0"),  # item 136
        ("CRAM-MD5", f"C: AUTH CRAM-MD5\nS: 334 abc\nC: *\nS: 501 gave up{QUIT}", "auth: 451 4.7.0"),
        ("CRAM-MD5", f"C: AUTH CRAM-MD5\nS: 504 not today{QUIT}", "auth: 504"),
        ("XOAUTH2", "C: QUIT\nS: 221 bye", "auth: 451 4.7.0"),
        ("", "C: QUIT\nS: 221 bye", "auth: 451 4.7.0"),
    ],
)  # fmt: skip
def test_signing_in(mechanisms, dialogue, expected):
    assert signing_in(mechanisms, dialogue) == expected


def test_the_password_does_not_go_out_in_clear():  # item 133
    assert signing_in("PLAIN LOGIN", "C: QUIT\nS: 221 bye", LOGIN) == "auth: 451 4.7.0"
    cram = f"C: AUTH CRAM-MD5\nS: 334 {b64(CHALLENGE)}\nC: {b64('robot ' + DIGEST)}\nS: 235 welcome"
    assert signing_in("PLAIN CRAM-MD5", cram, LOGIN) == "opened"


@pytest.mark.parametrize("policy", [ENABLE, REQUIRE])
def test_inside_tls_the_password_may_be_shown(policy):
    offer = "S: 250-mx.example\nS: 250 AUTH PLAIN\n"
    transcript = f"{OFFERED}{SECURED}{offer}{PLAIN}\nS: 235 welcome"
    assert result(opening(policy, LOGIN), transcript) == "opened"


def test_a_response_too_long_for_its_command_goes_in_a_line_of_its_own():  # item 135
    long = Login(b"robot", b"x" * 500, allow_plaintext=True)
    response = b64(b"\0robot\0" + b"x" * 500)
    assert signing_in("PLAIN", f"C: AUTH PLAIN\nS: 334\nC: {response}\nS: 235 welcome", long) == "opened"


def test_secrets_are_in_no_repr_and_no_verdict():  # item 142
    machine = opening(login=IN_CLEAR)
    echo = f"S: 535 s3cret is wrong, or {b64('s3cret')}"
    result(machine, f"{EHLO}S: 250-mx.example\nS: 250 AUTH PLAIN\n{PLAIN}\n{echo}{QUIT}")
    shown = f"{IN_CLEAR} {machine.result} {machine._said} {vars(machine)}"
    assert "s3cret" not in shown
    assert b64("s3cret") not in shown
    assert "***" in shown


# -- deadlines


def test_each_step_has_its_own_time():  # items 80, 88
    machine = opening(ENABLE, IN_CLEAR)
    machine.start(10)
    assert machine.deadline == 10 + 300
    machine.feed(b"2", 20)
    assert machine.deadline == 10 + 300  # item 87
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
    b"535 no\r\n", b"421 bye\r\n", b"\x16\x03", b"\r\n", b"2", b"500 x\r\n",
]  # fmt: skip


_WHATEVER = st.lists(st.one_of(st.sampled_from(_PIECES), st.binary(max_size=3), st.just(HANDSHAKE)), max_size=30)


@given(st.sampled_from([NONE, ENABLE, REQUIRE]), st.sampled_from([None, LOGIN, IN_CLEAR]), _WHATEVER)
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
