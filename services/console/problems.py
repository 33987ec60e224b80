"""What goes wrong, as problem details (RFC 9457): one form for every error of the API."""

from http import HTTPStatus

import msgspec
import structlog
from litestar.exceptions import HTTPException

from services.console.desk import Away
from shared.broker import BrokerRefused
from shared.commander import NotAnswered, NotTaken
from shared.refusals import Invalid
from shared.settings_change import Overtaken

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"

_SAY_AGAIN_S = "5"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Problem details (RFC 9457)."""

    type: str = "about:blank"  # which stands for the status code; else a name of ours that programs can tell apart
    title: str
    status: int
    detail: str = ""
    field: str = ""  # what of the input is refused, dotted as in the refusals of the scheduler
    mail: str = ""  # the id under which the same mail can be submitted again


class Refusal(Exception):
    """A request that ends with a problem."""

    def __init__(self, problem: Problem, headers: dict[str, str] | None = None) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem
        self.headers = headers or {}


def refusal(status: int, detail: str = "", *, name: str = "", field: str = "", mail: str = "") -> Refusal:
    """A refusal with a status; `name` where programs may want to tell it from others of that status."""
    kind = f"urn:pillarbox:problem:{name}" if name else "about:blank"
    problem = Problem(type=kind, title=HTTPStatus(status).phrase, status=status, detail=detail, field=field, mail=mail)
    return Refusal(problem, {"Retry-After": _SAY_AGAIN_S} if status in (429, 503) else None)


def refusal_of(error: Exception) -> Refusal:
    """The refusal behind an error; of one that nobody planned, no more than that it happened."""
    match error:
        case Refusal():
            return error
        case Invalid(field=field, reason=reason):
            return refusal(422, reason, name="invalid", field=field)
        case Overtaken():
            return refusal(409, str(error), name="overtaken")
        case NotTaken() if error.too_large:
            return refusal(413, f"the broker takes no message of that size: {error}", name="too-large")
        case NotTaken() if error.full:
            return refusal(503, f"{error}; try again later", name="queue-full")
        case NotTaken() | BrokerRefused():
            return refusal(503, f"the broker does not take it: {error}", name="broker-refuses")
        case Away():
            return refusal(503, str(error), name="broker-away")
        case NotAnswered():
            return refusal(503, str(error), name="scheduler-silent")
        case HTTPException():
            found = refusal(error.status_code, "" if error.status_code >= 500 else _words(error))
            found.headers.update(error.headers or {})
            return found
        case _:
            log.error("request_failed", exc_info=error, next="answered_500")
            return refusal(500, "it could not be carried out; the console's log tells more")


def _words(error: HTTPException) -> str:
    return error.detail if error.detail != HTTPStatus(error.status_code).phrase else ""
