"""Signing in and out."""

import secrets
import time
from typing import Any

import structlog
from litestar import Response, get, post
from litestar.response import Redirect, Template

from services.console.accounts import Accounts
from services.console.attempts import Attempts
from services.console.callers import caller_of
from services.console.link import Link
from services.console.pages.forms import check_form, fields
from services.console.reading import Incoming
from services.console.sessions import LINK_USER, Sessions
from shared import metrics
from shared.passwords import LONGEST, Verifier

log = structlog.get_logger()

_VISIT = "pillarbox-visit"  # a cookie: ties the form of somebody who is nobody yet to a browser


class Door:
    """Lets people in."""

    def __init__(self, accounts: Accounts, sessions: Sessions, link: Link, verifier: Verifier) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._link = link
        self._verifier = verifier
        self._attempts = Attempts(time.monotonic)

    def form(self, request: Incoming, name: str, status: int = 200, **values: Any) -> Template:
        """A page for somebody who has not signed in."""
        visit = request.cookies.get(_VISIT) or secrets.token_urlsafe(16)
        secure = "; Secure" if self._sessions.secure else ""
        cookie = f"{_VISIT}={visit}; Path=/; HttpOnly; SameSite=Strict{secure}"
        return Template(
            f"{name}.html",
            context={"form_token": self._sessions.form_token(visit), **values},
            status_code=status,
            headers={"Set-Cookie": cookie},
        )

    async def check(self, request: Incoming) -> None:
        """Raises Refusal for a form that is not of this visit."""
        await check_form(request, self._sessions, request.cookies.get(_VISIT, ""))

    async def by_password(self, request: Incoming, name: str, password: str) -> Response[Any]:
        """Let somebody in who knows the password."""
        address = request.client.host if request.client else ""
        wait = self._attempts.wait(name, address)
        if wait:
            metrics.SIGN_INS.labels("made_to_wait").inc()
            words = f"Too many attempts. Try again in {max(1, round(wait))} seconds."
            return self._again(request, 429, name, words, {"Retry-After": str(max(1, round(wait)))})
        user = self._accounts.user(name)
        # Counted before it is judged: many at once are many.
        self._attempts.failed(name, address)
        right = await self._verifier.verify(user.password if user else None, password[: LONGEST + 1])
        if user is None or not right:
            metrics.SIGN_INS.labels("refused").inc()
            log.warning("sign_in_refused", user=name[:100], address=address, next="none")
            return self._again(request, 401, name, "This name and this password do not go together.", {})
        self._attempts.succeeded(name, address)
        return self._let_in(name, self._sessions.open(name, user), address)

    def by_link(self, request: Incoming, token: str) -> Response[Any]:
        """Let somebody in who has the one-time link."""
        if not self._link.use(token):
            return self.form(request, "link", 401, token="", error="This link was used already, or is too old.")
        address = request.client.host if request.client else ""
        return self._let_in(LINK_USER, self._sessions.open(LINK_USER, None), address)

    def may_use(self, token: str) -> bool:
        """Whether a link would let somebody in."""
        return self._link.is_valid(token)

    def _let_in(self, name: str, cookie: str, address: str) -> Redirect:
        metrics.SIGN_INS.labels("signed_in").inc()
        log.info("signed_in", user=name, address=address)
        return Redirect("/", status_code=303, headers={"Set-Cookie": self._sessions.set_cookie(cookie)})

    def _again(self, request: Incoming, status: int, name: str, error: str, headers: dict[str, str]) -> Template:
        page = self.form(request, "sign_in", status, user=name, error=error)
        page.headers.update(headers)
        return page


@get("/sign-in")
async def sign_in(request: Incoming, door: Door, sessions: Sessions) -> Response[Any]:
    """The form."""
    if sessions.find(request.cookies.get(sessions.cookie)):
        return Redirect("/", status_code=303)
    return door.form(request, "sign_in", user="", error="")


@post("/sign-in", status_code=200)
async def let_in(request: Incoming, door: Door) -> Response[Any]:
    """The form, filled in."""
    await door.check(request)
    form = await request.form()
    name, password = form.get("user"), form.get("password")
    return await door.by_password(request, str(name or "").strip()[:100], str(password or ""))


@get("/sign-in/link")
async def link(request: Incoming, door: Door) -> Response[Any]:
    """What the one-time link leads to. A button, because programs that look at links beforehand would use it up."""
    token = request.query_params.get("token", "")
    if not door.may_use(token):
        return door.form(request, "link", 401, token="", error="This link was used already, or is too old.")
    return door.form(request, "link", token=token, error="")


@post("/sign-in/link", status_code=200)
async def let_in_by_link(request: Incoming, door: Door) -> Response[Any]:
    """Its button."""
    await door.check(request)
    return door.by_link(request, (await fields(request)).get("token", ""))


@post("/sign-out")
async def sign_out(request: Incoming, sessions: Sessions) -> Redirect:
    """End the session."""
    session = caller_of(request).session
    assert session is not None
    sessions.end(session)
    log.info("signed_out", user=session.user)
    return Redirect("/sign-in", status_code=303, headers={"Set-Cookie": sessions.set_cookie("")})


OPEN: list[Any] = [sign_in, let_in, link, let_in_by_link]
