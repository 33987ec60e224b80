"""Durations as people write them: "5m", "90s", "1h30m", 0."""

import re
from datetime import timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PARTS = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_LONGEST_S = 10 * 365 * 86400  # ten years: beyond it a duration is a typing mistake

TAKES = 'a duration such as "90s", "5m", "1h30m", "2d" or 0'


class Duration(timedelta):
    """A length of time that reads and writes as `"1h30m"`; never negative, at most ten years."""

    @classmethod
    def parse(cls, value: object) -> "Duration":
        """Read a duration from a text with units, or from a number of seconds.

        Raises ValueError that says what is taken.
        """
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f"takes {TAKES}")
        seconds = _seconds(value.strip().lower()) if isinstance(value, str) else value
        if not 0 <= seconds <= _LONGEST_S:  # also false for NaN
            raise ValueError(f"takes {TAKES}, at most 3650d")
        return cls(seconds=seconds)

    def __str__(self) -> str:
        return format_duration(self)


def format_duration(span: timedelta) -> str:
    """Write a duration the way `Duration.parse` reads it: `timedelta(minutes=90)` is `"1h30m"`."""
    whole, thousandths = divmod(round(span.total_seconds() * 1000), 1000)
    rest, text = whole, ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    if thousandths:
        return f"{text}{rest + thousandths / 1000:g}s"
    return text + (f"{rest}s" if rest or not text else "")


def decode_duration(kind: type, value: object) -> object:
    """Durations, for msgspec's `dec_hook`. Raises ValueError."""
    if kind is Duration:
        return Duration.parse(value)
    raise NotImplementedError(kind)


def encode_duration(value: object) -> object:
    """Durations as people write them, for msgspec's `enc_hook`."""
    if isinstance(value, Duration):
        return str(value)
    raise NotImplementedError(type(value))


def _seconds(text: str) -> float:
    if text == "0":
        return 0.0
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"takes {TAKES}")
    return sum(float(count) * _UNITS[unit] for count, unit in _PARTS.findall(text))
