"""Connections over real sockets. Items are those of the outbound SMTP checklist."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
import uvloop

from services.sender.connection import Connection, Unreachable, connect
from services.sender.helo import HeloNames
from services.sender.session_mails import MailResult
from services.sender.timeouts import Timeouts
from shared.contracts import Credentials, Host, Route, SecretReference, TlsMode
from shared.outcomes import Outcome
from tests.support.certificates import Authority, Certificate
from tests.support.dns import nsd
from tests.support.ports import free_port
from tests.support.postfix import PrivatePostfix, SmtpSink
from tests.support.sinks import RecordingSink
from tests.support.smtp_script import ScriptedServer, scripted
from tests.support.transcript import CONTENT_LINES, in_words, mail, told

NONE, ENABLE, REQUIRE = TlsMode.NONE, TlsMode.ENABLE, TlsMode.REQUIRE
HELLO = """
S: 220 mx.example
C: EHLO us.example
S: 250-mx.example
S: 250 PIPELINING
"""
ENVELOPE = """
C: MAIL FROM:<a@sender.example>
C: RCPT TO:<b@mx.example>
C: DATA
"""
GO = """
S: 250 ok
S: 250 ok
S: 354 go
"""
BYE = """
C: QUIT
S: 221 bye
"""

ON_465 = ("127.0.0.46", 465)  # an address of this machine's that nobody else uses

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test on either event loop: the workers use the one, debuggers the other."""
    runner: Run = request.param
    return runner


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    """That of a relay called localhost."""
    return authority.issue("localhost")


def at(*ports: int, name: str = "localhost", address: str = "127.0.0.1", **fields: Any) -> Route:
    """A route to servers on these ports."""
    hosts = tuple(Host(name, port, (address,)) for port in ports)
    usual = {"site": "relay:localhost", "tls": NONE, "credentials": None, "revision": 1}
    return Route(**{**usual, **fields, "hosts": hosts})


async def opened(route: Route, **timeouts: timedelta) -> Connection:
    connected = await reached(route, **timeouts)
    assert isinstance(connected, Connection), connected
    return connected


async def reached(route: Route, **timeouts: timedelta) -> Connection | Unreachable:
    return await connect(route, helo=HeloNames("us.example"), timeouts=Timeouts(**timeouts))


async def verdict(route: Route, **timeouts: timedelta) -> Outcome:
    connected = await reached(route, **timeouts)
    assert isinstance(connected, Unreachable)
    return connected.outcome


async def all_results(connection: Connection) -> list[MailResult]:
    results: list[MailResult] = []
    while connection.in_flight:
        results += await connection.results()
    return [*results, *await connection.results()]


# -- mails over a connection


def test_mails_go_over_one_connection_and_it_ends_with_quit(run):
    async def scenario() -> None:
        dialogue = f"""{HELLO}{ENVELOPE}{GO}{CONTENT_LINES}{ENVELOPE}
S: 250 first
S: 250 ok
S: 250 ok
S: 354 go
{CONTENT_LINES}
S: 250 second
{BYE}"""
        async with scripted(dialogue) as mx:
            connection = await opened(at(mx.port))
            assert connection.host == f"localhost [127.0.0.1]:{mx.port}"
            connection.submit([mail(1), mail(2)])
            assert (connection.in_flight, connection.begun) == (2, 1)
            results = await all_results(connection)
            assert told(results) == ["1: delivered 250 first", "2: delivered 250 second"]
            assert (connection.in_flight, connection.begun, connection.closed) == (0, 2, False)
            await connection.quit()
            assert connection.closed

    run(scenario())


def test_results_that_come_together_are_given_together(run):
    async def scenario() -> None:
        replies = "\nS: 250 first\nS: 550 no\nS: 503 no\nS: 503 no"
        dialogue = f"{HELLO}{ENVELOPE}{GO}{CONTENT_LINES}{ENVELOPE}{replies}\nC: RSET\nS: 250 ok{BYE}"
        async with scripted(dialogue) as mx:
            connection = await opened(at(mx.port))
            connection.submit([mail(1), mail(2)])
            assert told(await connection.results()) == ["1: delivered 250 first", "2: bounced 550 no"]
            assert await connection.results() == []
            await connection.quit()

    run(scenario())


