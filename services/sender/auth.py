"""Signing in at a relay (RFC 4954), command by command. Secrets stay in here and on the wire."""

import base64
import binascii
import hmac
from collections.abc import Generator

import msgspec

from services.sender.channel import TLS_SERVER_END_POINT, TLS_UNIQUE, Channel
from services.sender.dialogue import Say
from services.sender.login import Login
from services.sender.scram import BadChallenge, Binding, Scram, is_fit_for_scram
from shared.smtp_reply import Reply, own_verdict

_MAX_COMMAND = 510  # octets without CRLF; longer, the response goes in a line of its own (RFC 4954 section 4)

# What gives away least comes first. CRAM-MD5 is left out unless it is set: it hides the password, but so weakly that
# PLAIN inside TLS is better. A token comes before a password: who has entered one wants it used.
_USUAL = ("XOAUTH2", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN")
_SHOWN_TO_THE_SERVER = {"PLAIN", "LOGIN", "XOAUTH2"}

_Exchange = Generator[Say, Reply, Reply]


class SignIn(msgspec.Struct, frozen=True):
    """What has come of it: the server's last reply (2yz: signed in), or a verdict of our own."""

    mechanism: str  # "" where none could be used
    reply: Reply


def sign_in(login: Login, offered: frozenset[str], channel: Channel, patience: float) -> Generator[Say, Reply, SignIn]:
    """Sign in once. `patience`: seconds for each of the server's replies."""
    mechanism = choose_mechanism(login, offered, channel)
    if mechanism is None:
        return SignIn("", own_verdict(451, "4.7.0", _no_mechanism(login, offered, channel)))
    reply = yield from _without_secrets(_exchange(mechanism, login, offered, channel, patience), login, patience)
    if reply.code == 334:
        # RFC 4954 section 4: "*" ends the exchange.
        yield Say(b"*\r\n", "AUTH", patience)
        reply = own_verdict(451, "4.7.0", f"the server asks for more than {mechanism} has")
    return SignIn(mechanism, reply)


def choose_mechanism(login: Login, offered: frozenset[str], channel: Channel) -> str | None:
    """The best of those that the server offers and that this login and this connection are fit for."""
    order = login.mechanisms or _USUAL
    return next((mechanism for mechanism in order if _is_fit(mechanism, login, offered, channel)), None)


def _is_fit(mechanism: str, login: Login, offered: frozenset[str], channel: Channel) -> bool:
    if mechanism not in offered or not (login.token if mechanism == "XOAUTH2" else login.password):
        return False
    if mechanism in _SHOWN_TO_THE_SERVER and not (channel.secured or login.allow_plaintext):
        return False
    if mechanism.endswith("-PLUS") and _binding(login, channel) is None:
        return False
    return not mechanism.startswith("SCRAM-") or is_fit_for_scram(login)


def _binding(login: Login, channel: Channel) -> Binding | None:
    """What SCRAM-SHA-256-PLUS is bound to, if it can and may be.

    With TLS 1.3 servers expect tls-exporter (RFC 9266), which Python does not have. Some take tls-server-end-point;
    whether this one does must be known to whoever sets the mechanisms.
    """
    names = [TLS_UNIQUE, TLS_SERVER_END_POINT] if login.mechanisms else [TLS_UNIQUE]
    found = next((name for name in names if name in channel.bindings), None)
    return None if found is None else (found, channel.bindings[found])


def _exchange(mechanism: str, login: Login, offered: frozenset[str], channel: Channel, patience: float) -> _Exchange:
    match mechanism:
        case "PLAIN":
            return _initial(mechanism, b"\0" + login.user + b"\0" + login.password, patience)
        case "LOGIN":
            return _login(login, patience)
        case "CRAM-MD5":
            return _cram_md5(login, patience)
        case "XOAUTH2":
            return _xoauth2(login, patience)
        case _:
            return _scram(mechanism, login, _binding_of(mechanism, login, offered, channel), patience)


def _initial(mechanism: str, response: bytes, patience: float) -> _Exchange:
    """AUTH with an initial response, where it fits in the command."""
    encoded = base64.b64encode(response)
    command = b"AUTH %s %s" % (mechanism.encode(), encoded or b"=")
    if len(command) <= _MAX_COMMAND:
        return (yield Say(command + b"\r\n", "AUTH", patience))
    reply = yield Say(b"AUTH %s\r\n" % mechanism.encode(), "AUTH", patience)
    if reply.code != 334:
        return reply
    return (yield Say(encoded + b"\r\n", "AUTH", patience))


def _respond(response: bytes, patience: float) -> Say:
    return Say(base64.b64encode(response) + b"\r\n", "AUTH", patience)


def _login(login: Login, patience: float) -> _Exchange:
    """No RFC has it: two prompts, whose texts differ and are not looked at; not all servers take a response at once."""
    reply = yield Say(b"AUTH LOGIN\r\n", "AUTH", patience)
    for answer in (login.user, login.password):
        if reply.code != 334:
            return reply
        reply = yield _respond(answer, patience)
    return reply


def _cram_md5(login: Login, patience: float) -> _Exchange:
    """RFC 2195."""
    reply = yield Say(b"AUTH CRAM-MD5\r\n", "AUTH", patience)
    if reply.code != 334:
        return reply
    digest = hmac.new(login.password, challenge_in(reply), "md5").hexdigest()
    return (yield _respond(login.user + b" " + digest.encode(), patience))


def _xoauth2(login: Login, patience: float) -> _Exchange:
    """https://developers.google.com/workspace/gmail/imap/xoauth2-protocol, in SMTP the same."""
    response = b"user=%s\x01auth=Bearer %s\x01\x01" % (login.user, login.token)
    reply = yield from _initial("XOAUTH2", response, patience)
    if reply.code == 334:
        # What is wrong with the token; the 535 comes when that is answered.
        reply = yield Say(b"\r\n", "AUTH", patience)
    return reply


def _scram(mechanism: str, login: Login, binding: Binding | None, patience: float) -> _Exchange:
    """RFC 5802, RFC 7677."""
    scram = Scram(mechanism, login, binding)
    reply = yield from _initial(mechanism, scram.first(), patience)
    if reply.code != 334:
        return _unproven(reply)
    reply = yield _respond(scram.final(challenge_in(reply)), patience)
    if reply.code != 334:
        return _unproven(reply)
    verified = scram.verify(challenge_in(reply))
    # RFC 4954 section 4: what the server adds to its verdict comes as a challenge, and is answered with nothing.
    reply = yield Say(b"\r\n", "AUTH", patience)
    return reply if verified else _unproven(reply)


def _binding_of(mechanism: str, login: Login, offered: frozenset[str], channel: Channel) -> Binding | None:
    """What SCRAM says of channel binding: a binding without -PLUS tells the server that it should have offered it.

    A server that did offer it, to somebody else who took it out of the list, then refuses (RFC 5802 section 6).
    """
    plus = "SCRAM-SHA-256-PLUS"
    would_be_used = plus in (login.mechanisms or _USUAL) and plus not in offered
    return _binding(login, channel) if mechanism == plus or would_be_used else None


def _unproven(reply: Reply) -> Reply:
    if reply.code >= 300:
        return reply
    return own_verdict(451, "4.7.0", "the server has not proved that it knows the password")


def challenge_in(reply: Reply) -> bytes:
    """The challenge in a 334. Raises BadChallenge when it is not strictly base64."""
    try:
        return binascii.a2b_base64(reply.text.encode("ascii"), strict_mode=True)
    except ValueError as error:
        raise BadChallenge("the server's challenge is no base64") from error


def _without_secrets(exchange: _Exchange, login: Login, patience: float) -> _Exchange:
    """The exchange; what the server repeats of what it was told is taken out of its replies."""
    secrets = {secret for secret in (login.password, login.token) if secret}
    secrets |= {base64.b64encode(secret) for secret in secrets}
    try:
        step = next(exchange)
        while True:
            secrets.update(step.line.split()[2:] if step.line.startswith(b"AUTH ") else step.line.split())
            reply = yield step
            step = exchange.send(reply)
    except StopIteration as end:
        return _masked(end.value, secrets)
    except BadChallenge as error:
        yield Say(b"*\r\n", "AUTH", patience)
        return own_verdict(451, "4.7.0", str(error))


def _masked(reply: Reply, secrets: set[bytes]) -> Reply:
    text = reply.text
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret.decode("utf-8", "backslashreplace"), "***")
    return msgspec.structs.replace(reply, text=text)


def _no_mechanism(login: Login, offered: frozenset[str], channel: Channel) -> str:
    if not offered:
        return "the server does not let anybody sign in (it offers no AUTH)"
    names = ", ".join(sorted(offered))
    hint = "" if channel.secured else "; the connection is not secured, and no secret may go over it in clear"
    wanted = f"; of those set, {', '.join(login.mechanisms)}" if login.mechanisms else ""
    return f"no way to sign in that we have, of those the server offers ({names}){wanted}{hint}"
