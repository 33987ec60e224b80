"""Signing in at a relay (RFC 4954): PLAIN, LOGIN and CRAM-MD5. Passwords stay in here and on the wire."""

import asyncio
import base64
import binascii
import hmac
import os
from collections.abc import Generator
from pathlib import Path

import msgspec

from services.sender.dialogue import Say
from shared.contracts import Credentials, SecretReference
from shared.smtp_reply import Reply, own_verdict

_MAX_COMMAND = 510  # octets without CRLF; longer, the response goes in a line of its own (RFC 4954 section 4)

_Exchange = Generator[Say, Reply, Reply]


class Login(msgspec.Struct, frozen=True):
    """User name and password in clear."""

    user: bytes
    password: bytes
    allow_plaintext: bool  # may be shown to a server over a connection without TLS

    def __repr__(self) -> str:
        return "Login(…)"


async def read_login(credentials: Credentials) -> Login | Reply:
    """Find the password; where it can not be had, a verdict that names its place."""
    place = _place(credentials.password)
    try:
        password = await asyncio.to_thread(_read, credentials.password)
    except (OSError, KeyError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not set"
        return own_verdict(451, "4.7.0", f"the password can not be read from the {place}: {why}")
    if not password or b"\0" in password:
        return own_verdict(451, "4.7.0", f"the {place} holds no usable password")
    return Login(credentials.user.encode(), password, credentials.allow_plaintext)


def sign_in(login: Login, offered: frozenset[str], secured: bool, patience: float) -> _Exchange:
    """Sign in once. Gives the server's last reply (2yz: signed in), or a verdict of our own."""
    mechanism = choose_mechanism(offered, secured or login.allow_plaintext)
    match mechanism:
        case "PLAIN":
            exchange = _plain(login, patience)
        case "LOGIN":
            exchange = _login(login, patience)
        case "CRAM-MD5":
            exchange = _cram_md5(login, patience)
        case _:
            return own_verdict(451, "4.7.0", _no_mechanism(offered, secured))
    reply = yield from exchange
    if reply.code == 334:
        # The server asks for more than the mechanism has (RFC 4954 section 4: "*" ends the exchange).
        yield Say(b"*\r\n", "AUTH", patience)
        return own_verdict(451, "4.7.0", f"the server asks for more than {mechanism} has")
    return _without_secrets(reply, login)


def choose_mechanism(offered: frozenset[str], may_show_password: bool) -> str | None:
    """The mechanism to use. CRAM-MD5 hides the password, but so weakly that TLS with another one is better."""
    order = ("PLAIN", "LOGIN", "CRAM-MD5") if may_show_password else ("CRAM-MD5",)
    return next((mechanism for mechanism in order if mechanism in offered), None)


def _plain(login: Login, patience: float) -> _Exchange:
    """RFC 4616."""
    response = base64.b64encode(b"\0" + login.user + b"\0" + login.password)
    command = b"AUTH PLAIN " + response
    if len(command) <= _MAX_COMMAND:
        return (yield Say(command + b"\r\n", "AUTH", patience))
    reply = yield Say(b"AUTH PLAIN\r\n", "AUTH", patience)
    if reply.code != 334:
        return reply
    return (yield Say(response + b"\r\n", "AUTH", patience))


def _login(login: Login, patience: float) -> _Exchange:
    """No RFC has it: two prompts, whose texts differ and are not looked at; not all servers take a response at once."""
    reply = yield Say(b"AUTH LOGIN\r\n", "AUTH", patience)
    for answer in (login.user, login.password):
        if reply.code != 334:
            return reply
        reply = yield Say(base64.b64encode(answer) + b"\r\n", "AUTH", patience)
    return reply


def _cram_md5(login: Login, patience: float) -> _Exchange:
    """RFC 2195."""
    reply = yield Say(b"AUTH CRAM-MD5\r\n", "AUTH", patience)
    if reply.code != 334:
        return reply
    try:
        challenge = base64.b64decode(reply.text, validate=True)
    except (binascii.Error, ValueError):
        yield Say(b"*\r\n", "AUTH", patience)
        return own_verdict(451, "4.7.0", "the server's challenge is no base64")
    digest = hmac.new(login.password, challenge, "md5").hexdigest()
    return (yield Say(base64.b64encode(login.user + b" " + digest.encode()) + b"\r\n", "AUTH", patience))


def _no_mechanism(offered: frozenset[str], secured: bool) -> str:
    if not offered:
        return "the server does not let anybody sign in (it offers no AUTH)"
    names = ", ".join(sorted(offered))
    hint = "" if secured else "; the connection is not secured, and the password may not go over it in clear"
    return f"no way to sign in that we have, of those the server offers ({names}){hint}"


def _without_secrets(reply: Reply, login: Login) -> Reply:
    """The reply without the password, should the server repeat it."""
    text = reply.text
    for secret in (login.password, base64.b64encode(login.password)):
        text = text.replace(secret.decode("utf-8", "backslashreplace"), "***")
    return msgspec.structs.replace(reply, text=text)


def _place(reference: SecretReference) -> str:
    return f"environment variable {reference.env}" if reference.env is not None else f"file {reference.file}"


def _read(reference: SecretReference) -> bytes:
    """Raises KeyError or OSError."""
    if reference.env is not None:
        return os.environ[reference.env].encode("utf-8", "surrogateescape")
    return Path(reference.file or "").read_bytes().removesuffix(b"\n").removesuffix(b"\r")