@pytest.mark.parametrize(
    ("event", "expected"),
    [("X: hangs up", "1: deferred 451 4.4.2 in doubt"), ("S: 421 4.3.2 bye\nX: hangs up", "1: deferred 421 4.3.2 bye")],
)
def test_the_end_of_the_connection_settles_everything(run, event, expected):  # items 72, 75
    async def scenario() -> None:
        dialogue = f"{HELLO}{ENVELOPE}{GO}{CONTENT_LINES}{ENVELOPE}{event}"
        async with scripted(dialogue) as mx:
            connection = await opened(at(mx.port))
            connection.submit([mail(1), mail(2), mail(3)])
            assert told(await all_results(connection)) == [expected, "2: untouched", "3: untouched"]
            assert connection.closed
            connection.submit([mail(4)])
            assert told(await connection.results()) == ["4: untouched"]
            await connection.quit()  # of what is closed already

    run(scenario())


def test_an_idle_connection_notices_that_the_server_hangs_up(run):  # item 78
    async def scenario() -> None:
        async with scripted(f"{HELLO}{ENVELOPE}{GO}{CONTENT_LINES}\nS: 250 first\n\nS: 421 idle\nX: hangs up") as mx:
            connection = await opened(at(mx.port))
            connection.submit([mail(1)])
            assert told(await all_results(connection)) == ["1: delivered 250 first"]
            await mx.finish()
            async with asyncio.timeout(5):
                while not connection.closed:
                    await asyncio.sleep(0)
            connection.submit([mail(2)])
            assert told(await connection.results()) == ["2: untouched"]

    run(scenario())


def test_giving_up_a_connection_settles_what_is_under_way(run):
    async def scenario() -> None:
        async with scripted(f"{HELLO}{ENVELOPE}{GO}{CONTENT_LINES}\nW: waits") as mx:
            connection = await opened(at(mx.port))
            connection.submit([mail(1)])
            await heard(mx, b"\r\n.\r\n")
            connection.abort()
            assert told(await connection.results()) == ["1: deferred 451 4.4.2 in doubt"]

    run(scenario())


async def heard(mx: ScriptedServer, text: bytes) -> None:
    async with asyncio.timeout(5):
        while text not in mx.heard[-1]:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("mode", [NONE, ENABLE])
def test_large_mails_go_through_whole_while_replies_are_read(run, certificate, mode):  # item 103
    async def scenario(sink: RecordingSink) -> None:
        content = b"Subject: large\r\n\r\n" + b"".join(b".%060d\r\n" % number for number in range(100_000))
        connection = await opened(at(sink.port, tls=mode))
        connection.submit([mail(number, content=content) for number in range(3)])
        assert [line[:12] for line in told(await all_results(connection))] == [f"{n}: delivered" for n in range(3)]
        assert {received.content for received in sink.mails} == {content}
        await connection.quit()

    with RecordingSink(certificate=certificate) as sink:
        run(scenario(sink))


# -- deadlines


SOON = timedelta(milliseconds=60)


@pytest.mark.parametrize(
    ("dialogue", "timeouts", "says"),
    [
        ("W: waits", {"greeting": SOON}, "the greeting"),  # item 80
        ("S: 220 mx.example\nC: EHLO us.example\nW: waits", {"hello": SOON}, "EHLO"),
        ("S: 554 go away\nC: QUIT\nW: waits", {"quit": SOON}, "go away"),  # item 88
    ],
)
def test_a_server_that_stalls_before_mail_is_given_up(run, dialogue, timeouts, says):
    async def scenario() -> None:
        async with scripted(dialogue) as mx:
            outcome = await verdict(at(mx.port), **timeouts)
            assert says in outcome.reply.text  # type: ignore[union-attr]  # a Parked has no reply, and none comes

    run(scenario())


