"""Settings changed from the command line: assignments, differences, what took effect, the editor's text."""

from datetime import UTC, datetime

import pytest

from cli.editing import editor, first_text, with_mark, without_marks
from cli.failures import CommandFailed
from cli.settings import history_rows
from cli.settings_publish import with_assignments
from shared.contracts.answers import SettingsVersion
from shared.refusals import Invalid
from shared.settings import Settings, parse_toml, to_document
from shared.settings_change import judged
from shared.settings_diff import Change, changes

DEFAULTS = to_document(Settings())


def version(revision: int, document: dict | None = None, **changed) -> SettingsVersion:
    fields = {"time": datetime(2026, 3, 1, tzinfo=UTC), "author": "ada", "comment": ""}
    return SettingsVersion(revision=revision, settings=document or DEFAULTS, **{**fields, **changed})


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("sending.hold=10m", [Change("sending.hold", "5m", "10m")]),
        ("sending.max_per_connection = 7", [Change("sending.max_per_connection", 100, 7)]),
        ("tls=require", [Change("tls", "enable", "require")]),
        ("tls=enable", []),
        (
            'limits.sites."mx.b.example".connections=2',
            [
                Change('limits.sites."mx.b.example".connections', None, 2),
                Change('limits.sites."mx.b.example".pipelining', None, True),
            ],
        ),
    ],
)
def test_an_assignment_changes_what_it_names(assignment, expected):
    assert changes(DEFAULTS, with_assignments(DEFAULTS, [assignment])) == expected


def test_an_empty_value_brings_the_default_back():
    longer = with_assignments(DEFAULTS, ["sending.hold=10m"])
    assert with_assignments(longer, ["sending.hold="]) == DEFAULTS


@pytest.mark.parametrize(
    ("assignment", "refusal"),
    [
        ("sending.hold", "takes KEY=VALUE"),
        ("=1", "takes KEY=VALUE"),
        ("sending.hold=soon", 'sending.hold: got "soon"'),
        ("sendin.hold=1m", "did you mean sending"),
    ],
)
def test_a_wrong_assignment_names_the_field(assignment, refusal):
    with pytest.raises((CommandFailed, Invalid), match=refusal):
        with_assignments(DEFAULTS, [assignment])


def test_the_history_says_what_each_version_changed():
    longer = with_assignments(DEFAULTS, ["sending.hold=10m"])
    rows = history_rows([version(2, restores=0, comment="back"), version(1, longer), version(0)])
    assert [[row[0], *row[2:]] for row in rows] == [
        ["2", "ada", "sending.hold (restores 0)", "back"],
        ["1", "ada", "sending.hold", ""],
        ["0", "ada", "", ""],
    ]


def test_the_editor_shows_the_document_and_takes_it_back_unchanged():
    assert judged(parse_toml(first_text(version(3)))) == DEFAULTS


def test_a_refusal_stands_above_the_text_until_the_next_round():
    text = "# mine\ntls = 1\n"
    marked = with_mark(text, "tls: got 1")
    assert marked.startswith("#! tls: got 1\n")
    assert without_marks(marked) == text


@pytest.mark.parametrize(
    ("variables", "command"),
    [
        ({"EDITOR": "nano"}, ["nano"]),
        ({"EDITOR": "nano", "VISUAL": "code --wait"}, ["code", "--wait"]),
        ({}, ["sensible-editor"]),
    ],
)
def test_the_editor_is_the_one_people_have_chosen(variables, command):
    assert editor(variables) == command
