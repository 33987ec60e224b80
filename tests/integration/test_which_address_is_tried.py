"""Which addresses of a host the sender tries, over real sockets, and what it calls the host there."""

import asyncio
import socket

import pytest

from services.sender.connection import Connection, Unreachable, connect
from services.sender.families import Families
from services.sender.helo import HeloNames
from shared.contracts.work import Host, Route, TlsMode
from tests.support.certificates import Authority
from tests.support.connections import BYE, HELLO, all_results, at, opened
from tests.support.dns import nsd
from tests.support.ports import free_port
from tests.support.sinks import RecordingSink
from tests.support.smtp_script import scripted
from tests.support.transcript import in_words, mail, told

# Linux answers a connection to a group of hosts with ENETUNREACH, whatever routes there are.
NO_ROUTE = "ff02::1"


def route_to(port: int, *addresses: str) -> Route:
    return Route("mx:mx.example", (Host("mx.example", port, addresses),), TlsMode.NONE, None, 1)


async def dial(route: Route, families: Families | None = None, most: int = 5) -> Connection | Unreachable:
    return await connect(route, helo=HeloNames("us.example"), families=families, most_addresses=most)


@pytest.mark.checklist(10, 14)
@pytest.mark.parametrize("addresses", [(NO_ROUTE, "127.0.0.1"), ("224.0.0.1", "127.0.0.1")])
def test_an_address_without_a_route_is_skipped(addresses):
    async def scenario() -> None:
        async with scripted(f"{HELLO}{BYE}") as mx:
            connection = await dial(route_to(mx.port, *addresses))
            assert isinstance(connection, Connection)
            assert connection.target.address == "127.0.0.1"
            await connection.quit()

    asyncio.run(scenario())


@pytest.mark.checklist(14)
def test_what_an_address_with_a_route_said_is_told_and_not_that_another_has_none():
    async def scenario() -> None:
        unreachable = await dial(route_to(free_port(), "127.0.0.1", NO_ROUTE))
        assert isinstance(unreachable, Unreachable)
        assert in_words(unreachable.outcome) == "deferred 451 4.4.1"
        assert "[127.0.0.1]" in unreachable.outcome.host

    asyncio.run(scenario())


@pytest.mark.checklist(11)
@pytest.mark.parametrize(("most", "reached"), [(2, False), (3, True)])
def test_as_many_addresses_are_tried_as_the_setting_says(most, reached):
    async def scenario() -> None:
        async with scripted(f"{HELLO}{BYE}") as mx:
            # Nothing listens at the first two.
            found = await dial(route_to(mx.port, "127.0.0.2", "127.0.0.3", "127.0.0.1"), most=most)
            assert isinstance(found, Connection) is reached
            if isinstance(found, Connection):
                await found.quit()
            else:
                await (await opened(at(mx.port))).quit()  # the script has to be played

    asyncio.run(scenario())


def ipv6_loopback() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not ipv6_loopback(), reason="the machine has no IPv6 at all")
@pytest.mark.checklist(13)
@pytest.mark.parametrize("refuses", ["MAIL", "RCPT"])
def test_a_host_that_refuses_over_ipv4_on_policy_gets_the_next_mail_over_ipv6(refuses):
    families = Families()

    async def scenario(four: RecordingSink, six: RecordingSink) -> None:
        route = route_to(four.port, "127.0.0.1", "::1")
        expected = [("127.0.0.1", "1: bounced 550 5.7.25 no PTR record"), ("::1", "1: delivered")]
        for address, result in expected:
            connection = await dial(route, families)
            assert isinstance(connection, Connection)
            connection.submit([mail(1)])
            assert connection.target.address == address
            assert told(await all_results(connection))[0].startswith(result)
            await connection.quit()

    port = free_port()
    with RecordingSink(port=port) as four, RecordingSink(address="::1", port=port) as six:
        four.answer(refuses, "*", "550 5.7.25 no PTR record")
        asyncio.run(scenario(four, six))
        assert len(six.mails) == 1


@pytest.mark.checklist(24)
def test_the_certificate_of_a_host_with_an_umlaut_is_checked_under_its_a_label(authority: Authority):
    name = "xn--bcher-kva.example"

    async def scenario(port: int) -> None:
        route = at(port, name=name, tls=TlsMode.REQUIRE, ca_file=str(authority.file))
        await (await opened(route)).quit()

    with RecordingSink(certificate=authority.issue(name)) as sink:
        asyncio.run(scenario(sink.port))


ZONES = {
    "127.in-addr.arpa": "1.0.0 PTR wrong.example.\n1.0.0 PTR robot.example.\n2.0.0 PTR wrong.example.",
    f"{'0.' * 31}ip6.arpa": "1 PTR six.example.",
    "example": "robot A 127.0.0.1\nwrong A 192.0.2.1\nsix AAAA ::1",
    "3.0.0.127.in-addr.arpa": None,
}


@pytest.mark.checklist(28, 29, 30, 31)
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1", "robot.example"),
        ("::1", "six.example"),
        ("127.0.0.2", "[127.0.0.2]"),  # fail: its name does not lead back
        ("127.0.0.4", "[127.0.0.4]"),  # permerror: no name
        ("127.0.0.3", "[127.0.0.3]"),  # temperror: SERVFAIL
    ],
)
def test_the_name_of_each_egress_address_is_asked_of_a_real_name_server(address, said):
    with nsd(ZONES) as server:
        assert asyncio.run(HeloNames("auto", [server.server]).argument(address)) == said


@pytest.mark.checklist(32)
def test_a_name_server_that_fails_keeps_the_last_good_name():
    now = [0.0]

    async def scenario(names: HeloNames) -> str:
        return await names.argument("127.0.0.1")

    with nsd(ZONES) as server:
        names = HeloNames("auto", [server.server], fallback="other.example", clock=lambda: now[0])
        assert asyncio.run(scenario(names)) == "robot.example"
    now[0] = 4000.0  # the server is gone, and what was found has to be looked at again
    assert asyncio.run(scenario(names)) == "robot.example"