@pytest.mark.parametrize(
    ("dialogue", "timeouts", "expected"),
    [
        (f"{HELLO}{ENVELOPE}W: waits", {"mail": SOON}, "deferred 451 4.4.2"),  # item 81
        (f"{HELLO}{ENVELOPE}S: 250 ok\nW: waits", {"recipient": SOON}, "deferred 451 4.4.2"),  # item 82
        (f"{HELLO}{ENVELOPE}S: 250 ok\nS: 250 ok\nW: waits", {"data": SOON}, "deferred 451 4.4.2"),  # item 83
        (f"{HELLO}{ENVELOPE}{GO}{CONTENT_LINES}\nW: waits", {"final_dot": SOON}, "deferred 451 4.4.2 in doubt"),
    ],
)
def test_a_server_that_stalls_within_a_mail_is_given_up(run, dialogue, timeouts, expected):
    async def scenario() -> None:
        async with scripted(dialogue) as mx:
            connection = await opened(at(mx.port), **timeouts)
            connection.submit([mail(1), mail(2)][: 1 if "doubt" in expected else 2])
            assert told(await all_results(connection))[0] == f"1: {expected}"
            assert connection.closed

    run(scenario())


def test_a_server_that_reads_no_further_is_given_up(run):  # item 84
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            loop = asyncio.get_running_loop()
            connecting = asyncio.create_task(opened(at(listener.getsockname()[1]), block=SOON))
            server, _ = await loop.sock_accept(listener)
            with server:
                for reply in (b"220 mx\r\n", b"250-mx\r\n250 PIPELINING\r\n"):
                    await loop.sock_sendall(server, reply)
                    if reply[:3] == b"220":
                        await loop.sock_recv(server, 1000)
                connection = await connecting
                connection.submit([mail(1, content=b"x" * 64_000_000 + b"\r\n"), mail(2)])
                await loop.sock_recv(server, 1000)
                await loop.sock_sendall(server, b"250 ok\r\n250 ok\r\n354 go\r\n")
                results = told(await all_results(connection))
                assert results == ["1: deferred 451 4.4.2", "2: untouched"]  # the final dot was never sent

    run(scenario())


