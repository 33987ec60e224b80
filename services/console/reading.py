"""Requests become types, refused as the scheduler refuses: by the field, what it got, what it takes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.datastructures import State

from services.console.problems import refusal
from shared.durations import decode_duration
from shared.refusals import UNREADABLE, Invalid, explain, read_plain

T = TypeVar("T")
Parameters = TypeVar("Parameters", bound=msgspec.Struct)

Incoming = Request[Any, Any, State]

_LARGE = 1024 * 1024  # octets
_LARGE_AT_ONCE = 4  # bodies: each may have 54 MiB, and is in memory twice
_MOST_PLAIN = 4 * 1024 * 1024  # octets of what carries no mail


class Bodies:
    """Reads bodies within bounds; of the large ones some at a time."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def read(self, request: Incoming, most: int = _MOST_PLAIN) -> bytes:
        """All of it. Raises Refusal (413) beyond `most` octets, before it is read where its length was said."""
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > most:
            raise _too_large(most)
        parts, size, stream = [], 0, request.stream()
        async for part in stream:
            parts.append(part)
            size += len(part)
            if size > _LARGE:
                break
        if size <= _LARGE:
            return b"".join(parts)
        async with self._room:
            return await _rest(stream, parts, size, most)


async def _rest(stream: AsyncIterator[bytes], parts: list[bytes], size: int, most: int) -> bytes:
    if size > most:
        raise _too_large(most)
    async for part in stream:
        parts.append(part)
        size += len(part)
        if size > most:
            raise _too_large(most)
    return b"".join(parts)


def _too_large(most: int) -> Exception:
    return refusal(413, f"takes at most {most} octets", name="too-large")


def content_type(request: Incoming) -> str:
    """The media type of the body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_json(body: bytes, kind: type[T]) -> T:
    """Decode a body. Raises Invalid, which names the field."""
    try:
        return msgspec.json.decode(body, type=kind, dec_hook=decode_duration)
    except msgspec.ValidationError as error:
        raise explain(error, read_plain(msgspec.json.decode, body, "JSON"), kind, decode_duration) from error
    except UNREADABLE as error:
        raise Invalid("", f"not JSON: {error}") from error


def read_query(request: Incoming, kind: type[Parameters]) -> Parameters:
    """The parameters of the address, each once. Raises Invalid, which names the parameter."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in found:
            raise Invalid(name, "is given twice; takes each once")
        found[name] = value
    return read_texts(found, kind)


def read_texts(texts: Mapping[str, str], kind: type[Parameters]) -> Parameters:
    """A type of texts, numbers among them written as such. Raises Invalid."""
    try:
        found = msgspec.convert(texts, kind, strict=False, dec_hook=decode_duration)
    except msgspec.ValidationError as error:
        raise explain(error, dict(texts), kind, decode_duration) from error
    for field in msgspec.structs.fields(kind):
        name, text, value = field.encode_name, texts.get(field.encode_name, ""), getattr(found, field.name)
        if text and value is None:
            found = msgspec.structs.replace(found, **{field.name: _word(name, text, field.type)})
        elif text and isinstance(value, datetime) and text[4:5] != "-":
            raise Invalid(name, f"got {text[:80]}; takes a time such as 2026-11-23T21:04:11Z")
    return found


def _word(name: str, text: str, kind: Any) -> Any:
    """The text "null", which msgspec took for nothing: a label may be called so, but no search loses a bound by it."""
    try:
        return msgspec.convert(text, kind, strict=True)
    except msgspec.ValidationError:
        raise Invalid(name, f"got {text}; takes a value, or is left out") from None
