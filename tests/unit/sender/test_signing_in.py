"""Signing in, as transcripts (RFC 4954)."""

import base64
import hmac
import json
from hashlib import pbkdf2_hmac, sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sender.auth import choose_mechanism
from services.sender.channel import Channel
from services.sender.extensions import Extensions
from services.sender.login import Login
from services.sender.opening import NotOpened, Opened, Opening
from services.sender.scram import is_fit_for_scram
from tests.support.openings import EHLO, ENABLE, QUIT, REQUIRE, TLS_1_3, opening, result
from tests.support.transcript import said

LOGIN = Login(b"robot", b"s3cret", allow_plaintext=False)
IN_CLEAR = Login(b"robot", b"s3cret", allow_plaintext=True)
TOKEN = Login(b"robot@example.org", b"", allow_plaintext=True, token=b"ya29.token")
PLAINTEXT = Channel()
TLS_1_2 = Channel("TLSv1.2", "AES", "valid", {"tls-unique": b"u", "tls-server-end-point": b"e"})
ENDPOINT_ONLY = Channel("TLSv1.3", "AES", "valid", {"tls-server-end-point": b"e"})


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def only(*mechanisms: str, password: bytes = b"s3cret") -> Login:
    return Login(b"robot", password, allow_plaintext=True, mechanisms=mechanisms)


def signing_in(mechanisms: str, dialogue: str, login: Login = IN_CLEAR) -> str:
    return result(opening(login=login), f"{EHLO}S: 250-mx.example\nS: 250 AUTH {mechanisms}\n{dialogue}")


def begun(machine: Opening, mechanisms: str) -> bytes:
    """What it says first to a server that offers these mechanisms."""
    return told(machine, "220 mx.example") and told(machine, "250-mx.example", f"250 AUTH {mechanisms}")


def told(machine: Opening, *lines: str) -> bytes:
    """What it answers to a reply."""
    machine.feed("".join(f"{line}\r\n" for line in lines).encode(), 0.0)
    return said(machine)


# -- which mechanism

EVERYTHING = "LOGIN PLAIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-256-PLUS XOAUTH2 DIGEST-MD5 NTLM"


@pytest.mark.checklist(134)
@pytest.mark.parametrize(
    ("offered", "channel", "mechanism"),
    [
        (EVERYTHING, TLS_1_2, "SCRAM-SHA-256-PLUS"),
        (EVERYTHING, ENDPOINT_ONLY, "SCRAM-SHA-256"),  # tls-exporter is not to be had
        ("LOGIN PLAIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", TLS_1_2, "SCRAM-SHA-256"),
        ("LOGIN PLAIN CRAM-MD5 SCRAM-SHA-1", TLS_1_2, "SCRAM-SHA-1"),
        ("LOGIN PLAIN CRAM-MD5", TLS_1_2, "PLAIN"),
        ("LOGIN CRAM-MD5", TLS_1_2, "LOGIN"),
        ("CRAM-MD5", TLS_1_2, None),  # off unless it is set
        ("XOAUTH2 DIGEST-MD5", TLS_1_2, None),
        ("", TLS_1_2, None),
    ],
)
def test_what_gives_away_least_comes_first(offered, channel, mechanism):
    assert choose_mechanism(LOGIN, frozenset(offered.split()), channel) == mechanism


@pytest.mark.checklist(133)
@pytest.mark.parametrize(
    ("login", "mechanism"),
    [
        (LOGIN, "SCRAM-SHA-256"),
        (Login(b"robot", b"\xff", allow_plaintext=False), None),  # no text, so not for SCRAM
        (Login(b"robot", b"\xff", allow_plaintext=True), "PLAIN"),
        (Login(b"robot", b"", allow_plaintext=False, token=b"t"), None),
        (Login(b"robot", b"", allow_plaintext=True, token=b"t"), "XOAUTH2"),
    ],
)
def test_without_tls_a_secret_is_shown_only_where_that_is_allowed(login, mechanism):
    assert choose_mechanism(login, frozenset(EVERYTHING.split()), PLAINTEXT) == mechanism