def test_a_server_that_trickles_is_given_up(run):  # item 87
    async def scenario() -> None:
        ended = asyncio.Event()

        async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError, RuntimeError):  # the latter is uvloop's for a closed transport
                while not reader.at_eof():
                    writer.write(b"220-x\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.005)  # how fast it trickles; nothing waits for it
            writer.close()
            ended.set()

        async with await asyncio.start_server(trickle, "127.0.0.1", 0) as server:
            outcome = await verdict(at(server.sockets[0].getsockname()[1]), greeting=SOON)
            assert in_words(outcome) == "deferred 451 4.4.2"
            await ended.wait()

    run(scenario())


def test_quit_waits_for_its_reply_only_briefly(run):  # item 77
    async def scenario() -> None:
        async with scripted(f"{HELLO}C: QUIT\nW: waits") as mx:
            connection = await opened(at(mx.port), quit=SOON)
            async with asyncio.timeout(5):
                await connection.quit()
            assert connection.closed

    run(scenario())


# -- hosts

REFUSES = "S: 554 5.7.1 go away\nC: QUIT\nS: 221 bye"
BUSY = "S: 421 4.3.2 busy\nX: hangs up"


def test_the_next_host_is_tried_when_one_can_not_be_used(run):  # items 35, 36, 89
    async def scenario() -> None:
        unused = free_port()
        async with (
            scripted(REFUSES) as first,
            scripted(BUSY) as second,
            scripted("W: waits") as third,
            scripted(f"{HELLO}{BYE}") as fourth,
        ):
            route = at(unused, first.port, second.port, third.port, fourth.port)
            connection = await opened(route, greeting=10 * SOON)  # time enough for the fourth on a busy machine
            assert connection.host.endswith(f":{fourth.port}")
            await connection.quit()

    run(scenario())


def test_hosts_of_which_none_wants_mail_bounce_it_and_one_that_might_defers(run):
    async def scenario() -> None:
        async with scripted(REFUSES, REFUSES) as first, scripted(REFUSES, BUSY) as second:
            route = at(first.port, second.port, site="mx:a,b")
            hosts = tuple(Host(f"mx{host.port}", host.port, host.addresses) for host in route.hosts)
            route = Route(route.site, hosts, NONE, None, 1)
            assert in_words(await verdict(route)) == "bounced 554 5.7.1 go away"
            assert in_words(await verdict(route)) == "deferred 421 4.3.2 busy"

    run(scenario())


def test_the_addresses_of_a_host_are_tried_in_order(run):  # items 10, 11
    async def scenario() -> None:
        async with scripted(f"{HELLO}{BYE}") as mx:
            # 127.0.0.2 is this machine's as well, and nothing listens there.
            host = Host("localhost", mx.port, ("127.0.0.2", "127.0.0.1"))
            connection = await opened(Route("relay:x", (host,), NONE, None, 1))
            assert connection.host == f"localhost [127.0.0.1]:{mx.port}"
            await connection.quit()

    run(scenario())


def test_a_host_without_addresses_is_looked_up_in_the_system(run):
    async def scenario() -> None:
        async with scripted(f"{HELLO}{BYE}") as mx:
            connection = await opened(Route("relay:x", (Host("localhost", mx.port),), NONE, None, 1))
            await connection.quit()

    run(scenario())


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ((Host("nowhere.invalid", 25),), "deferred 451 4.4.3"),
        ((Host("nobody", 1, ("127.0.0.1",)),), "deferred 451 4.4.1"),
        ((), "deferred 451 4.4.4"),
    ],
)
def test_a_route_that_leads_nowhere_defers(run, hosts, expected):
    async def scenario() -> None:
        assert in_words(await verdict(Route("relay:x", hosts, NONE, None, 1))) == expected

    run(scenario())


def test_a_server_that_calls_itself_by_our_name_is_a_loop_in_direct_mode_only(run):  # item 41
    hello = "S: 220 us.example\nC: EHLO us.example\nS: 250 us.example"

    async def scenario() -> None:
        async with scripted(f"{hello}{BYE}", f"{hello}{BYE}") as mx:
            assert in_words(await verdict(at(mx.port, site="mx:localhost"))) == "bounced 554 5.4.6"
            await (await opened(at(mx.port))).quit()

    run(scenario())


# -- TLS

OFFER = """
S: 220 mx.example
C: EHLO us.example
S: 250-mx.example
S: 250 STARTTLS
"""
SECURED = f"{OFFER}C: STARTTLS\nS: 220 go\nH: handshake\nC: EHLO us.example\nS: 250 mx.example"


def test_none_never_negotiates_tls(run):  # item 120
    async def scenario() -> None:
        async with scripted(f"{OFFER}{BYE}") as mx:
            connection = await opened(at(mx.port, tls=NONE))
            assert connection.tls == ""
            await connection.quit()

    run(scenario())


@pytest.mark.parametrize("mode", [ENABLE, REQUIRE])
def test_tls_where_it_is_offered(run, certificate, authority, mode):
    async def scenario() -> None:
        async with scripted(f"{SECURED}{BYE}", certificate=certificate) as mx:
            connection = await opened(at(mx.port, tls=mode, ca_file=str(authority.file)))
            assert connection.tls == "TLSv1.3"
            await connection.quit()

    run(scenario())


@pytest.mark.parametrize(
    "dialogue",
    [f"{HELLO}{BYE}", f"{OFFER}C: STARTTLS\nS: 454 4.7.0 not now{BYE}", f"{OFFER}C: STARTTLS\nS: 502 what?{BYE}"],
)
def test_without_tls_require_sends_nothing_and_enable_goes_on_in_plaintext(run, dialogue):  # items 121, 122
    async def scenario() -> None:
        async with scripted(dialogue, dialogue) as mx:
            assert in_words(await verdict(at(mx.port, tls=REQUIRE))) == "deferred 451 4.7.4"
            connection = await opened(at(mx.port, tls=ENABLE))
            assert connection.tls == ""
            await connection.quit()

    run(scenario())


