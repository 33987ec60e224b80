"""The suppression list as a file."""

import csv
import io
from datetime import UTC, datetime

import msgspec
import pytest

from shared.contracts.answers import SuppressionLine
from shared.contracts.commands import SuppressedAddress
from shared.contracts.words import BounceClass
from shared.refusals import Invalid
from shared.suppression_file import COLUMNS, entry_of, read_entries, row_of

TIME = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
BY_A_SERVER = SuppressionLine(
    address="ann@y.example", since=TIME, until=TIME, bounce_class="bad_mailbox", code=550, enhanced="5.1.1",
    reply='no "such"\nuser, sorry', mail="4711",
)  # fmt: skip
BY_HAND = SuppressionLine(address="bob@y.example", since=TIME, author="root", reply="asked us to")


def read(text: str) -> list[SuppressedAddress]:
    return list(read_entries(io.StringIO(text, newline="")))


def test_an_entry_has_all_that_the_list_has():
    assert entry_of(BY_A_SERVER) == SuppressedAddress(
        address="ann@y.example", reason=BY_A_SERVER.reply, author="", since=TIME, until=TIME,
        bounce_class=BounceClass.BAD_MAILBOX, code=550, enhanced="5.1.1", mail="4711",
    )  # fmt: skip


@pytest.mark.parametrize("line", [BY_A_SERVER, BY_HAND])
def test_either_form_is_read_as_it_was_written(line):
    entry, file = entry_of(line), io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows([COLUMNS, row_of(entry), row_of(entry)])
    assert read(file.getvalue()) == [entry, entry]
    assert read(msgspec.json.encode(entry).decode() + "\n") == [entry]


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("ann@y.example\n", [""]),
        ("ann@y.example,asked us to\n\nann@y.example,,more\n", ["asked us to", ""]),
        ("Address\nann@y.example,not a column\n", [""]),
        ("address,colour,reason\nann@y.example,red,asked us to\n", ["asked us to"]),
        ('\n{"address": "ann@y.example", "reason": "asked us to", "colour": "red"}\n\n', ["asked us to"]),
        ("", []),
    ],
)
def test_plain_lists_are_read_too(text, reasons):
    assert read(text) == [SuppressedAddress(address="ann@y.example", reason=reason) for reason in reasons]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"address": 7}\n', "line 1: "),
        ('{"address": "a@y.example"}\nnonsense\n', "line 2: "),
        ('{"reason": "x"}\n', "address"),
        ("\naddress,since\na@y.example,yesterday\n", "line 3: "),
        ("address,bounce_class\na@y.example,silly\n", "bounce_class"),
    ],
)
def test_what_can_not_be_read_is_named(text, says):
    with pytest.raises(Invalid, match=says):
        read(text)