@pytest.mark.checklist(134)
@pytest.mark.parametrize(
    ("mechanisms", "channel", "mechanism"),
    [
        (("LOGIN", "PLAIN"), TLS_1_3, "LOGIN"),
        (("CRAM-MD5",), TLS_1_3, "CRAM-MD5"),
        (("CRAM-MD5",), PLAINTEXT, "CRAM-MD5"),
        (("SCRAM-SHA-256-PLUS", "PLAIN"), ENDPOINT_ONLY, "SCRAM-SHA-256-PLUS"),  # somebody knows that it takes it
        (("SCRAM-SHA-256-PLUS", "PLAIN"), PLAINTEXT, "PLAIN"),  # nothing to bind to
        (("SCRAM-SHA-1",), TLS_1_3, "SCRAM-SHA-1"),
    ],
)
def test_the_mechanisms_that_are_set_are_used_in_their_order(mechanisms, channel, mechanism):
    assert choose_mechanism(only(*mechanisms), frozenset(EVERYTHING.split()), channel) == mechanism


def test_a_token_comes_before_a_password():
    both = Login(b"robot", b"s3cret", allow_plaintext=False, token=b"t")
    assert choose_mechanism(both, frozenset(EVERYTHING.split()), TLS_1_2) == "XOAUTH2"


# -- the dialogues

PLAIN = f"C: AUTH PLAIN {b64(chr(0) + 'robot' + chr(0) + 's3cret')}"
USER, PASSWORD = f"C: {b64('robot')}", f"C: {b64('s3cret')}"
NOBODY = "C: QUIT\nS: 221 bye"


@pytest.mark.checklist(135)
def test_plain_goes_with_its_command():
    assert signing_in("PLAIN", f"{PLAIN}\nS: 235 2.7.0 welcome") == "opened"


@pytest.mark.checklist(135)
@pytest.mark.parametrize(
    ("password", "with_its_command"),
    [(b"x" * 365, True), (b"x" * 366, False), (b"x" * 500, False)],  # 512 octets with CRLF are the limit
)
def test_a_response_too_long_for_its_command_goes_in_a_line_of_its_own(password, with_its_command):
    response = b64(b"\0robot\0" + password)
    dialogue = f"C: AUTH PLAIN {response}" if with_its_command else f"C: AUTH PLAIN\nS: 334\nC: {response}"
    assert signing_in("PLAIN", f"{dialogue}\nS: 235 welcome", only("PLAIN", password=password)) == "opened"


@pytest.mark.checklist(140)
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("454 4.7.0 later", "auth: 454 4.7.0"),
        ("432 4.7.12 a password transition is needed", "auth: 432 4.7.12"),
        ("421 4.3.2 bye", "auth: 421 4.3.2"),
        ("535 5.7.8 no", "auth: 535 5.7.8"),
        ("534 5.7.9 too weak", "auth: 534 5.7.9"),
        ("538 5.7.11 not in clear", "auth: 538 5.7.11"),
    ],
)
def test_a_refusal_is_the_end_of_the_session(reply, expected):
    assert signing_in("PLAIN", f"{PLAIN}\nS: {reply}{QUIT}") == expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (f"S: 334 more\nC: *\nS: 501 gave up{QUIT}", "auth: 451 4.7.0"),
        ("X: hangs up", "hello: 451 4.4.2"),
        ("T: waits in vain", "hello: 451 4.4.2"),  # item 88
        ("S: 354 go", "hello: 451 4.5.0"),
    ],
)
def test_what_is_no_verdict_on_a_password_is_none(event, expected):
    assert signing_in("PLAIN", f"{PLAIN}\n{event}") == expected


