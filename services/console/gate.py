"""What every request passes first: who is asking, and what every answer carries last: the headers that protect people.

Outside of the application, so that what is not there is as closed as what is.
"""

from collections.abc import Iterable

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Send
from litestar.types import Scope as AsgiScope

from services.console.accounts import Accounts
from services.console.answers import encode
from services.console.callers import Caller, set_caller
from services.console.paths import routable
from services.console.problems import MEDIA_TYPE, Refusal, refusal
from services.console.sessions import Sessions
from services.console.style import STYLE_SOURCE
from shared import metrics

log = structlog.get_logger()

# What is to be had without being somebody: signing in, and what that page is made of.
_OPEN = ("/health", "/sign-in", "/sign-in/link")
_OPEN_BELOW = "/static/"
_API = "/api/"

# No script but our files, no style but the pages'; nothing from elsewhere; nobody frames us. Frames are our own: mail,
# sandboxed.
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; script-src 'self'; style-src {STYLE_SOURCE}; img-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}
_OVER_TLS = {"strict-transport-security": "max-age=31536000"}


class Gate:
    """An ASGI application around another one."""

    def __init__(self, application: ASGIApp, accounts: Accounts, sessions: Sessions, *, secure: bool) -> None:
        self._application = application
        self._accounts = accounts
        self._sessions = sessions
        self._headers = {**_HEADERS, **(_OVER_TLS if secure else {})}

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """One request."""
        assert scope["type"] == ScopeType.HTTP, "uvicorn is told to speak nothing else"
        scope["path"] = routable(scope.get("raw_path") or scope["path"].encode())
        sending = self._protected(send)
        try:
            caller = self._caller(scope)
        except Refusal as refused:
            await _refuse(refused, sending)
            return
        if caller is None and not _is_open(scope["path"]):
            await _send_away(scope, sending)
            return
        if caller is not None:
            set_caller(scope, caller)
        await self._application(scope, receive, sending)

    def _caller(self, scope: AsgiScope) -> Caller | None:
        """Who is asking: programs by token, people by session, and neither in the other's place."""
        headers = dict(scope["headers"])
        if scope["path"].startswith(_API):
            return self._by_token(headers.get(b"authorization", b"").decode("latin-1"))
        cookies = headers.get(b"cookie", b"").decode("latin-1")
        session = self._sessions.find(_cookie(cookies, self._sessions.cookie))
        return None if session is None else Caller(session.user, session.scopes, session)

    def _by_token(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        found = self._accounts.by_token(token.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            words = "takes a token: `Authorization: Bearer …`" if not authorization else "no such token"
            refused = refusal(401, words, name="token")
            refused.headers["WWW-Authenticate"] = 'Bearer realm="pillarbox"'
            raise refused
        name, known = found
        return Caller(name, known.scopes)

    def _protected(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                metrics.REQUESTS.labels(f"{message['status'] // 100}xx").inc()
                message["headers"] = _with(message.get("headers", []), self._headers)
            await send(message)

        return sending


def _with(headers: Iterable[tuple[bytes, bytes]], more: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers, and those of ours that the answer does not set itself."""
    own = list(headers)
    there = {name.lower() for name, _ in own}
    return own + [(name.encode(), value.encode()) for name, value in more.items() if name.encode() not in there]


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith(_OPEN_BELOW)


def _cookie(header: str, name: str) -> str | None:
    for part in header.split(";"):
        found, _, value = part.strip().partition("=")
        if found == name:
            return value
    return None


async def _send_away(scope: AsgiScope, send: Send) -> None:
    """To the sign-in: a person, or a page that asks for a piece of itself."""
    headers = dict(scope["headers"])
    if headers.get(b"hx-request") == b"true":
        await _answer(send, 401, [(b"hx-redirect", b"/sign-in")])
    elif scope.get("method") in ("GET", "HEAD"):
        await _answer(send, 303, [(b"location", b"/sign-in")])
    else:
        await _answer(send, 401, [(b"content-type", b"text/plain")], b"Please sign in again.\n")


async def _refuse(refused: Refusal, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
    await _answer(
        send, refused.problem.status, [*headers, (b"content-type", MEDIA_TYPE.encode())], encode(refused.problem)
    )


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
