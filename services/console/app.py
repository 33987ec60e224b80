"""The application: handlers, what they are given, and how errors leave."""

import asyncio
from typing import Any

from litestar import Litestar, Request, Response, Router, get
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp

from services.console import openapi
from services.console.accounts import Accounts
from services.console.answers import answered, refused
from services.console.api import batch, events, mails, operating, settings, suppression
from services.console.callers import in_scope
from services.console.desk import Desk
from services.console.environment import Places
from services.console.gate import Gate
from services.console.link import Link
from services.console.looking import Looks
from services.console.problems import refusal_of
from services.console.reading import Bodies
from services.console.sessions import Sessions
from shared.broker import Broker
from shared.settings_feed import SettingsFeed

_MOST_OCTETS = 1024 * 1024 * 1024  # of a body; each handler says less


def application(places: Places, accounts: Accounts, broker: Broker, feed: SettingsFeed, stop: asyncio.Event) -> ASGIApp:
    """All of it, behind the gate. `stop`: the console ends, and with it what flows."""
    desk = Desk(broker, feed)
    sessions = Sessions(places.session_key, accounts.user, secure=places.secure)
    provided = {
        "desk": desk,
        "looks": Looks(desk),
        "bodies": Bodies(),
        "accounts": accounts,
        "sessions": sessions,
        "link": Link(places.link),
    }
    streams = events.EventStreams(broker, stop)
    handlers = api_handlers(desk, streams)
    api = Router(openapi.ROOT, route_handlers=[*handlers, openapi.handler(handlers)], guards=[in_scope])
    app = Litestar(
        [api, health],
        dependencies={name: Provide(_giving(value), sync_to_thread=False) for name, value in provided.items()},
        exception_handlers={Exception: on_error, HTTPException: on_error},
        openapi_config=None,
        request_max_body_size=_MOST_OCTETS,
        signature_types=[Desk, Looks, Bodies, Accounts, Sessions, Link],
    )
    return Gate(app, accounts, sessions, secure=places.secure)


def api_handlers(desk: Desk | None = None, streams: events.EventStreams | None = None) -> list[BaseRouteHandler]:
    """The handlers of the API; without desk and streams, for the OpenAPI document alone."""
    modules = (mails, operating, settings, suppression)
    flowing = [batch.batch_handler(desk), events.events_handler(streams)]  # type: ignore[arg-type]  # not called then
    return [*(handler for module in modules for handler in module.HANDLERS), *flowing]


def on_error(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Every error of the API leaves as problem details."""
    return refused(refusal_of(error))


def _giving(value: Any) -> Any:
    return lambda: value


@get("/health")
async def health() -> Response[bytes]:
    """It runs, and has the settings."""
    return answered({"status": "pass"})