@pytest.mark.checklist(137)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b64("Username:"), b64("Password:")),
        (b64("User Name\0"), b64("Password\0")),
        ("who?", ""),  # no base64
        (b64("Contraseña"), b64("usuario")),
    ],
)
def test_login_answers_any_prompts_in_their_order(first, second):
    prompts = f"S: 334 {first}".rstrip(), f"S: 334 {second}".rstrip()
    dialogue = f"C: AUTH LOGIN\n{prompts[0]}\n{USER}\n{prompts[1]}\n{PASSWORD}\nS: 235 welcome"
    assert signing_in("LOGIN", dialogue) == "opened"


@pytest.mark.checklist(137)
@pytest.mark.parametrize(
    ("dialogue", "expected"),
    [
        # It takes no response with the command, so none can be refused.
        (f"C: AUTH LOGIN\nS: 501 no{QUIT}", "auth: 501"),
        (f"C: AUTH LOGIN\nS: 504 not today{QUIT}", "auth: 504"),
        (f"C: AUTH LOGIN\nS: 334\n{USER}\nS: 535 unknown{QUIT}", "auth: 535"),
        (f"C: AUTH LOGIN\nS: 334\n{USER}\nS: 334\n{PASSWORD}\nS: 535 no{QUIT}", "auth: 535"),
        (f"C: AUTH LOGIN\nS: 334\n{USER}\nS: 334\n{PASSWORD}\nS: 334 a third?\nC: *\nS: 501 fine{QUIT}",
         "auth: 451 4.7.0"),
    ],
)  # fmt: skip
def test_login_ends_where_the_server_ends_it(dialogue, expected):
    assert signing_in("LOGIN", dialogue) == expected


CHALLENGE = "<1896.697170952@mx.example>"
DIGEST = hmac.new(b"s3cret", CHALLENGE.encode(), "md5").hexdigest()
CRAM = only("CRAM-MD5")


def test_cram_md5():
    dialogue = f"C: AUTH CRAM-MD5\nS: 334 {b64(CHALLENGE)}\nC: {b64('robot ' + DIGEST)}\nS: 235 welcome"
    assert signing_in("CRAM-MD5", dialogue, CRAM) == "opened"
    assert signing_in("CRAM-MD5", f"C: AUTH CRAM-MD5\nS: 504 not today{QUIT}", CRAM) == "auth: 504"


BAD_CHALLENGES = ["?!", "abc", "YQ", "YQ=", "YQ==YQ==", "Y Q==", "YQ==\u00e9", "=YQ=", "YWJj\n334 ZGVm"]


@pytest.mark.checklist(136)
@pytest.mark.parametrize("challenge", BAD_CHALLENGES)
@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "SCRAM-SHA-256"])
def test_a_challenge_that_is_not_strictly_base64_is_cancelled(challenge, mechanism):
    machine = opening(login=only(mechanism))
    assert begun(machine, mechanism).startswith(f"AUTH {mechanism}".encode())
    reply = f"334-{challenge}" if "\n" in challenge else f"334 {challenge}"
    assert told(machine, reply) == b"*\r\n"
    assert result(machine, f"S: 501 5.5.0 gave up{QUIT}") == "auth: 451 4.7.0"


XOAUTH2 = f"C: AUTH XOAUTH2 {b64('user=robot@example.org' + chr(1) + 'auth=Bearer ya29.token' + chr(1) + chr(1))}"


@pytest.mark.checklist(138)
@pytest.mark.parametrize(
    ("dialogue", "expected"),
    [
        (f"{XOAUTH2}\nS: 235 2.7.0 welcome", "opened"),
        (f"{XOAUTH2}\nS: 334 {b64(json.dumps({'status': '401'}))}\nC: \nS: 535 5.7.8 no{QUIT}", "auth: 535 5.7.8"),
        (f"{XOAUTH2}\nS: 334 no base64\nC: \nS: 535 5.7.8 no{QUIT}", "auth: 535 5.7.8"),
        (f"{XOAUTH2}\nS: 334\nC: \nS: 334 again\nC: *\nS: 501 fine{QUIT}", "auth: 451 4.7.0"),
        (f"{XOAUTH2}\nS: 535 5.7.8 no{QUIT}", "auth: 535 5.7.8"),
    ],
)
def test_xoauth2(dialogue, expected):
    assert signing_in("XOAUTH2", dialogue, TOKEN) == expected


