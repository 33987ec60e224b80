"""Who is asking."""

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Scope as AsgiScope

from services.console import described
from services.console.problems import refusal
from services.console.sessions import Session
from shared.console_accounts import Scope

_KEY = "pillarbox.caller"


class Caller(msgspec.Struct, frozen=True):
    """A program by its token, or a person by a session."""

    name: str
    scopes: tuple[Scope, ...]
    session: Session | None = None

    def may(self, scope: Scope) -> bool:
        """Whether it may do that."""
        return scope in self.scopes


def set_caller(scope: AsgiScope, caller: Caller) -> None:
    """Remember who it is, for as long as the request takes."""
    scope[_KEY] = caller  # type: ignore[literal-required]  # ASGI lets applications add keys


def caller_of(connection: ASGIConnection) -> Caller:  # type: ignore[type-arg]  # of any kind
    """Who it is. The gate lets nobody through of whom that is not known."""
    found = connection.scope[_KEY]  # type: ignore[literal-required]  # as above
    assert isinstance(found, Caller)
    return found


def is_known(connection: ASGIConnection) -> bool:  # type: ignore[type-arg]  # of any kind
    """Whether it is known who is asking; not where everybody may ask."""
    return _KEY in connection.scope


def in_scope(connection: ASGIConnection, handler: BaseRouteHandler) -> None:  # type: ignore[type-arg]  # as above
    """A guard: who may not do what the handler does is refused."""
    wanted = described.of(handler.opt)
    if wanted is None:  # that of OPTIONS, which says what methods there are
        return
    if not caller_of(connection).may(wanted.scope):
        raise refusal(403, f"this token may not: it has not the scope `{wanted.scope}`", name="scope")
