"""Refusals of outside input: which field, what it got, what it takes."""

import difflib
import re
from collections.abc import Callable
from typing import Any

import msgspec


class Invalid(ValueError):
    """Input that is refused: the field (dotted, "" for the whole), and the reason in words."""

    def __init__(self, field: str, reason: str) -> None:
        self.field = _cut(field, _LONGEST_FIELD)
        self.reason = _cut(reason, _LONGEST_REASON)
        super().__init__(f"{self.field}: {self.reason}" if field else self.reason)


# Characters: refusals are logged, published and kept, and what they name may be megabytes.
_LONGEST_FIELD, _LONGEST_REASON = 300, 1000


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def split_key(key: str) -> list[str]:
    """Split a dotted key; quotes protect dots: `routes."a.example".host` has three parts."""
    parts = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|([^."]+)', key)]
    if not parts:
        raise Invalid(key, "takes a dotted name such as sending.hold")
    return parts


UNREAD = object()  # stands for a document that is too large to be shown
_MOST_PLAIN = 1024 * 1024  # octets


def read_plain(decode: Callable[[bytes], Any], body: bytes, kind: str) -> Any:
    """Decode without a type. Raises Invalid where the body is not even `kind`.

    A decoder with a type stops at the first wrong field: what follows that may be anything. UNREAD for a large body:
    each octet may become an object of sixty-four.
    """
    if len(body) > _MOST_PLAIN:
        return UNREAD
    try:
        return decode(body)
    except UNREADABLE as error:
        raise Invalid("", f"not {kind}: {error}") from error


# What msgspec raises over octets that are no document; RecursionError over brackets in brackets in brackets.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_AT = re.compile(r" - at `([^`]*)`$")
_KEY_AT = re.compile(r" - at `key` in `([^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")


def explain(
    error: msgspec.ValidationError, document: Any, root: type, dec_hook: Callable[[type, Any], Any] | None = None
) -> Invalid:
    """Turn msgspec's message into: the field, what it got, what it takes."""
    message = str(error)
    if key := _KEY_AT.search(message):
        return Invalid(key.group(1).removeprefix("$").lstrip("."), "has a name that is no text")
    at = _AT.search(message)
    path = at.group(1).removeprefix("$").lstrip(".") if at else ""
    reason = _AT.sub("", message)
    field = _name_the_keys(path, document, root, dec_hook)
    if unknown := _UNKNOWN.match(reason):
        name = unknown.group(1)[:_SHOWN]
        return Invalid(f"{field}.{name}".lstrip("."), _unknown_field(name, field, root))
    if missing := _MISSING.match(reason):
        return Invalid(f"{field}.{missing.group(1)}".lstrip("."), "is missing")
    if document is UNREAD:
        return Invalid(field, _what_it_takes(reason))
    return Invalid(field, f"got {_shown(_look_up(document, field))}; {_what_it_takes(reason)}")


_SHOWN = 80  # characters of a refused value


def _what_it_takes(reason: str) -> str:
    if reason.startswith("takes "):
        return reason
    takes = re.sub(r", got .*$", "", reason).replace("Expected ", "takes ").replace("`", "")
    words = {
        "str": "a text",
        "int": "a whole number",
        "bool": "true or false",
        "array": "a list",
        "object": "a group",
    }
    takes = re.sub(r"^takes (str|int|bool|array|object)\b", lambda match: f"takes {words[match.group(1)]}", takes)
    if match := re.match(r"Invalid enum value ('?.*'?)", takes):
        return f"{match.group(1)} is none of the values it takes"
    return takes


def _shown(value: Any) -> str:
    if isinstance(value, str | bytes):
        value = value[: _SHOWN + 1]  # it may be megabytes
    try:
        text = msgspec.json.encode(value, enc_hook=str).decode() if not isinstance(value, str) else f'"{value}"'
    except (TypeError, ValueError, OverflowError, RecursionError):  # what JSON can not say
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _unknown_field(name: str, group: str, root: type) -> str:
    known = _fields_of(root, group)
    if not known:
        return "there is no such field"
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"there is no such field; {hint}"


def _fields_of(root: type, group: str) -> list[str]:
    """The field names of a group, found by walking the types; empty where the walk leaves them."""
    kind: Any = msgspec.inspect.type_info(root)
    for part in split_key(group) if group else []:
        if part.startswith("["):  # behind a key in quotes: the list was entered with that
            continue
        kind = _struct_in(kind)
        if isinstance(kind, msgspec.inspect.DictType):
            kind = kind.value_type
        elif isinstance(kind, msgspec.inspect.StructType):
            name = part.partition("[")[0]
            kind = next((field.type for field in kind.fields if field.encode_name == name), None)
        else:
            return []
        kind = kind.item_type if isinstance(kind, msgspec.inspect.ListType | msgspec.inspect.VarTupleType) else kind
    kind = _struct_in(kind)
    return [field.encode_name for field in kind.fields] if isinstance(kind, msgspec.inspect.StructType) else []


def _struct_in(kind: Any) -> Any:
    if isinstance(kind, msgspec.inspect.Metadata):
        return _struct_in(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return next((inner for inner in kind.types if isinstance(_struct_in(inner), msgspec.inspect.StructType)), None)
    return kind


def _name_the_keys(path: str, document: Any, root: type, dec_hook: Callable[[type, Any], Any] | None) -> str:
    """msgspec writes `routes[...].port`, not which route; find the key whose entry is the one refused."""
    if "[...]" not in path:
        return path
    before, _, after = path.partition("[...]")
    mapping = _look_up(document, before.rstrip("."))
    if not isinstance(mapping, dict):
        return path
    for key, value in mapping.items():
        try:
            msgspec.convert({**_nested(before, {key: value})}, root, dec_hook=dec_hook)
        except msgspec.ValidationError as error:
            if "[...]" in str(error):  # and not a field that is missing here only
                return f'{before}."{str(key)[:_SHOWN]}"{after}'
    return path


def _nested(path: str, value: Any) -> dict[str, Any]:
    for part in reversed(split_key(path)):
        value = {part: value}
    return dict(value)


def _look_up(document: Any, field: str) -> Any:
    value = document
    for part in split_key(field) if field else []:
        name = part.partition("[")[0]
        if name:  # none: an index behind a key in quotes
            value = value.get(name) if isinstance(value, dict) else None
        for index in map(int, re.findall(r"\[(\d+)\]", part)):
            value = value[index] if isinstance(value, list) and index < len(value) else None
    return value