def test_a_long_token_goes_in_a_line_of_its_own():
    token = b"t" * 2000
    response = b64(b"user=robot\x01auth=Bearer " + token + b"\x01\x01")
    login = Login(b"robot", b"", allow_plaintext=True, token=token)
    assert signing_in("XOAUTH2", f"C: AUTH XOAUTH2\nS: 334\nC: {response}\nS: 235 welcome", login) == "opened"


@pytest.mark.checklist(133)
@pytest.mark.parametrize("offered", ["PLAIN LOGIN", "XOAUTH2", "", "DIGEST-MD5"])
@pytest.mark.parametrize("secrets", [{}, {"token": b"t"}])
def test_no_secret_goes_out_in_clear(offered, secrets):
    login = Login(b"robot", b"s3cret", allow_plaintext=False, **secrets)
    assert signing_in(offered, NOBODY, login) == "auth: 451 4.7.0"


@pytest.mark.parametrize("policy", [ENABLE, REQUIRE])
def test_inside_tls_the_password_may_be_shown(policy):
    offered = f"{EHLO}S: 250-mx.example\nS: 250 STARTTLS\n"
    secured = "C: STARTTLS\nS: 220 go\nH: done\nC: EHLO us.example\nS: 250-mx.example\nS: 250 AUTH PLAIN\n"
    machine = opening(policy, LOGIN)
    assert result(machine, f"{offered}{secured}{PLAIN}\nS: 235 welcome") == "opened"
    assert machine.result == Opened(Extensions(server="mx.example", auth=frozenset({"PLAIN"})), "PLAIN")


# -- SCRAM

# RFC 7677 section 3, and RFC 5802 section 5.
VECTORS = {
    "SCRAM-SHA-256": (
        "rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
    "SCRAM-SHA-1": (
        "fyko+d2lbbFgONRv9qkxdawL",
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
}
PENCIL = Login(b"user", b"pencil", allow_plaintext=False)


@pytest.fixture(params=VECTORS)
def example(request, monkeypatch):
    """Mechanism, and a transcript up to the client's proof, as the RFC has them; then what proves the server."""
    nonce, first, final, proof = VECTORS[request.param]
    monkeypatch.setattr("scramp.core.token_hex", lambda: nonce)
    start = f"C: AUTH {request.param} {b64('n,,n=user,r=' + nonce)}\nS: 334 {b64(first)}\nC: {b64(final)}\n"
    return request.param, start, proof


@pytest.mark.checklist(141)
def test_scram_by_the_examples_of_its_rfcs(example):
    mechanism, start, proof = example
    assert signing_in(mechanism, f"{start}S: 334 {b64(proof)}\nC: \nS: 235 welcome", PENCIL) == "opened"


@pytest.mark.checklist(141)
@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (f"S: 235 welcome{QUIT}", "auth: 451 4.7.0"),  # a server that proves nothing may be anybody
        (f"S: 334 {b64('v=' + b64('anything'))}\nC: *\nS: 501 gave up{QUIT}", "auth: 451 4.7.0"),
        (f"S: 334 {b64('v=')}\nC: *\nS: 501 gave up{QUIT}", "auth: 451 4.7.0"),
        (f"S: 334 {b64('x')}\nC: *\nS: 501 gave up{QUIT}", "auth: 451 4.7.0"),
        (f"S: 334 {b64('e=invalid-proof')}\nC: \nS: 535 5.7.8 no{QUIT}", "auth: 535 5.7.8"),
        (f"S: 334 {b64('e=invalid-proof')}\nC: \nS: 235 welcome all the same{QUIT}", "auth: 451 4.7.0"),
        (f"S: 535 5.7.8 no{QUIT}", "auth: 535 5.7.8"),
    ],
)
def test_a_server_that_does_not_prove_itself_gets_no_mail(example, end, expected):
    mechanism, start, _ = example
    assert signing_in(mechanism, start + end, PENCIL) == expected


