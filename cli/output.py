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

from shared.durations import encode_duration

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


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), wide: Sequence[str] = ()
) -> Table:
    """A table without its empty columns. Where the terminal is narrow, the `wide` columns give way, and no other."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown = [index for index in range(len(columns)) if not rows or any(row[index] for row in rows)]
    for index in shown:
        name = columns[index]
        made.add_column(
            name,
            justify="right" if name in right else "left",
            overflow="ellipsis" if name in wide else "fold",
            no_wrap=name not in wide,
        )
    for row in rows:
        made.add_row(*(row[index] for index in shown))
    return made


def show_time(time: datetime, zone: tzinfo | None = None) -> str:
    """A time of day where the reader is, to the second: `2026-03-01 14:05:09`."""
    return time.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def brief_time(time: datetime, now: datetime, zone: tzinfo | None = None) -> str:
    """The same, as short as it can be told: today's without the date."""
    local = time.astimezone(zone)
    return local.strftime("%H:%M:%S" if local.date() == now.astimezone(zone).date() else "%Y-%m-%d %H:%M")


def counted(count: int, noun: str) -> str:
    """`1 mail`, `2 mails`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def encode_hook(value: object) -> object:
    """For msgspec: a duration as people write it, an integer of pika's own kind as any other."""
    return int(value) if isinstance(value, int) else encode_duration(value)
