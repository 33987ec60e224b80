"""An SMTP server without a socket that keeps to the protocol, but for what it is told to do otherwise."""

import base64
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

import scramp

PASSWORD = b"s3cret.of-the-robot"
_SALT = b"salt of the server"
_ITERATIONS = 4096
_KNOWN = scramp.ScramMechanism("SCRAM-SHA-256").make_auth_info(PASSWORD.decode(), _ITERATIONS, _SALT)
NONCE = "0123456789abcdef"
HEARD = b"<heard>"  # in an answer, the line that it answers

_SignIn = Generator[bytes, bytes, None]


@dataclass(frozen=True, kw_only=True)
class Nature:
    """What a server offers, and how it misbehaves."""

    ehlo: bytes  # its answer to EHLO
    ehlo_in_tls: bytes
    unusual: Mapping[int, bytes] = field(default_factory=dict)  # what it says to some commands, by their number
    edits: Mapping[int, tuple[str, bytes]] = field(default_factory=dict)  # of the octets it sends, by their number
    injected: bytes = b""  # behind its answer to STARTTLS
    early: bytes = b""  # at the end of the handshake, before anything is asked


class Unruly:
    """Answers each command; what it sends is then garbled."""

    def __init__(self, nature: Nature) -> None:
        self._nature = nature
        self._ehlo = nature.ehlo
        self._heard = b""
        self._in_content = False
        self._sign_in: _SignIn | None = None
        self._count = self._sent = 0

    def greet(self) -> bytes:
        """What it says first."""
        return self._garbled(b"220 mx\r\n")

    def hear(self, data: bytes) -> bytes:
        """What it answers."""
        self._heard += data
        answers = b""
        while (end := self._heard.find(b"\r\n.\r\n" if self._in_content else b"\r\n")) >= 0:
            line, self._heard = self._heard[:end], self._heard[end + (5 if self._in_content else 2) :]
            answers += self._garbled(self._answer(line))
        return answers

    def secured(self) -> bytes:
        """The handshake is done: what it says to that, though it should say nothing."""
        self._ehlo = self._nature.ehlo_in_tls
        self._heard = b""
        return self._garbled(self._nature.early)

    def _answer(self, line: bytes) -> bytes:
        self._count += 1
        answer = self._nature.unusual.get(self._count, self._usual(line)).replace(HEARD, line)
        if not answer.startswith(b"334"):
            self._sign_in = None
        self._in_content = line == b"DATA" and not self._in_content and answer.startswith(b"354")
        if self._in_content:
            self._heard = b"\r\n" + self._heard
        return answer + self._nature.injected if line == b"STARTTLS" else answer

    def _usual(self, line: bytes) -> bytes:
        if self._sign_in is not None:
            return b"501 gave up\r\n" if line == b"*" else self._sign_in.send(line) + b"\r\n"
        if line.startswith(b"AUTH "):
            self._sign_in = _sign_in(*line.split()[1:])
            return next(self._sign_in) + b"\r\n"
        usual = {b"EHLO": self._ehlo, b"DATA": b"354 go\r\n", b"STAR": b"220 go\r\n"}
        return usual.get(line[:4], b"250 ok\r\n")

    def _garbled(self, answer: bytes) -> bytes:
        garbled = b""
        for index in range(len(answer)):
            octet = answer[index : index + 1]
            self._sent += 1
            match self._nature.edits.get(self._sent):
                case ("replace", text):
                    octet = text
                case ("insert", text):
                    octet += text
            garbled += octet
        return garbled


def _sign_in(mechanism: bytes, response: bytes | None = None) -> _SignIn:
    """The answers to AUTH and to what follows it (RFC 4954). Everybody may come in; by SCRAM, who proves himself."""
    verdict = b"235 2.7.0 welcome"
    if response is None and mechanism in (b"PLAIN", b"XOAUTH2", b"SCRAM-SHA-256"):
        response = yield b"334 "
    match mechanism:
        case b"LOGIN":
            yield b"334 VXNlcm5hbWU6"
            yield b"334 UGFzc3dvcmQ6"
        case b"CRAM-MD5":
            yield b"334 " + base64.b64encode(b"<1896.697170952@mx.example>")
        case b"SCRAM-SHA-256":
            server = scramp.ScramMechanism("SCRAM-SHA-256").make_server(lambda _: _KNOWN, s_nonce=NONCE)
            try:
                server.set_client_first(base64.b64decode(response or b"").decode())
                final = yield b"334 " + base64.b64encode(server.get_server_first().encode())
                server.set_client_final(base64.b64decode(final).decode())
                yield b"334 " + base64.b64encode(server.get_server_final().encode())
            except (ValueError, scramp.ScramException):
                verdict = b"535 5.7.8 no"
    while True:
        yield verdict