@pytest.mark.checklist(141)
def test_a_server_that_proves_itself_may_still_refuse_us(example):
    mechanism, start, proof = example
    dialogue = f"{start}S: 334 {b64(proof)}\nC: \nS: 535 5.7.8 locked{QUIT}"
    assert signing_in(mechanism, dialogue, PENCIL) == "auth: 535 5.7.8"


@pytest.mark.checklist(141)
@pytest.mark.parametrize(
    "first",
    [
        "r={nonce}x,s=QSXCR+Q6sek8bf92QSXC,i=200001",  # more work than anybody needs
        "r={nonce}x,s=QSXCR+Q6sek8bf92QSXC,i=99999999999999999999",
        "r={nonce}x,s=QSXCR+Q6sek8bf92QSXC,i=1",  # so little that the password could be guessed
        "r={nonce}x,s=QSXCR+Q6sek8bf92QSXC",
        "r={nonce},s=QSXCR+Q6sek8bf92QSXC,i=4096",  # no nonce of the server's own
        "r=another,s=QSXCR+Q6sek8bf92QSXC,i=4096",
        "m=extension,r={nonce}x,s=QSXCR+Q6sek8bf92QSXC,i=4096",
        "e=other-error",
        "",
    ],
)
def test_a_first_message_that_can_not_be_trusted_is_cancelled(monkeypatch, first):
    monkeypatch.setattr("scramp.core.token_hex", lambda: "nonce")
    start = f"C: AUTH SCRAM-SHA-256 {b64('n,,n=user,r=nonce')}\nS: 334 {b64(first.format(nonce='nonce'))}".rstrip()
    assert signing_in("SCRAM-SHA-256", f"{start}\nC: *\nS: 501 gave up{QUIT}", PENCIL) == "auth: 451 4.7.0"


@pytest.mark.checklist(141)
@pytest.mark.parametrize(
    ("offered", "mechanisms", "channel", "header"),
    [
        ("SCRAM-SHA-256-PLUS SCRAM-SHA-256", (), TLS_1_2, b"p=tls-unique,,"),
        ("SCRAM-SHA-256-PLUS", ("SCRAM-SHA-256-PLUS",), ENDPOINT_ONLY, b"p=tls-server-end-point,,"),
        ("SCRAM-SHA-256", (), TLS_1_2, b"y,,"),  # we could: had it been offered, the server now refuses
        ("SCRAM-SHA-1", (), TLS_1_2, b"y,,"),
        ("SCRAM-SHA-256", (), ENDPOINT_ONLY, b"n,,"),
        ("SCRAM-SHA-256-PLUS SCRAM-SHA-256", ("SCRAM-SHA-256",), TLS_1_2, b"n,,"),
    ],
)
def test_what_is_said_of_channel_binding(offered, mechanisms, channel, header):
    machine = opening(REQUIRE, Login(b"user", b"pencil", False, mechanisms=mechanisms), implicit_tls=True)
    machine.secured(0.0, channel)
    assert base64.b64decode(begun(machine, offered).split()[2]).startswith(header)


