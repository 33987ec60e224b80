"""Held mails, and what is done to mails: asked first, then done."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.response import Template

from services.console.desk import Desk
from services.console.pages.forms import chosen, fields, needing
from services.console.pages.showing import Showing
from services.console.problems import refusal
from services.console.reading import Incoming
from shared.console_accounts import Scope
from shared.contracts.answers import CloseAnswer, ListAnswer, ReleaseAnswer, ResendAnswer, RetractAnswer
from shared.contracts.commands import Close, ListMails, Release, Resend, Retract
from shared.mail_ids import check_id

_MOST = 200  # mails in one form
_WAYS_BACK = ("/held", "/mails")


class Action(msgspec.Struct, frozen=True):
    """Something that is done to mails, in words."""

    name: str
    verb: str
    question: str
    warning: str
    dangerous: bool


ACTIONS = {
    action.name: action
    for action in (
        Action("retract", "Take back", "Take back", "This can not be undone: what is taken back is never sent.", True),
        Action("release", "Send now", "Send now", "They leave at once; after that they can not be taken back.", False),
        Action("resend", "Send again", "Send again",
               "The receiver may have them already: a second copy may arrive.", True),
        Action("close", "Count as delivered", "Count as delivered", "They are not sent again.", True),
    )
}  # fmt: skip


class Meant(msgspec.Struct, frozen=True):
    """Which mails a form means."""

    ids: list[str]
    batch: str

    @property
    def selectors(self) -> list[dict[str, str]]:
        """The fields of one command each."""
        return [{"batch": self.batch}] if self.batch else [{"id": mail} for mail in self.ids]


@get("/held")
async def held(request: Incoming, desk: Desk, showing: Showing) -> Template:
    """What can still be taken back, the newest first."""
    before = request.query_params.get("before", "")
    after = int(before) if before.isdecimal() and len(before) < 19 else None
    answer = await desk.ask(ListMails(state="held", limit=100, before=after), ListAnswer)
    batches = Counter(mail.batch for mail in answer.mails if mail.batch)
    return showing.page(request, "held", mails=answer.mails, next=answer.next, batches=batches, before=before)


@post("/actions/ask", opt=needing(Scope.OPERATE), status_code=200)
async def ask(request: Incoming, showing: Showing, desk: Desk) -> Template:
    """What is about to be done, and whether that is meant."""
    action, meant, back = await _meant(request)
    count = len(meant.ids)
    if meant.batch:
        page = await desk.ask(ListMails(batch=meant.batch, limit=1000), ListAnswer)
        count = len(page.mails)
        if not count:
            reason = f"no mail has the batch {meant.batch!r}: go back, and look how it is written"
            raise refusal(422, reason, name="invalid")
    return showing.page(request, "ask", action=action, meant=meant, back=back, count=count)


@post("/actions", opt=needing(Scope.OPERATE), status_code=200)
async def act(request: Incoming, showing: Showing, desk: Desk) -> Response[Any]:
    """Do it, and say what came of it."""
    action, meant, back = await _meant(request)
    return showing.go(back, await carry_out(desk, action.name, meant.selectors))


async def _meant(request: Incoming) -> tuple[Action, Meant, str]:
    said = await fields(request)
    action = ACTIONS.get(said.get("action", ""))
    meant = Meant((await chosen(request, "id"))[:_MOST], said.get("batch", ""))
    if action is None or not meant.selectors:
        raise refusal(422, "no mail was chosen: go back, and tick one at least", name="invalid")
    for mail in meant.ids:
        check_id(mail, "id")
    back = said.get("back", "")
    ours = any(back == way or back.startswith(f"{way}/") for way in _WAYS_BACK)
    return action, meant, back if ours else "/held"


async def carry_out(desk: Desk, action: str, selectors: Sequence[dict[str, str]]) -> str:
    """Give the commands; returns a sentence."""
    match action:
        case "retract":
            counts: Counter[str] = Counter()
            for selector in selectors:
                counts.update((await desk.ask(Retract(**selector), RetractAnswer)).counts)
            return _retracted(counts)
        case "release":
            released = [(await desk.ask(Release(**each), ReleaseAnswer)).released for each in selectors]
            return _done(sum(released), "sent now", "nothing of it was waiting")
        case "resend":
            resent = [(await desk.ask(Resend(**each), ResendAnswer)).resent for each in selectors]
            return _done(sum(resent), "sent again", "nothing of it waits in doubt")
        case _:
            closed = [(await desk.ask(Close(**each), CloseAnswer)).closed for each in selectors]
            return _done(sum(closed), "counted as delivered", "nothing of it is in doubt")


_RESULTS = {
    "retracted": "taken back",
    "too_late": "too late: already answered for",
    "in_flight": "in flight: a sender has it, its outcome will tell",
    "in_doubt": "in doubt: not sent again, but it may have arrived",
    "unknown": "unknown",
}


def _retracted(counts: Counter[str]) -> str:
    parts = [f"{count:,} {words}" for name, words in _RESULTS.items() if (count := counts.get(name))]
    return f"{'; '.join(parts)}." if parts else "No mail matched."


def _done(count: int, words: str, nothing: str) -> str:
    return f"{count:,} {'recipient' if count == 1 else 'recipients'} {words}." if count else f"Nothing done: {nothing}."


HANDLERS: list[Any] = [held, ask, act]
