"""Pages: what every template is given, and how values look to people."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Redirect, Template
from litestar.template import TemplateConfig
from markupsafe import Markup, escape

from services.console.callers import Caller, caller_of
from services.console.paths import mail_path
from services.console.reading import Incoming
from services.console.sessions import Sessions
from services.console.style import STYLE, TEMPLATES
from shared.console_accounts import Scope
from shared.durations import format_duration

STATIC = Path(__file__).parents[1] / "static"

_ISO = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00)")

NAVIGATION = (
    ("/", "Overview"),
    ("/mails", "Mails"),
    ("/held", "Held"),
    ("/settings", "Settings"),
    ("/suppression", "Suppression"),
    ("/dead-letters", "Dead letters"),
    ("/senders", "Senders"),
)


def templates() -> TemplateConfig[JinjaTemplateEngine]:
    """For the application."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"style": STYLE, "icon": _picture("icon"), "nothing": _picture("empty")}
    environment.filters |= {
        "time": moment,
        "moments": moments,
        "until": countdown,
        "words": words,
        "size": size,
        "seconds": seconds,
        "mail_path": lambda mail: mail_path(mail, "/mails/"),
        "reply": reply,
    }
    return TemplateConfig(instance=JinjaTemplateEngine.from_environment(environment))


def _picture(name: str) -> Markup:
    """Within the page: for an image of its own a browser makes a whole document before it paints anything."""
    drawn = (STATIC / f"{name}.svg").read_text(encoding="utf-8")
    return Markup(drawn.replace("<svg ", '<svg aria-hidden="true" ', 1))  # noqa: S704  # a file of ours


class Showing:
    """Makes pages."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def page(self, request: Incoming, name: str, status: int = 200, **values: Any) -> Template:
        """A page for somebody who has signed in."""
        caller = caller_of(request)
        return Template(
            f"{name}.html",
            context={
                "caller": caller,
                "may": {scope.value: caller.may(scope) for scope in Scope},
                "form_token": self.form_token(caller),
                "navigation": NAVIGATION,
                "here": here(request.scope["path"]),
                "note": self._sessions.noted(request.query_params.get("note", "")),
                "now": datetime.now(UTC),
                **values,
            },
            status_code=status,
        )

    def form_token(self, caller: Caller) -> str:
        """For the forms of somebody's session."""
        assert caller.session is not None
        return self._sessions.form_token(caller.session.id)

    def go(self, path: str, note: str = "") -> Redirect:
        """On to another page, which says what was done."""
        query = {"note": self._sessions.note(note)} if note else None
        return Redirect(path, status_code=303, query_params=query)


def here(path: str) -> str:
    """The entry of the navigation that a page belongs to."""
    found = [root for root, _ in NAVIGATION if root != "/" and (path == root or path.startswith(f"{root}/"))]
    return found[0] if found else "/" if path == "/" else ""


def moment(time: datetime) -> Markup:
    """A time; the browser writes it in its reader's zone."""
    utc = time.astimezone(UTC)
    return Markup('<time datetime="{}" data-local>{} UTC</time>').format(
        utc.isoformat(timespec="seconds"), utc.strftime("%Y-%m-%d %H:%M:%S")
    )


def moments(sentence: str) -> Markup:
    """A sentence of the scheduler's; the times in it as the browser's reader has them."""
    pieces = _ISO.split(sentence)  # every second one is a time
    return Markup("").join(
        moment(datetime.fromisoformat(piece)) if number % 2 else escape(piece) for number, piece in enumerate(pieces)
    )


def countdown(time: datetime, now: datetime) -> Markup:
    """How long until then; the browser counts on."""
    utc = time.astimezone(UTC)
    return Markup('<time datetime="{}" data-until>{}</time>').format(utc.isoformat(timespec="seconds"), left(utc - now))


def left(span: timedelta) -> str:
    """`in 4m12s`, or `now`."""
    if span < timedelta(seconds=1):
        return "now"
    whole = timedelta(seconds=int(span.total_seconds()))
    if whole >= timedelta(days=1):
        whole = timedelta(hours=int(whole.total_seconds() // 3600))
    elif whole >= timedelta(hours=1):
        whole = timedelta(minutes=int(whole.total_seconds() // 60))
    return f"in {format_duration(whole)}"


def words(name: str) -> str:
    """`in_doubt` as people write it."""
    return name.replace("_", " ")


def size(octets: int) -> str:
    """`12 KB`."""
    if octets < 1000:
        return f"{octets} octets"
    return f"{octets / 1000:,.0f} KB" if octets < 1_000_000 else f"{octets / 1_000_000:,.1f} MB"


def seconds(time: float) -> str:
    """`12 ms`, `3.4 s`."""
    return f"{time * 1000:,.0f} ms" if time < 1 else f"{time:,.1f} s"


def reply(said: Any) -> str:
    """Code, enhanced code and text of a step, a recipient or a site."""
    if not isinstance(said, Mapping):
        said = msgspec.structs.asdict(said)
    parts = (str(said.get("code") or ""), said.get("enhanced", ""), said.get("reply", "").replace("\n", " "))
    return " ".join(part for part in parts if part)
