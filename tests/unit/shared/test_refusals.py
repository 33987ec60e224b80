"""Refusals: the field, what it got, what it takes; whatever the input was."""

from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.refusals import Invalid, explain, read_plain, split_key


class Leaf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    words: list[str] = []


class Tree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    leaf: Leaf = Leaf()
    leaves: list[Leaf] = []
    named: dict[str, Leaf] = {}
    texts: dict[str, str] = {}
    grid: list[list[int]] = []
    maybe: Leaf | None = None


def refused(document: Any) -> Invalid:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(document, Tree)
    return explain(error.value, document, Tree)


@pytest.mark.parametrize(
    ("document", "field", "reason"),
    [
        ([], "", "got []; takes a group"),
        ({}, "name", "is missing"),
        ({"name": 5}, "name", "got 5; takes a text"),
        ({"name": None}, "name", "got null; takes a text"),
        ({"name": "x", "leaf": []}, "leaf", "got []; takes a group"),
        ({"name": "x", "leaf": {"number": 0}}, "leaf.number", "got 0; takes a whole number >= 1"),
        ({"name": "x", "leaf": {"number": "1"}}, "leaf.number", 'got "1"; takes a whole number'),
        ({"name": "x", "leaf": {"words": ["a", 5]}}, "leaf.words[1]", "got 5; takes a text"),
        ({"name": "x", "leaves": [{}, {"number": 10}]}, "leaves[1].number", "got 10; takes a whole number <= 9"),
        ({"name": "x", "grid": [[1], [2, "3"]]}, "grid[1][1]", 'got "3"; takes a whole number'),
        ({"name": "x", "named": {"a.b": {}, "c.d": {"number": 0}}}, 'named."c.d".number', "got 0"),
        ({"name": "x", "texts": {"a": "1", "b": 2}}, 'texts."b"', "got 2; takes a text"),
        ({"texts": {"a": "1", "b": 2}}, 'texts."b"', "got 2"),  # though `name` is missing too
        ({"name": "x", "texts": {5: "1"}}, "texts", "has a name that is no text"),
        ({"nam": "x"}, "nam", "there is no such field; did you mean name?"),
        ({"name": "x", "zzz": 1}, "zzz", "known are name, leaf, leaves, named, texts, grid, maybe"),
        ({"name": "x", "leaf": {"numbr": 1}}, "leaf.numbr", "did you mean number?"),
        ({"name": "x", "leaves": [{"numbr": 1}]}, "leaves[0].numbr", "did you mean number?"),
        ({"name": "x", "named": {"a": {"numbr": 1}}}, 'named."a".numbr', "did you mean number?"),
        ({"name": "x", "maybe": {"numbr": 1}}, "maybe.numbr", "did you mean number?"),
        ({"name": "x", "a`b": 1}, "a`b", "no such field"),
        ({"name": "x", "a\nb": 1}, "a\nb", "no such field"),
        ({"name": "x", "y" * 500: 1}, "y" * 80, "no such field"),
    ],
)
def test_a_refusal_names_the_field_what_it_got_and_what_it_takes(document, field, reason):
    answer = refused(document)
    assert answer.field == field
    assert answer.reason.startswith(reason) or reason in answer.reason


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 1000, 'got "xxx'),
        (["x"] * 1000, 'got ["x","x"'),
        (10**30, "got 1000000000"),
        (float("nan"), "got null"),
        (object(), "got"),
        ({(1, 2): 3}, "got"),
        ({frozenset(): {object(): 1}}, "got"),
        (b"\xff" * 1000, 'got "////'),
    ],
)
def test_what_it_got_is_shown_in_few_characters_whatever_it_was(value, shown):
    try:
        msgspec.convert({"name": "x", "leaf": {"number": value}}, Tree)
    except msgspec.ValidationError as error:
        answer = explain(error, {"name": "x", "leaf": {"number": value}}, Tree)
        assert answer.field == "leaf.number"
        assert answer.reason.startswith(shown)
        assert len(answer.reason) < 160
    else:
        pytest.fail("it was taken")


DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "leaf", "leaves", "named", "texts", "grid", "number", "words"]), inner
        )
        | st.dictionaries(st.text("a.\"'[]0`\n", max_size=4), inner, max_size=2)
    ),
    max_leaves=10,
)


@given(DOCUMENTS)
def test_any_document_is_taken_or_explained(document):
    try:
        msgspec.convert(document, Tree)
    except msgspec.ValidationError as error:
        reason = explain(error, document, Tree).reason
    else:
        return
    assert len(reason) < 400


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'"\xff"', b"[" * 100_000, b'{"a": 1} trailing'])
def test_what_can_not_be_decoded_is_refused(body):
    with pytest.raises(Invalid, match="not JSON"):
        read_plain(msgspec.json.decode, body, "JSON")


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("a", ["a"]),
        ("a.b.c", ["a", "b", "c"]),
        ('routes."a.example".host', ["routes", "a.example", "host"]),
        ('"a.b"', ["a.b"]),
        ("a..b", ["a", "b"]),
    ],
)
def test_a_dotted_key_is_split_but_not_within_quotes(key, parts):
    assert split_key(key) == parts


@pytest.mark.parametrize("key", ["", ".", "..."])
def test_a_key_of_nothing_is_refused(key):
    with pytest.raises(Invalid):
        split_key(key)


def test_a_refusal_reads_as_a_sentence():
    assert str(Invalid("sending.hold", "takes a duration")) == "sending.hold: takes a duration"
    assert str(Invalid("", "not JSON")) == "not JSON"
