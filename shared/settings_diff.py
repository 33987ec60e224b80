"""What differs between two settings documents, and reading one field of one."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from shared.refusals import Invalid, split_key

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Change(msgspec.Struct, frozen=True):
    """One field that differs; None where it is absent."""

    key: str  # dotted
    old: Any
    new: Any


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The fields that differ, in the new document's order, then those that have gone."""
    before, after = dict(_fields(old)), dict(_fields(new))
    names = [*after, *(name for name in before if name not in after)]
    return [Change(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def look_up(document: dict[str, Any], key: str) -> Any:
    """A field or a group by its dotted key. Raises Invalid, which says what there is."""
    value: Any = document
    parts = split_key(key)
    for index, part in enumerate(parts):
        if not isinstance(value, dict) or part not in value:
            known = f"; known are {', '.join(map(_quoted, value))}" if isinstance(value, dict) and value else ""
            raise Invalid(".".join(parts[: index + 1]), f"is not set{known}")
        value = value[part]
    return value


def shown(value: Any) -> str:
    """A value as TOML writes it, near enough for a line of a diff."""
    return "(not set)" if value is None else msgspec.json.encode(value).decode()


def _fields(document: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        name = f"{path}{_quoted(key)}"
        if isinstance(value, dict):
            yield from _fields(value, f"{name}.")
        else:
            yield name, value


def _quoted(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else f'"{key}"'
