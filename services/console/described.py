"""What the OpenAPI document says of a handler, kept beside it."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from shared.console_accounts import Scope

_KEY = "described"

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Body(msgspec.Struct, frozen=True):
    """What a request may carry."""

    media_type: str
    schema: Any  # a type, or a schema as plain values
    example: Any
    each: Any = None  # the type of each line, where it is a text of lines


class Answer(msgspec.Struct, frozen=True):
    """What follows when it is carried out."""

    words: str
    schema: Any = None  # as above; of `text/event-stream` that of the data of an event
    media_type: str = "application/json"
    example: Any = None
    or_as: str = ""  # another media type that it may come as
    each: Any = None  # the type of each line, where it is a text of lines


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of the API."""

    summary: str
    scope: Scope
    answers: Mapping[int, Answer]
    bodies: tuple[Body, ...] = ()
    # Structs whose fields are the parameters, each with its description and, where that helps, an example (`Meta`).
    path: type | None = None
    query: type | None = None
    headers: type | None = None
    method: str = ""  # of a handler that speaks ASGI itself
    problems: tuple[int, ...] = ()  # beside those that every operation may end with


def described(**fields: Any) -> dict[str, Any]:
    """For a handler's `opt`."""
    return {_KEY: Described(**fields)}


def of(opt: Mapping[str, Any]) -> Described | None:
    """What is said of a handler."""
    found = opt.get(_KEY)
    return found if isinstance(found, Described) else None
