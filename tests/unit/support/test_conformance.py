"""The page of the checklist: how numbers on tests are found, and that it is up to date."""

import pytest

from tests.support.conformance import (
    PAGE,
    Checklist,
    Sentence,
    covering,
    missing,
    numbers_in,
    page,
    read_checklist,
    skippable,
    skips_in,
)

SMALL = Checklist(
    not_yet_built={"B"},
    sections={"A": "Greeting", "B": "Farewell"},
    sentences={
        1: Sentence("A", "Say hello.", "RFC 1 §2"),
        2: Sentence("A", "Say `a|b`."),
        3: Sentence("A", "Bow.", reason="nobody sees it"),
        4: Sentence("B", "Say goodbye."),
    },
)


def test_the_page_is_up_to_date():
    # Raises for a number that is no sentence's.
    assert PAGE.read_text(encoding="utf-8") == page(read_checklist(), covering(), skippable()), (
        "docs/conformance.md is stale: run `make docs`"
    )


def test_no_sentence_of_what_is_built_is_missing():
    assert missing(read_checklist(), covering()) == []


def test_no_sentence_rests_on_tests_alone_that_may_be_skipped():
    skipped = skippable()
    always = {test: numbers for test, numbers in covering().items() if test not in skipped}
    assert missing(read_checklist(), always) == []


def test_every_sentence_stands_in_a_section_and_the_numbers_have_no_gap():
    checklist = read_checklist()
    assert list(checklist.sentences) == list(range(1, len(checklist.sentences) + 1))
    assert {sentence.section for sentence in checklist.sentences.values()} == set(checklist.sections)
    assert checklist.not_yet_built <= set(checklist.sections)


@pytest.mark.parametrize(
    ("source", "numbers"),
    [
        ("def test_a(): ...", {}),
        ("@pytest.mark.checklist(1, 2)\ndef test_a(): ...", {"test_a": {1, 2}}),
        ("@pytest.mark.checklist(1)\ndef not_a_test(): ...", {}),
        ("@pytest.mark.checklist(1)\nasync def test_a(): ...", {"test_a": {1}}),
        (
            "@pytest.mark.checklist(3)\n"
            "@pytest.mark.parametrize('a', [1, pytest.param(2, marks=pytest.mark.checklist(1))])\n"
            "def test_a(): ...",
            {"test_a": {1, 3}},
        ),
        (
            "ROWS = [pytest.param(2, marks=pytest.mark.checklist(1))]\nMORE: list = [*ROWS]\n"
            "@pytest.mark.parametrize('a', MORE)\ndef test_a(): ...\ndef test_b(): ...",
            {"test_a": {1}},
        ),
        ("pytestmark = [pytest.mark.checklist(1)]\ndef test_a(): ...", {"test_a": {1}}),
        (
            "@pytest.mark.checklist(1)\nclass TestA:\n    @pytest.mark.checklist(2)\n    def test_a(self): ...",
            {"TestA::test_a": {1, 2}},
        ),
    ],
)
def test_numbers_are_found_where_pytest_finds_them(source, numbers):
    assert numbers_in(source) == numbers


@pytest.mark.parametrize("argument", ["'44'", "*range(3)", "N"])
def test_what_is_no_number_is_refused(argument):
    with pytest.raises(ValueError, match="whole numbers"):
        numbers_in(f"@pytest.mark.checklist({argument})\ndef test_a(): ...")


@pytest.mark.parametrize(
    ("source", "skips"),
    [
        ("@pytest.mark.skipif(not here(), reason='there is none')\ndef test_a(): ...", {"test_a": ["there is none"]}),
        ("@pytest.mark.skip('not now')\ndef test_a(): ...\ndef test_b(): ...", {"test_a": ["not now"]}),
        ("pytestmark = pytest.mark.skipif(True, reason='no')\ndef test_a(): ...", {"test_a": ["no"]}),
        ("NEEDS = pytest.mark.skipif(True, reason='no')\n@NEEDS\ndef test_a(): ...", {"test_a": ["no"]}),
        (
            "@pytest.mark.parametrize('a', [1, pytest.param(2, marks=pytest.mark.skipif(True, reason='no'))])\n"
            "def test_a(): ...",
            {"test_a": ["no"]},
        ),
        ("def test_a():\n    if True:\n        pytest.skip('no')", {"test_a": ["no"]}),
        ("def test_a():\n    reader.skip(3)", {}),
    ],
)
def test_what_may_be_skipped_is_found_where_pytest_finds_it(source, skips):
    assert skips_in(source) == skips


def test_a_skip_without_words_is_refused():
    with pytest.raises(ValueError, match="a reason"):
        skips_in("@pytest.mark.skipif(True, reason=WHY)\ndef test_a(): ...")


def test_a_row_says_which_test_is_skipped_where():
    told = page(SMALL, {"f.py::test_a": {1}, "f.py::test_b": {1}}, {"f.py::test_b": ["there is no network"]})
    assert "| `f.py::test_a`<br>`f.py::test_b` (skipped where there is no network) |" in told


def test_a_row_says_what_proves_its_sentence():
    rows = [line for line in page(SMALL, {"f.py::test_a": {1, 3}}, {}).splitlines() if line[:3] in ("| 1", "| 2")]
    assert rows == [
        "| 1 | Say hello. [RFC 1 §2] | `f.py::test_a` |",
        "| 2 | Say `a\\|b`. | **missing** |",
    ]
    told = page(SMALL, {}, {})
    assert "| 3 | Bow. | nobody sees it |" in told
    assert "| 4 | Say goodbye. | not yet built |" in told
    assert "Of 3 sentences, 0 have tests, 1 a reason alone, 2 neither" in told


def test_a_number_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="test_a names sentence 5"):
        page(SMALL, {"f.py::test_a": {5}}, {})


def test_what_is_missing_is_listed():
    assert missing(SMALL, {"f.py::test_a": {1}}) == [2]
