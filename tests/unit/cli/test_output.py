"""What is printed, and what may not be."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from cli.output import counted, plain, show_time


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grüße", "Grüße"),
        ("\x1b[2J", "\\x1b[2J"),  # would clear the screen
        ("a\x9bm", "a\\x9bm"),
        ("a\rb", "a\\x0db"),
        ("[bold]x[/bold]", "\\[bold]x\\[/bold]"),  # rich's markup, escaped
    ],
)
def test_foreign_text_can_not_steer_the_terminal(text, shown):
    assert plain(text) == shown


@pytest.mark.parametrize(("count", "words"), [(0, "0 mails"), (1, "1 mail"), (2500, "2,500 mails")])
def test_one_is_no_plural(count, words):
    assert counted(count, "mail") == words


def test_times_are_shown_where_the_reader_is():
    time = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    assert show_time(time, timezone(timedelta(hours=1))) == "2026-03-02 00:30:00"
