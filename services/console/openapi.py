"""The OpenAPI document, made of the handlers and of the types they read and answer.

Written to docs/openapi.json by `make docs`, or `python -m services.console.openapi FILE`.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import ASGIRouteHandler, BaseRouteHandler, HTTPRouteHandler

from services.console import described, examples
from services.console.described import Answer, Body, Described
from services.console.problems import MEDIA_TYPE, Problem
from shared.console_accounts import Scope
from shared.durations import TAKES, Duration

ROOT = "/api/v1"

_REFS = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+):\w+\}")
# What any request may end with, after the words of RFC 9110.
_ALWAYS = (401, 403, 503)


def document(handlers: Iterable[BaseRouteHandler]) -> dict[str, Any]:
    """The OpenAPI 3.1 description of the API."""
    operations = list(_operations(handlers))
    kinds = [kind for _, _, said in operations for kind in _kinds(said)]
    schemas, components = msgspec.json.schema_components([Problem, *kinds], schema_hook=_schema, ref_template=_REFS)
    by_kind = {id(kind): schema for kind, schema in zip([Problem, *kinds], schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for path, method, said in operations:
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, said, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pillarbox",
            "version": "1",
            "description": "Generated from the console's handlers by `make docs`; do not edit. Unknown fields and "
            "parameters are refused. Errors are problem details (RFC 9457). `x-item-schema` says what each line of a "
            "text in JSON lines is; the schema of a `text/event-stream` is that of one event.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "as `pillarbox console token` makes them"}
            },
        },
    }


def _operations(handlers: Iterable[BaseRouteHandler]) -> Iterator[tuple[str, str, Described]]:
    for handler in handlers:
        said = described.of(handler.opt)
        assert said is not None, f"{handler} is not described"
        for path in handler.paths:
            methods = sorted(handler.http_methods) if isinstance(handler, HTTPRouteHandler) else [said.method]
            assert isinstance(handler, HTTPRouteHandler | ASGIRouteHandler)
            yield from ((ROOT + _PARAMETER.sub(r"{\1}", path), method, said) for method in methods)


def _kinds(said: Described) -> Iterator[Any]:
    parts: list[Body | Answer] = [*said.bodies, *said.answers.values()]
    for part in parts:
        if part.schema is not None and not isinstance(part.schema, Mapping):
            yield part.schema
        if part.each is not None:
            yield part.each


def _operation(path: str, method: str, said: Described, by_kind: Mapping[int, Any]) -> dict[str, Any]:
    name = "_".join([method.lower(), *re.findall(r"\w+", path.removeprefix(ROOT))])
    places = {"path": said.path, "query": said.query, "header": said.headers}
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": said.summary,
        "description": f"Takes a token with the scope `{said.scope}`.",
        "parameters": [each for place, kind in places.items() if kind for each in _parameters(place, kind)],
    }
    if said.bodies:
        content = {body.media_type: _content(body, by_kind) for body in said.bodies}
        operation["requestBody"] = {"required": True, "content": content}
    answers = {
        str(status): {
            "description": answer.words,
            **({"content": _contents(answer, by_kind)} if answer.schema is not None else {}),
        }
        for status, answer in said.answers.items()
    }
    problems = {str(status): _problem(status, by_kind) for status in sorted({*_ALWAYS, *said.problems})}
    operation["responses"] = answers | problems
    return operation


def _content(part: Body | Answer, by_kind: Mapping[int, Any]) -> dict[str, Any]:
    schema = part.schema if isinstance(part.schema, Mapping) else by_kind[id(part.schema)]
    return {
        # Without the word below, tools take the schema of an event stream for that of one event.
        "schema": _server_sent(schema) if part.media_type == "text/event-stream" else schema,
        # OpenAPI has a word for it, `itemSchema`, only since 3.2, which hardly a tool reads yet.
        **({} if part.each is None else {"x-item-schema": by_kind[id(part.each)]}),
        **({} if part.example is None else {"example": part.example}),
    }


def _server_sent(event: Mapping[str, Any]) -> dict[str, Any]:
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": event}
    return {
        "type": "object",
        "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": data},
        "required": ["event", "data"],
    }


def _contents(answer: Answer, by_kind: Mapping[int, Any]) -> dict[str, Any]:
    content = _content(answer, by_kind)
    return {answer.media_type: content, **({answer.or_as: {"schema": content["schema"]}} if answer.or_as else {})}


def _problem(status: int, by_kind: Mapping[int, Any]) -> dict[str, Any]:
    example = {"example": examples.PROBLEM} if status == 422 else {}
    return {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": by_kind[id(Problem)], **example}},
    }


def _parameters(place: str, kind: type) -> Iterator[dict[str, Any]]:
    for field in msgspec.structs.fields(kind):
        [schema], _ = msgspec.json.schema_components([field.type], schema_hook=_schema, ref_template=_REFS)
        words, given = schema.pop("description", None), schema.pop("examples", [])
        yield {
            "name": field.encode_name,
            "in": place,
            "required": field.required,
            **({"description": words} if words else {}),
            "schema": _without_null(schema) | ({"default": field.default} if _tells(field.default) else {}),
            **({"example": given[0]} if given else {}),
        }


def _tells(default: Any) -> bool:
    """Whether a default says more than that the parameter is absent."""
    return default not in (msgspec.NODEFAULT, None, "")


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is absent is absent, and not null."""
    several = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    if len(several) == 1:
        return {**{name: value for name, value in schema.items() if name != "anyOf"}, **several[0]}
    if isinstance(schema.get("enum"), list):
        return {**schema, "enum": [value for value in schema["enum"] if value is not None]}
    return schema


def _schema(kind: type) -> dict[str, Any]:
    if kind is Duration:
        return {"type": ["string", "number"], "description": TAKES}
    raise NotImplementedError(kind)


def handler(handlers: Sequence[BaseRouteHandler]) -> BaseRouteHandler:
    """The handler that gives the document."""
    body = msgspec.json.encode(document(handlers), enc_hook=str)

    @get("/openapi.json", opt=described.described(summary="This document.", scope=Scope.READ, answers={}))
    async def openapi() -> Response[bytes]:
        return Response(body, media_type="application/json")

    return openapi


def rendered() -> str:
    """The document as it lies in docs/."""
    from services.console.app import api_handlers

    plain = msgspec.json.encode(document(api_handlers()), enc_hook=str)
    return msgspec.json.format(plain, indent=1).decode() + "\n"


def main() -> None:
    """Write the file named on the command line, docs/openapi.json without one."""
    Path(sys.argv[1] if len(sys.argv) > 1 else "docs/openapi.json").write_text(rendered(), encoding="utf-8")


if __name__ == "__main__":
    main()
