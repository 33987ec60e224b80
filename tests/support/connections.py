"""Connections of the sender to servers on this machine, for tests of either event loop."""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from services.sender.broken_tls import BrokenTls
from services.sender.connection import Connection, Unreachable, connect
from services.sender.helo import HeloNames
from services.sender.login import Logins
from services.sender.session_mails import MailResult
from shared.contracts.work import Host, Route, TlsMode
from shared.outcomes import Outcome
from shared.settings import Fallback, Timeouts

Run = Callable[[Coroutine[Any, Any, None]], None]

SOON = timedelta(milliseconds=60)

HELLO = """
S: 220 mx.example
C: EHLO us.example
S: 250-mx.example
S: 250 PIPELINING
"""
OFFER = """
S: 220 mx.example
C: EHLO us.example
S: 250-mx.example
S: 250 STARTTLS
"""
BYE = """
C: QUIT
S: 221 bye
"""


def at(*ports: int, name: str = "localhost", address: str = "127.0.0.1", **fields: Any) -> Route:
    """A route to servers on these ports."""
    hosts = tuple(Host(name, port, (address,)) for port in ports)
    usual = {"site": "relay:localhost", "tls": TlsMode.NONE, "credentials": None, "revision": 1}
    return Route(**{**usual, **fields, "hosts": hosts})


async def opened(route: Route, **options: Any) -> Connection:
    """A session with the route's server, which must be there; `options` are those of `reached`."""
    connected = await reached(route, **options)
    assert isinstance(connected, Connection), connected
    return connected


async def reached(
    route: Route,
    fallback: Fallback | None = None,
    broken_tls: BrokenTls | None = None,
    logins: Logins | None = None,
    **timeouts: timedelta,
) -> Connection | Unreachable:
    """Open a session as us.example, or find that it can not be had."""
    return await connect(
        route,
        helo=HeloNames("us.example"),
        timeouts=Timeouts(**timeouts),
        fallback=fallback,
        broken_tls=broken_tls,
        logins=logins,
    )


async def verdict(route: Route, **options: Any) -> Outcome:
    """What mails for the route get, no session being possible."""
    connected = await reached(route, **options)
    assert isinstance(connected, Unreachable)
    return connected.outcome


async def all_results(connection: Connection) -> list[MailResult]:
    """The results of all mails in flight."""
    results: list[MailResult] = []
    while connection.in_flight:
        results += await connection.results()
    return [*results, *await connection.results()]
