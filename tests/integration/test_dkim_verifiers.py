"""What went over the wire, signed, verifies elsewhere: with dkimpy and with opendkim, keys from a real name server."""

import asyncio
from typing import Any

import dkim
import dns.message
import dns.query
import pytest

from services.sender.connection import Connection, connect
from services.sender.dkim import Signer, sign
from services.sender.envelope import OutgoingMail
from services.sender.helo import HeloNames
from shared.contracts.work import Host, Route, TlsMode
from shared.dkim_key import new_key, zone_line
from tests.support.dns import nsd
from tests.support.opendkim import can_isolate, verify
from tests.support.sinks import RecordingSink

KEYS = {"r": new_key("rsa"), "e": new_key("ed25519")}
ZONES = {"x.example": "\n".join(zone_line("x.example", name, key.record()) for name, key in KEYS.items())}
HEAD = b"From: Ann <ann@x.example>\r\nTo: b@y.example\r\nDate: Fri, 27 Feb 2026 10:00:00 +0100\r\nMessage-ID: <1@x>\r\n"
CONTENTS = {
    "folded headers": HEAD + b"Subject: a\r\n folded\r\n\tsubject \t here \r\n\r\ntext\r\n",
    "trailing spaces": HEAD + b"X: y \t \r\n\r\nspaces \t\r\n \r\n\t\r\nend  \r\n\r\n\r\n",
    "empty body": HEAD + b"\r\n",
    "8-bit body": HEAD + b"\r\n" + bytes(range(128, 256)) + b"\r\n",
    "dots": HEAD + b"\r\n.\r\n..\r\n.hidden\r\n\r\n.",
    "large": HEAD + b"\r\n" + b"0123456789abcdef\r\n.dot\r\n" * 20_000,
}


def signers(names: str) -> list[Signer]:
    return [Signer("x.example", name, KEYS[name]) for name in names]


async def _send(sink: RecordingSink, contents: list[bytes]) -> None:
    route = Route("mx:sink", (Host("sink", sink.port, ("127.0.0.1",)),), TlsMode.NONE, None, 1)
    connection = await connect(route, helo=HeloNames("robot.example"))
    assert isinstance(connection, Connection)
    connection.submit([OutgoingMail("a@x.example", ("b@y.example",), content, True, False) for content in contents])
    while connection.in_flight:
        await connection.results()
    await connection.quit()


def arrived(sink: RecordingSink, contents: list[bytes]) -> list[bytes]:
    """What a server has got, dots taken out again."""
    asyncio.run(_send(sink, contents))
    return [mail.content for mail in sink.mails]


@pytest.fixture
def on_the_wire(sink: RecordingSink) -> list[bytes]:
    """Every content, signed by RSA alone, by Ed25519 alone, by both, after its way."""
    sent = [sign(content, signers(names), 1_772_000_000) for names in ("r", "e", "re") for content in CONTENTS.values()]
    got = arrived(sink, sent)
    assert [one.removesuffix(b"\r\n") for one in got] == [one.removesuffix(b"\r\n") for one in sent]
    return got


@pytest.mark.checklist(180, 182, 183)
def test_dkimpy_verifies_what_has_arrived(on_the_wire: list[bytes]):
    with nsd(ZONES) as server:

        def ask(name: bytes, timeout: float = 5) -> bytes:
            answer = dns.query.tcp(dns.message.make_query(name.decode(), "TXT"), "127.0.0.1", timeout, server.port)
            record: Any = answer.answer[0][0]
            return b"".join(record.strings)

        for content in on_the_wire:
            message = dkim.DKIM(content)
            for index in range(content.count(b"DKIM-Signature:")):
                assert message.verify(idx=index, dnsfunc=ask), content[:300]


@pytest.mark.skipif(not can_isolate(), reason="a program can not be given a network of its own")
@pytest.mark.checklist(180, 182, 183)
def test_opendkim_verifies_what_has_arrived(on_the_wire: list[bytes]):
    tampered = on_the_wire[0].replace(b"folded", b"forged")
    assert verify([*on_the_wire, tampered], ZONES)[:-1] == [""] * len(on_the_wire)
    assert "Bad signature" in verify([tampered], ZONES)[0]
