"""Answers as octets."""

from typing import Any

import msgspec
from litestar import Response

from services.console.problems import MEDIA_TYPE, Refusal
from shared.durations import encode_duration

JSON = "application/json"


def encode(value: Any) -> bytes:
    """JSON; durations as people write them, and of pika's integers plain ones."""
    return msgspec.json.encode(value, enc_hook=_plain)


def _plain(value: object) -> object:
    return int(value) if isinstance(value, int) else encode_duration(value)


def answered(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response[bytes]:
    """A value as JSON."""
    return Response(encode(value), status_code=status, media_type=JSON, headers=headers)


def refused(refusal: Refusal) -> Response[bytes]:
    """A problem."""
    return Response(
        encode(refusal.problem),
        status_code=refusal.problem.status,
        media_type=MEDIA_TYPE,
        headers=refusal.headers,
    )
