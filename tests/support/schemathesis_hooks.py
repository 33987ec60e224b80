"""What schemathesis has to be told of this API: loaded by its command line, and by nothing else."""

from typing import Any

import msgspec
import schemathesis

_TEXTS = ["application/jsonl", "message/rfc822", "text/csv"]

schemathesis.serializer.alias(_TEXTS, "text/plain")


@schemathesis.serializer("application/msgpack")
def msgpack(_context: Any, value: Any) -> bytes:
    """As a client would write it."""
    return msgspec.msgpack.encode(value)


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    """A body that is to be a text is one on the wire, whatever was to be wrong about it."""
    return case.media_type not in _TEXTS or not isinstance(case.body, (dict, list, int, float, bool, type(None)))
