"""OPTIONS: the methods of a path. Litestar's own answer knows those of one handler, and a path may have several."""

from collections.abc import Iterable

from litestar import Response, route
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler


def of(handlers: Iterable[BaseRouteHandler]) -> list[HTTPRouteHandler]:
    """A handler for each of their paths; it has to be there before them."""
    methods: dict[str, set[str]] = {}
    for handler in handlers:
        if isinstance(handler, HTTPRouteHandler):
            for path in handler.paths:
                methods.setdefault(path, {"OPTIONS"}).update(handler.http_methods)
    return [_naming(path, sorted(names)) for path, names in methods.items()]


def _naming(path: str, methods: list[str]) -> HTTPRouteHandler:
    @route(path, http_method="OPTIONS", status_code=204)
    async def options() -> Response[None]:
        return Response(None, status_code=204, headers={"Allow": ", ".join(methods)})

    return options
