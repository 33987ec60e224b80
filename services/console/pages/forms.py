"""Forms: only our own pages may send them, and only for what somebody may do."""

from collections.abc import Mapping
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from services.console.callers import caller_of
from services.console.problems import refusal
from services.console.reading import Incoming
from services.console.sessions import Sessions
from shared.console_accounts import Scope

FIELD, HEADER = "form_token", "X-Form-Token"
MOST_OCTETS = 8 * 1024 * 1024  # of a form; a file of the suppression list is the largest

_SAFE = {"GET", "HEAD", "OPTIONS"}
_SCOPE = "scope"


def needing(scope: Scope) -> dict[str, Any]:
    """For the `opt` of a page's handler; without it the page takes `read`."""
    return {_SCOPE: scope}


def may(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A guard: who may not do that is told so."""
    wanted = handler.opt.get(_SCOPE, Scope.READ)
    if not caller_of(connection).may(wanted):
        raise refusal(403, f"you may not do that here: it takes the scope `{wanted}`", name="scope")


class OwnForms:
    """A guard: what changes something comes from a form of ours."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        """Refuse others."""
        if connection.scope.get("method") in _SAFE:
            return
        session = caller_of(connection).session
        assert session is not None
        assert isinstance(connection, Request)
        await check_form(connection, self._sessions, session.id)


async def check_form(request: Incoming, sessions: Sessions, of: str) -> None:
    """Raises Refusal unless the form has the token of this session, or visit."""
    # Browsers say where a form comes from; the token is for those that do not.
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise refusal(403, "this form comes from another site", name="form")
    given = request.headers.get(HEADER) or (await request.form()).get(FIELD)
    if not isinstance(given, str) or not sessions.is_form_token(given, of):
        raise refusal(403, "this form is too old: load the page again, and send it anew", name="form")


async def fields(request: Incoming) -> Mapping[str, str]:
    """What a form says, texts alone, blanks at the ends taken off; of a name given several times the last."""
    form = await request.form()
    return {name: value.strip() for name, value in form.multi_items() if isinstance(value, str)}


async def chosen(request: Incoming, name: str) -> list[str]:
    """All that a form says under a name."""
    return [value for value in (await request.form()).getall(name, []) if isinstance(value, str) and value]
