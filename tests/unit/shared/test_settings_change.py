"""Two settings documents compared, and whether one that was published is the one in force."""

from datetime import UTC, datetime

import pytest

from shared.contracts.answers import SettingsVersion
from shared.refusals import Invalid
from shared.settings import Settings, SettingsDocument, to_document
from shared.settings_change import Overtaken, took_effect
from shared.settings_diff import look_up, shown

DEFAULTS = to_document(Settings())


def version(revision: int, document: dict | None = None, **changed) -> SettingsVersion:
    fields = {"time": datetime(2026, 3, 1, tzinfo=UTC), "author": "ada", "comment": ""}
    return SettingsVersion(revision=revision, settings=document or DEFAULTS, **{**fields, **changed})


def test_a_field_or_group_is_looked_up_by_its_key():
    assert look_up(DEFAULTS, "sending.hold") == "5m"
    assert look_up(DEFAULTS, "delivery") == {"mode": "relay", "address_literals": False}
    with pytest.raises(Invalid, match=r"sending.held: is not set; known are hold, max_per_connection"):
        look_up(DEFAULTS, "sending.held")


@pytest.mark.parametrize(("value", "text"), [(None, "(not set)"), ("5m", '"5m"'), (7, "7"), (["a"], '["a"]')])
def test_a_value_is_shown_as_it_is_written(value, text):
    assert shown(value) == text


WANTED = SettingsDocument(settings=DEFAULTS, author="ada", comment="why", revision=8)


@pytest.mark.parametrize(
    ("current", "ours"),
    [
        (version(8, comment="why"), True),
        (version(8, {**DEFAULTS, "newer": {"field": 1}}, comment="why"), True),  # a newer scheduler's defaults
        (version(8, comment="other"), False),
        (version(8, author="bob", comment="why"), False),
        (version(8, {**DEFAULTS, "tls": "none"}, comment="why"), False),
        (version(7, comment="why"), False),
        (None, False),
    ],
)
def test_only_our_own_document_counts_as_in_force(current, ours):
    if ours:
        assert took_effect(current, WANTED) is current
    else:
        with pytest.raises(Overtaken, match="came first"):
            took_effect(current, WANTED)
