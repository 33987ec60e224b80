"""What is printed, and what may not be."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from cli.output import brief_time, counted, plain, show_time, table


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


@pytest.mark.parametrize(("hours_later", "shown"), [(0.4, "23:30:00"), (1, "2026-03-01 23:30")])
def test_the_times_of_today_go_without_their_date(hours_later, shown):
    time = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    assert brief_time(time, time + timedelta(hours=hours_later), UTC) == shown


def test_a_table_leaves_out_what_is_empty_in_all_rows():
    made = table(["id", "next try", "state"], [["1", "", "held"], ["2", "", "held"]])
    assert [column.header for column in made.columns] == ["id", "state"]
