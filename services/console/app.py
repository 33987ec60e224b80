"""The application: handlers, what they are given, and how errors leave."""

import asyncio
from collections.abc import Callable
from typing import Any

from litestar import Litestar, Request, Response, Router, get
from litestar.datastructures import CacheControlHeader
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.response import Template
from litestar.static_files import create_static_files_router
from litestar.types import ASGIApp

from services.console import openapi
from services.console.accounts import Accounts
from services.console.answers import answered, refused
from services.console.api import batch, events, mails, operating, options, settings, suppression
from services.console.callers import in_scope, is_known
from services.console.desk import Desk
from services.console.environment import Places
from services.console.gate import Gate
from services.console.link import Link
from services.console.looking import Looks
from services.console.pages import held, lists, overview, sign_in
from services.console.pages import mails as mail_pages
from services.console.pages import settings as settings_pages
from services.console.pages.forms import MOST_OCTETS, OwnForms, may
from services.console.pages.showing import STATIC, Showing, templates
from services.console.pages.sign_in import Door
from services.console.problems import refusal_of
from services.console.reading import Bodies
from services.console.sessions import Sessions
from shared.broker import Broker
from shared.passwords import Verifier
from shared.settings_feed import SettingsFeed

_MOST_OCTETS = 1024 * 1024 * 1024  # of a body of the API; each handler takes less
_MOST_SIGN_IN = 64 * 1024
_PAGES = (overview, mail_pages, held, settings_pages, lists)


def application(places: Places, accounts: Accounts, broker: Broker, feed: SettingsFeed, stop: asyncio.Event) -> ASGIApp:
    """All of it, behind the gate. `stop`: the console ends, and with it what flows."""
    desk = Desk(broker, feed)
    sessions = Sessions(places.session_key, accounts.user, secure=places.secure)
    showing = Showing(sessions)
    provided = {
        "desk": desk,
        "looks": Looks(desk),
        "bodies": Bodies(),
        "sessions": sessions,
        "showing": showing,
        "door": Door(accounts, sessions, Link(places.link), Verifier()),
    }
    app = Litestar(
        [_api(desk, events.EventStreams(broker, stop)), _pages(sessions), _door(), _static(), health],
        dependencies={name: Provide(_giving(value), sync_to_thread=False) for name, value in provided.items()},
        exception_handlers={Exception: _leaving(showing), HTTPException: _leaving(showing)},
        template_config=templates(),
        openapi_config=None,
        logging_config=None,  # the worker has set the log up
        request_max_body_size=_MOST_OCTETS,
        signature_types=[Desk, Looks, Bodies, Sessions, Showing, Door],
    )
    return Gate(app, accounts, sessions, secure=places.secure)


def api_handlers(desk: Desk | None = None, streams: events.EventStreams | None = None) -> list[BaseRouteHandler]:
    """The handlers of the API; without desk and streams, for the OpenAPI document alone."""
    modules = (mails, operating, settings, suppression)
    flowing = [batch.batch_handler(desk), events.events_handler(streams)]  # type: ignore[arg-type]  # not called then
    return [*(handler for module in modules for handler in module.HANDLERS), *flowing]


def _api(desk: Desk, streams: events.EventStreams) -> Router:
    handlers = api_handlers(desk, streams)
    handlers.append(openapi.handler(handlers))
    return Router(openapi.ROOT, route_handlers=[*options.of(handlers), *handlers], guards=[in_scope])


def _pages(sessions: Sessions) -> Router:
    handlers = [handler for module in _PAGES for handler in module.HANDLERS]
    guards: list[Any] = [may, OwnForms(sessions)]
    return Router("/", route_handlers=[*handlers, sign_in.sign_out], guards=guards, request_max_body_size=MOST_OCTETS)


def _door() -> Router:
    return Router("/", route_handlers=sign_in.OPEN, request_max_body_size=_MOST_SIGN_IN)


def _static() -> Router:
    hour = CacheControlHeader(max_age=3600, private=True)
    return create_static_files_router("/static", [STATIC], cache_control=hour)


def _leaving(showing: Showing) -> Callable[[Request[Any, Any, Any], Exception], Response[Any]]:
    """How errors leave: problem details for programs, a page for people."""

    def leave(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        found = refusal_of(error)
        if request.scope["path"].startswith("/api/"):
            return refused(found)
        problem = found.problem
        if is_known(request):
            page = showing.page(request, "error", problem.status, problem=problem)
        else:
            page = Template("sorry.html", context={"problem": problem}, status_code=problem.status)
        page.headers.update(found.headers)
        return page

    return leave


def _giving(value: Any) -> Callable[[], Any]:
    return lambda: value


@get("/health")
async def health() -> Response[bytes]:
    """It runs, and has the settings."""
    return answered({"status": "pass"})