BROKEN = [
    f"{OFFER}C: STARTTLS\nS: 220 go\nC: ...\nS: no TLS record at all\nX: hangs up",
    f"{OFFER}C: STARTTLS\nS: 220 go\nS: 250 injected\nW: waits",  # item 124
    f"{OFFER}C: STARTTLS\nS: 220 go\nX: hangs up",
    f"{OFFER}C: STARTTLS\nX: hangs up",
    f"{OFFER}C: STARTTLS\nS: 220 go\nW: waits",
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_failed_handshake_is_followed_by_a_new_connection_in_plaintext(run, broken):  # item 122
    async def scenario() -> None:
        async with scripted(broken, f"{OFFER}{ENVELOPE_ALONE}{BYE}") as mx:
            with structlog.testing.capture_logs() as log:
                connection = await opened(at(mx.port, tls=ENABLE), handshake=SOON)
            assert connection.tls == ""
            assert [(line["event"], line["next"]) for line in log] == [("tls_failed", "try_plaintext")]
            connection.submit([mail(1)])
            assert told(await all_results(connection)) == ["1: delivered 250 queued"]
            await connection.quit()

    run(scenario())


ENVELOPE_ALONE = f"""
C: MAIL FROM:<a@sender.example>
S: 250 ok
C: RCPT TO:<b@mx.example>
S: 250 ok
C: DATA
S: 354 go
{CONTENT_LINES}
S: 250 queued
"""


@pytest.mark.parametrize("broken", BROKEN)
def test_a_failed_handshake_sends_nothing_where_tls_is_required(run, broken):  # item 121
    async def scenario() -> None:
        async with scripted(broken) as mx:
            outcome = in_words(await verdict(at(mx.port, tls=REQUIRE, verify=False), handshake=SOON))
            assert outcome in ("deferred 451 4.7.5", "deferred 451 4.4.2")
            assert b"MAIL" not in mx.heard[0]

    run(scenario())


def test_the_next_host_comes_before_plaintext(run, certificate):  # item 132
    async def scenario() -> None:
        async with scripted(BROKEN[0]) as first, scripted(f"{SECURED}{BYE}", certificate=certificate) as second:
            connection = await opened(at(first.port, second.port, tls=ENABLE))
            assert connection.host.endswith(f":{second.port}")
            assert connection.tls
            await connection.quit()
            assert first.connections == 1

    run(scenario())


@pytest.mark.parametrize(
    ("names", "expired", "site", "mode", "verify", "trusted", "says"),
    [
        (["localhost"], False, "relay:x", REQUIRE, True, True, ""),
        (["localhost"], False, "relay:x", REQUIRE, True, False, "the server's certificate is refused"),
        (["other.example"], False, "relay:x", REQUIRE, True, True, "Hostname mismatch"),
        (["localhost"], True, "relay:x", REQUIRE, True, True, "certificate has expired"),
        (["other.example"], True, "relay:x", REQUIRE, False, False, ""),
        (["other.example"], True, "relay:x", ENABLE, True, False, ""),  # item 123
        (["other.example"], True, "mx:localhost", REQUIRE, True, False, ""),
    ],
)
def test_who_is_trusted(run, authority, tmp_path, names, expired, site, mode, verify, trusted, says):
    authorities = authority.file if trusted else Authority(tmp_path).file

    async def scenario(sink: RecordingSink) -> None:
        connected = await reached(at(sink.port, site=site, tls=mode, verify=verify, ca_file=str(authorities)))
        if says:
            assert isinstance(connected, Unreachable)
            assert in_words(connected.outcome) == "deferred 451 4.7.5"
            assert says in connected.outcome.reply.text
        else:
            assert isinstance(connected, Connection)
            assert connected.tls
            await connected.quit()

    with RecordingSink(certificate=authority.issue(*names, expired=expired)) as sink:
        run(scenario(sink))


@pytest.mark.parametrize(
    ("name", "sni"), [("localhost", "localhost"), ("localhost.", "localhost"), ("127.0.0.1", None), ("[::1]", None)]
)
def test_the_servers_name_is_said_in_the_handshake_but_never_an_address(run, certificate, name, sni):  # item 129
    async def scenario() -> None:
        async with scripted(f"{SECURED}{BYE}", certificate=certificate) as mx:
            await (await opened(at(mx.port, name=name, tls=ENABLE))).quit()
            assert mx.sni == [sni]

    run(scenario())


def test_an_address_as_the_relays_name_is_looked_for_in_the_certificate(run, authority):  # item 129
    async def scenario(sink: RecordingSink) -> None:
        route = at(sink.port, name="127.0.0.1", tls=REQUIRE, ca_file=str(authority.file))
        await (await opened(route)).quit()

    with RecordingSink(certificate=authority.issue("127.0.0.1")) as sink:
        run(scenario(sink))


def test_authorities_that_can_not_be_read_defer(run, tmp_path):
    async def scenario() -> None:
        outcome = await verdict(at(1, tls=REQUIRE, ca_file=str(tmp_path / "none.pem")))
        assert in_words(outcome) == "deferred 451 4.7.5"

    run(scenario())


@pytest.mark.parametrize("mode", [ENABLE, REQUIRE])
def test_port_465_speaks_tls_at_once(run, certificate, authority, mode):  # item 130
    async def scenario() -> None:
        async with scripted(f"H: handshake{HELLO}{BYE}", certificate=certificate, address=ON_465) as mx:
            connection = await opened(at(mx.port, address=mx.address, tls=mode, ca_file=str(authority.file)))
            assert connection.tls
            await connection.quit()

    run(scenario())


def test_port_465_speaks_plaintext_where_there_is_to_be_no_tls(run):  # item 120
    async def scenario() -> None:
        async with scripted(f"{HELLO}{BYE}", address=ON_465) as mx:
            connection = await opened(at(mx.port, address=mx.address, tls=NONE))
            await connection.quit()

    run(scenario())


def test_a_server_without_tls_on_port_465_gets_no_mail_where_tls_is_required(run):
    async def scenario() -> None:
        async with scripted("S: 220 mx.example\nW: waits", address=ON_465) as mx:
            outcome = await verdict(at(mx.port, address=mx.address, tls=REQUIRE, verify=False))
            assert in_words(outcome) == "deferred 451 4.7.5"
            assert b"MAIL" not in mx.heard[0]

    run(scenario())


# -- signing in


def credentials(tmp_path: Path, password: str, allow_plaintext: bool = False) -> Credentials:
    file = tmp_path / "password"
    file.write_text(password + "\n")
    return Credentials(user="robot", password=SecretReference(file=str(file)), allow_plaintext=allow_plaintext)


@pytest.mark.parametrize(
    ("password", "allow_plaintext", "mode", "expected"),
    [
        ("s3cret", False, REQUIRE, "signed in"),
        ("s3cret", False, ENABLE, "signed in"),
        ("s3cret", True, NONE, "signed in"),
        ("s3cret", False, NONE, "deferred 451 4.7.0"),  # item 133
        ("wrong", False, REQUIRE, "deferred 535 5.7.8"),  # item 139
    ],
)
def test_signing_in(run, certificate, authority, tmp_path, password, allow_plaintext, mode, expected):
    login = credentials(tmp_path, password, allow_plaintext)

    async def scenario(sink: RecordingSink) -> None:
        connected = await reached(at(sink.port, tls=mode, credentials=login, ca_file=str(authority.file)))
        if isinstance(connected, Unreachable):
            assert in_words(connected.outcome).startswith(expected)
            assert password not in repr(connected)  # item 142
            return
        assert expected == "signed in"
        connected.submit([mail(1)])
        assert "delivered" in told(await all_results(connected))[0]
        await connected.quit()

    with RecordingSink(certificate=certificate, users={"robot": "s3cret"}, auth_in_plaintext=True) as sink:
        run(scenario(sink))


def test_a_password_that_can_not_be_read_defers_without_a_connection(run, tmp_path):
    login = Credentials(user="robot", password=SecretReference(file=str(tmp_path / "none")))

    async def scenario() -> None:
        outcome = await verdict(at(1, credentials=login))
        assert in_words(outcome) == "deferred 451 4.7.0"

    run(scenario())


# -- HELO


def test_the_name_is_found_in_dns(run):  # items 29, 31
    zones = {"127.in-addr.arpa": "1.0.0 PTR robot.example.", "example": "robot A 127.0.0.1"}

    async def scenario(server: str) -> None:
        dialogue = f"S: 220 mx.example\nC: EHLO robot.example\nS: 250 mx.example{BYE}"
        async with scripted(dialogue) as mx:
            connected = await connect(at(mx.port), helo=HeloNames("auto", [server]))
            assert isinstance(connected, Connection)
            await connected.quit()

    with nsd(zones) as name_server:
        run(scenario(name_server.server))


def test_without_a_name_in_dns_the_address_is_said(run):
    async def scenario(server: str) -> None:
        dialogue = f"S: 220 mx.example\nC: EHLO [127.0.0.1]\nS: 250 mx.example{BYE}"
        async with scripted(dialogue) as mx:
            connected = await connect(at(mx.port), helo=HeloNames("auto", [server]))
            assert isinstance(connected, Connection)
            await connected.quit()

    with nsd({"127.in-addr.arpa": "2.0.0 PTR other.example."}) as name_server:
        run(scenario(name_server.server))


# -- real servers


def test_ten_thousand_mails_to_smtp_sink(run):
    async def scenario(port: int) -> None:
        connection = await opened(at(port))
        connection.submit([mail(number) for number in range(10_000)])
        results = await all_results(connection)
        assert [result.mail.key for result in results] == list(range(10_000))
        assert all(" delivered 250 " in line for line in told(results))
        await connection.quit()

    with SmtpSink() as sink:
        run(scenario(sink.port))


def test_mails_to_postfix_with_tls_and_a_password(certificate, authority, tmp_path):
    async def scenario(postfix: PrivatePostfix) -> None:
        login = credentials(tmp_path, "s3cret")
        route = at(postfix.port, tls=REQUIRE, credentials=login, ca_file=str(authority.file))
        connection = await opened(route)
        mails = [
            mail(1, "b@mx.example", "c@mx.example"),
            mail(2, content=b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n"),
            mail(3, content="Subject: grüß\r\n\r\ngrüß\r\n".encode(), eight_bit=True, smtputf8=True),
        ]
        connection.submit(mails)
        outcomes = told(await all_results(connection))
        assert [line.split(" 250 ")[0] for line in outcomes] == [f"{number}: delivered" for number in (1, 2, 3)]
        await connection.quit()

    with PrivatePostfix(certificate=certificate, require_tls=True, users={"robot": "s3cret"}) as postfix:
        uvloop.run(scenario(postfix))
        received = postfix.wait_for(4)
        assert sorted(each.recipient.split("@")[0] for each in received) == ["b", "b", "b", "c"]
        [dots] = [each for each in received if each.mail["Subject"] == "dots"]
        assert dots.content.replace(b"\r\n", b"\n").endswith(b"\n\n.\n..\n.x\n")


def test_postfix_without_tls_or_with_a_wrong_password(certificate, tmp_path):
    with PrivatePostfix(certificate=certificate, users={"robot": "s3cret"}) as postfix:

        async def scenario() -> None:
            route = at(postfix.port, tls=NONE, credentials=credentials(tmp_path, "s3cret"))
            assert in_words(await verdict(route)) == "deferred 451 4.7.0"
            route = at(postfix.port, tls=REQUIRE, credentials=credentials(tmp_path, "wrong"), verify=False)
            assert in_words(await verdict(route)).startswith("deferred 535 5.7.8")

        uvloop.run(scenario())
