"""What DNS can answer to one question, as far as mail is concerned."""

from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")


class Found(Struct, Generic[T], frozen=True):
    """The records asked for, in the order the name server gave."""

    values: tuple[T, ...]
    name: str  # where they lie, all CNAMEs followed
    ttl_s: int


class Missing(Struct, frozen=True):
    """There are none, and the name server is sure of it."""

    name: str  # as in Found
    exists: bool  # NOERROR: the name has records of other types; False: NXDOMAIN
    ttl_s: int  # RFC 2308 section 5


class Looped(Struct, frozen=True):
    """The name's CNAMEs lead in a circle, or on for too long."""


class Failed(Struct, frozen=True):
    """No name server gave an answer to build on, for now."""

    reason: str


Answer = Found[T] | Missing | Looped | Failed


class MxRecord(Struct, frozen=True):
    """One MX record; `host` is "." in a null MX (RFC 7505)."""

    preference: int
    host: str
