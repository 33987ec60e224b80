"""What commands print: tables and sentences for people, JSON for programs.

Data goes to standard output, remarks go to standard error.
"""

import re
import sys
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shared.durations import Duration

# Text from mails and servers may carry sequences that move the cursor or rename the window.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Into a pipe or a file goes every word; the width of a terminal that is not there must not cut it.
_WIDE = 240


def screen() -> Console:
    """Standard output."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def margin() -> Console:
    """Standard error: progress, remarks, failures."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDE)


def plain(text: str) -> str:
    """Foreign text, harmless: control characters become visible, rich's markup stays text."""
    return escape(_CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text))


def say(text: str) -> None:
    """A line on standard output, with rich's markup."""
    screen().print(text, soft_wrap=True)


def remark(text: str) -> None:
    """A line on standard error, with rich's markup."""
    margin().print(text, soft_wrap=True)


def print_json(value: Any) -> None:
    """A value as indented JSON, without colours."""
    encoded = msgspec.json.encode(value, enc_hook=encode_hook)
    sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")


def print_json_line(value: Any) -> None:
    """A value as one line of JSON, at once."""
    sys.stdout.write(msgspec.json.encode(value, enc_hook=encode_hook).decode() + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> Table:
    """A table whose first column is never cut: it holds what is copied into the next command."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        made.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=index == 0)
    for row in rows:
        made.add_row(*row)
    return made


def show_time(time: datetime, zone: tzinfo | None = None) -> str:
    """A time of day where the reader is, to the second: `2026-03-01 14:05:09`."""
    return time.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def counted(count: int, noun: str) -> str:
    """`1 mail`, `2 mails`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def encode_hook(value: object) -> object:
    """For msgspec: a duration as people write it, an integer of pika's own kind as any other."""
    if isinstance(value, Duration):
        return str(value)
    if isinstance(value, int):
        return int(value)
    raise NotImplementedError(type(value))
