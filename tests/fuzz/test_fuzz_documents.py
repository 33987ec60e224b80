"""Whatever is said as a command, as settings or on a command line is understood or refused with a reason."""

import contextlib
import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.commands import parse_command
from shared.refusals import Invalid
from shared.settings import (
    Settings,
    SettingsDocument,
    change,
    encode_document,
    parse_document,
    parse_settings,
    parse_toml,
    to_document,
    to_toml,
)
from shared.suppression_file import read_entries
from tests.support.fuzz import awkward_text, damaged, rounds

COMMANDS = [
    b'{"command": "retract", "id": "4711", "batch": "a", "recipient": "a@b.example"}',
    b'{"command": "replace", "id": "x", "submission": {"from": "a@x.example", "to": "b@y.example", "hold": "5m"}}',
    b'{"command": "list", "state": "held", "limit": 5, "before": 9}',
    b'{"command": "suppression_add", "entries": [{"address": "a@b.example", "reason": "r"}], "author": "me"}',
    b'{"command": "settings", "revision": 3, "history": 9}',
]
DOCUMENT = {
    **to_document(Settings()),
    "routes": {"a.example": {"host": "mx.example", "auth": {"user": "u", "password": {"env": "P"}}}},
    "dkim": {"a.example": [{"selector": "s", "key": {"file": "/key"}}]},
    "limits": {"sites": {"mx.example": {"connections": 2, "until": "2026-03-01T12:00:00Z"}}},
}
TOML = to_toml(parse_settings(DOCUMENT))
GROUPS = sorted(Settings.__struct_fields__)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | awkward_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(awkward_text, inner, max_size=3),
    max_leaves=6,
)


def judged(document: dict[str, object]) -> None:
    try:
        settings = parse_settings(document)
    except Invalid as refused:
        if len(str(refused)) > 1400:
            pytest.fail("a reason of megabytes")
        return
    assert parse_settings(to_document(settings)) == settings
    assert parse_settings(parse_toml(to_toml(settings))) == settings


@rounds
@given(st.sampled_from(COMMANDS).flatmap(lambda good: damaged(st.just(good))) | st.binary(max_size=100))
def test_a_command(body):
    with contextlib.suppress(Invalid):
        parse_command(body, 1_000_000)


@rounds
@given(damaged(st.just(encode_document(SettingsDocument(settings=DOCUMENT, author="me")))) | st.binary(max_size=100))
def test_a_settings_message(body):
    with contextlib.suppress(Invalid):
        judged(parse_document(body).settings)


@rounds
@given(
    st.dictionaries(st.sampled_from(GROUPS), values, max_size=2), st.sampled_from(["", "sites", "host", "sender_name"])
)
def test_settings_of_any_shape(fields, wrapped):
    judged({**DOCUMENT, **({group: {wrapped: value} for group, value in fields.items()} if wrapped else fields)})


@rounds
@given(damaged(st.just(TOML.encode())), awkward_text)
def test_settings_as_toml(text, piece):
    with contextlib.suppress(Invalid):
        judged(parse_toml(text.decode("utf-8", "replace") + piece))


@pytest.mark.parametrize("value", ["[" * 100_000, "1" * 5000, "{a=" * 5000, "1979-99-99", "nan", '"'])
def test_toml_that_python_itself_refuses(value):
    with pytest.raises(Invalid, match="not a TOML document"):
        parse_toml(f"[x]\nvalue = {value}\n!")


@rounds
@given(awkward_text.filter(bool), awkward_text)
def test_a_change_of_one_field(key, value):
    with contextlib.suppress(Invalid):
        judged(change(DOCUMENT, key, value))


@rounds
@given(st.lists(awkward_text | st.sampled_from(['{"address": "a@b.example"}', "a@b.example,why"]), max_size=4))
def test_a_file_of_suppressions(lines):
    with contextlib.suppress(Invalid):
        for entry in read_entries(io.StringIO("\n".join(lines))):
            assert msgspec.json.encode(entry)
