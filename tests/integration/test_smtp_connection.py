"""Connections over real sockets."""

import asyncio
import contextlib
import socket

import msgspec
import pytest

from services.sender.connection import Connection, Unreachable, connect
from services.sender.dialler import Dialler
from services.sender.helo import HeloNames
from shared.contracts.work import Credentials, Host, Route, SecretReference, TlsMode
from shared.settings import Timeouts, parse_settings
from tests.support.connections import BYE, HELLO, SOON, all_results, at, opened, verdict
from tests.support.dns import nsd
from tests.support.ports import free_port
from tests.support.postfix import SmtpSink
from tests.support.sinks import RecordingSink
from tests.support.smtp_script import ScriptedServer, scripted
from tests.support.transcript import CONTENT_LINES, in_words, mail, told

NONE, ENABLE = TlsMode.NONE, TlsMode.ENABLE
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


@pytest.mark.checklist(72, 75)
@pytest.mark.parametrize(
    ("event", "expected"),
    [("X: hangs up", "1: deferred 451 4.4.2 in doubt"), ("S: 421 4.3.2 bye\nX: hangs up", "1: deferred 421 4.3.2 bye")],
)
def test_the_end_of_the_connection_settles_everything(run, event, expected):
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


@pytest.mark.checklist(78)
def test_an_idle_connection_notices_that_the_server_hangs_up(run):
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


@pytest.mark.checklist(103)
@pytest.mark.parametrize("mode", [NONE, ENABLE])
def test_large_mails_go_through_whole_while_replies_are_read(run, certificate, mode):
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


@pytest.mark.checklist(80, 88)
@pytest.mark.parametrize(
    ("dialogue", "timeouts", "says"),
    [
        ("W: waits", {"greeting": SOON}, "the greeting"),
        ("S: 220 mx.example\nC: EHLO us.example\nW: waits", {"hello": SOON}, "EHLO"),
        ("S: 554 go away\nC: QUIT\nW: waits", {"quit": SOON}, "go away"),
    ],
)
def test_a_server_that_stalls_before_mail_is_given_up(run, dialogue, timeouts, says):
    async def scenario() -> None:
        async with scripted(dialogue) as mx:
            outcome = await verdict(at(mx.port), **timeouts)
            assert says in outcome.reply.text  # type: ignore[union-attr]  # a Parked has no reply, and none comes

    run(scenario())


@pytest.mark.checklist(81, 82, 83)
@pytest.mark.parametrize(
    ("dialogue", "timeouts", "expected"),
    [
        (f"{HELLO}{ENVELOPE}W: waits", {"mail": SOON}, "deferred 451 4.4.2"),
        (f"{HELLO}{ENVELOPE}S: 250 ok\nW: waits", {"recipient": SOON}, "deferred 451 4.4.2"),
        (f"{HELLO}{ENVELOPE}S: 250 ok\nS: 250 ok\nW: waits", {"data": SOON}, "deferred 451 4.4.2"),
        (f"{HELLO}{ENVELOPE}{GO}{CONTENT_LINES}\nW: waits", {"final_dot": SOON}, "deferred 451 4.4.2 in doubt"),
        (f"{HELLO}{ENVELOPE}S: 550 no\nS: 503 no\nS: 503 no\nC: RSET\nW: waits", {"reset": SOON}, "bounced 550 no"),
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


@pytest.mark.checklist(84)
def test_a_server_that_reads_no_further_is_given_up(run):
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


@pytest.mark.checklist(87)
def test_a_server_that_trickles_is_given_up(run):
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


@pytest.mark.checklist(77)
def test_quit_waits_for_its_reply_only_briefly(run):
    async def scenario() -> None:
        async with scripted(f"{HELLO}C: QUIT\nW: waits") as mx:
            connection = await opened(at(mx.port), quit=SOON)
            async with asyncio.timeout(5):
                await connection.quit()
            assert connection.closed

    run(scenario())


@pytest.mark.checklist(88, 89)
def test_a_host_that_takes_no_connection_is_given_up(run):
    async def scenario() -> None:
        with socket.socket() as full, socket.socket() as waiting:
            # Its queue of connections is full, so it answers no further SYN.
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            waiting.connect(full.getsockname())
            async with scripted(f"{HELLO}{BYE}") as second:
                connection = await opened(at(full.getsockname()[1], second.port), connect=5 * SOON)
                assert connection.host.endswith(f":{second.port}")
                await connection.quit()

    run(scenario())


@pytest.mark.checklist(88)
def test_a_handshake_and_a_sign_in_that_stall_are_given_up(run, tmp_path):
    hello = "S: 220 mx.example\nC: EHLO us.example\nS: 250-mx.example"
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    login = Credentials(user="robot", password=SecretReference(file=str(file)), allow_plaintext=True)

    async def scenario() -> None:
        async with scripted(f"{hello}\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nW: waits") as mx:
            outcome = await verdict(at(mx.port, tls=TlsMode.REQUIRE, verify=False), handshake=SOON)
            assert in_words(outcome) == "deferred 451 4.7.5"
        async with scripted(f"{hello}\nS: 250 AUTH PLAIN\nC: ...\nW: waits") as mx:
            outcome = await verdict(at(mx.port, credentials=login), auth=SOON)
            assert in_words(outcome) == "deferred 451 4.4.2"

    run(scenario())


@pytest.mark.checklist(80, 106)
def test_the_settings_say_how_long_a_server_may_take_and_who_gets_commands_in_groups(run):
    settings = parse_settings(
        {
            "identity": {"helo_name": "us.example"},
            "timeouts": {"greeting": "0.06s"},
            "limits": {"sites": {"localhost": {"pipelining": False}}},
        }
    )

    async def scenario() -> None:
        async with scripted("W: waits") as first, scripted(f"{HELLO}C: ...\nX: hangs up") as second:
            dialler = Dialler(msgspec.structs.replace(settings, timeouts=Timeouts()))
            connection = await dialler.connect(at(second.port))
            assert isinstance(connection, Connection)
            connection.submit([mail(1)])
            assert told(await all_results(connection)) == ["1: deferred 451 4.4.2"]
            assert second.heard[0].endswith(b"MAIL FROM:<a@sender.example>\r\n")
            unreachable = await Dialler(settings).connect(at(first.port))
            assert isinstance(unreachable, Unreachable)
            assert "the greeting" in str(unreachable)

    run(scenario())


# -- hosts

REFUSES = "S: 554 5.7.1 go away\nC: QUIT\nS: 221 bye"
BUSY = "S: 421 4.3.2 busy\nX: hangs up"


@pytest.mark.checklist(35, 36, 89)
def test_the_next_host_is_tried_when_one_can_not_be_used(run):
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


@pytest.mark.checklist(41)
def test_a_server_that_calls_itself_by_our_name_is_a_loop_in_direct_mode_only(run):
    hello = "S: 220 us.example\nC: EHLO us.example\nS: 250 us.example"

    async def scenario() -> None:
        async with scripted(f"{hello}{BYE}", f"{hello}{BYE}") as mx:
            assert in_words(await verdict(at(mx.port, site="mx:localhost"))) == "bounced 554 5.4.6"
            await (await opened(at(mx.port))).quit()

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
