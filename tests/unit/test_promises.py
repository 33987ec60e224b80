"""Each promise in the documentation names the tests that hold it, and each test that is named exists."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# Reasons, words and figures; and the pages that have tables of their own, this one among them.
PROMISE_NOTHING = {"decisions", "glossary", "benchmarks", "architecture", "conformance", "reliability"}

_REFERENCE = re.compile(r"(?<![\w/])(?:tests/)?((?:[a-z0-9_]+/)*test_[a-z0-9_]+\.py)((?:::\w+)*)")


def references(text: str) -> list[tuple[str, list[str]]]:
    """The tests that a text names: file, below tests/, and the class and function, where they are said."""
    return [(file, [name for name in names.split("::") if name]) for file, names in _REFERENCE.findall(text)]


@cache
def names_in(file: Path) -> frozenset[str]:
    """The tests in a file, and its classes."""
    found = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return frozenset(
        node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    )


def missing(text: str) -> list[str]:
    """What a text names and is not there."""
    return [
        "::".join([file, *names])
        for file, names in references(text)
        if not (TESTS / file).is_file() or not names_in(TESTS / file).issuperset(names)
    ]


def section(page: str, heading: str) -> str:
    """What stands under a heading, with the headings below it."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    level = heading.partition(" ")[0]
    _, _, rest = text.partition(f"\n{heading}\n")
    assert rest, f"docs/{page} has no heading {heading!r}"
    return re.split(rf"^#{{1,{len(level)}}} ", rest, flags=re.MULTILINE)[0]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of a text's tables, without their heads."""
    head = True
    for line in text.splitlines():
        if not line.startswith("|"):
            head = True
        elif re.fullmatch(r"[|:\- ]+", line):
            head = False
        elif not head:
            yield [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path):
    assert missing(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("page", "heading"), [("reliability.md", "## Memory"), ("reliability.md", "## Which test holds it")]
)
def test_every_promise_names_a_test(page: str, heading: str):
    promises = [row for row in rows(section(page, heading)) if not re.fullmatch(r"\d+", row[1])]  # figures
    assert len(promises) > 5
    assert [row[0] for row in promises if not references(row[-1])] == []


def test_every_page_has_its_promises_listed():
    pages = {path.stem for path in (ROOT / "docs").iterdir() if path.suffix == ".md" or path.name == "recipes"}
    listed = set(re.findall(r"^### (.+)$", section("reliability.md", "## Which test holds it"), re.MULTILINE))
    assert {name.lower() for name in listed} == pages - PROMISE_NOTHING | {"readme", "this page"}


def test_every_row_of_the_crash_table_names_a_test():
    crashes = section("architecture.md", "## What a crash leaves")
    held = {
        number: references(row[1])
        for row in rows(section("architecture.md", "### Which test holds which row"))
        for number in row[0].split(", ")
    }
    numbers = [row[0] for row in rows(crashes.partition("###")[0])]
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    assert set(held) == set(numbers)
    assert [number for number, tests in held.items() if not tests] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`unit/test_promises.py`", []),
        ("`tests/unit/test_promises.py::test_what_is_not_there_is_seen`", []),
        ("`unit/test_promises.py::test_gone`", ["unit/test_promises.py::test_gone"]),
        ("`e2e/test_gone.py`, `unit/test_promises.py`", ["e2e/test_gone.py"]),
        ("`test_promises.py`", ["test_promises.py"]),  # it lies in unit/
    ],
)
def test_what_is_not_there_is_seen(text: str, expected: list[str]):
    assert missing(text) == expected


def test_a_row_is_what_stands_under_a_tables_head():
    text = "| a | b |\n|---|---:|\n| 1 | 2 |\n\n| c |\n|---|\n| 3 |\n"
    assert list(rows(text)) == [["1", "2"], ["3"]]