@pytest.mark.checklist(141)
@pytest.mark.parametrize(
    ("mechanisms", "channel", "name"),
    [((), TLS_1_2, "tls-unique"), (("SCRAM-SHA-256-PLUS",), ENDPOINT_ONLY, "tls-server-end-point")],
)
@pytest.mark.parametrize("same_channel", [True, False])
def test_plus_binds_the_sign_in_to_the_channel(mechanisms, channel, name, same_channel):
    """The server's side is worked out here, from RFC 5802 section 3."""
    machine = opening(REQUIRE, Login(b"user", b"pencil", False, mechanisms=mechanisms), implicit_tls=True)
    machine.secured(0.0, channel)
    bare = base64.b64decode(begun(machine, "SCRAM-SHA-256-PLUS").split()[2]).decode().split(",", 2)[2]
    nonce = bare.split("r=")[1] + "server"
    first = f"r={nonce},s={b64(b'salt of the server')},i=4096"
    unproved, _, proof = base64.b64decode(told(machine, f"334 {b64(first)}")).decode().rpartition(",p=")
    bound = f"p={name},,".encode() + (channel.bindings[name] if same_channel else b"of another channel")
    expected = f"c={b64(bound)},r={nonce}"
    salted = pbkdf2_hmac("sha256", b"pencil", b"salt of the server", 4096)
    message = f"{bare},{first},{expected}".encode()
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = sha256(client_key).digest()
    signature = hmac.digest(stored_key, message, "sha256")
    agrees = unproved == expected
    proves = base64.b64decode(proof) == bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    assert (agrees, proves) == (same_channel, same_channel)


@pytest.mark.parametrize(
    ("user", "password", "fit"),
    [
        ("robot", "s3cret", True),
        ("röbot", "größer", True),
        ("a,b=c", "p", True),
        ("robot", "I\u00adX", True),  # RFC 4013 section 3: the soft hyphen is left out
        ("robot", "\u0007", False),  # a character that is prohibited
        ("robot", "\u0627\u0031", False),  # a text of both directions
    ],
)
def test_scram_takes_what_saslprep_takes(user, password, fit):
    assert is_fit_for_scram(Login(user.encode(), password.encode(), False)) is fit


# -- what nobody may see


@pytest.mark.checklist(142)
@pytest.mark.parametrize(
    ("mechanism", "login", "secrets"),
    [
        ("PLAIN", IN_CLEAR, [b"s3cret", b"\0robot\0s3cret"]),
        ("LOGIN", IN_CLEAR, [b"s3cret"]),
        ("XOAUTH2", TOKEN, [b"ya29.token", b"user=robot@example.org\x01auth=Bearer ya29.token\x01\x01"]),
    ],
)
@pytest.mark.parametrize("code", ["535 5.7.8", "454", "250-", "354", "no reply"])
def test_a_server_that_repeats_a_secret_is_not_quoted(mechanism, login, secrets, code):
    machine = opening(login=login)
    begun(machine, mechanism)
    if mechanism == "LOGIN":
        told(machine, "334")
        told(machine, "334")
    echo = " ".join(secret.decode().replace("\0", "") + " " + b64(secret) for secret in secrets)
    told(machine, f"{code} {echo}")
    machine.lost("the server hung up")
    shown = f"{login} {machine.result} {machine._said} {vars(machine)}"
    assert isinstance(machine.result, NotOpened)
    for secret in secrets:
        assert secret.decode() not in shown
        assert b64(secret) not in shown


_SCRAM_PIECES = st.sampled_from(
    ["r=", "nonce", "s=", "QSXCR+Q6sek8bf92", "i=", "4096", "0", "m=", "e=", "v=", ",", "\0"]
)


@given(st.lists(_SCRAM_PIECES, max_size=12).map("".join), st.binary(max_size=20))
def test_whatever_a_server_says_in_scram_is_an_answer_or_cancelled(pieces, octets):
    for challenge in (pieces.encode(), octets, pieces.encode() + octets):
        machine = opening(login=only("SCRAM-SHA-256"))
        begun(machine, "SCRAM-SHA-256")
        for reply in (f"334 {b64(challenge)}", "235 welcome", "221 bye"):
            told(machine, reply)
        assert isinstance(machine.result, NotOpened)
