"""Which sentences of the checklist are tested: the numbers on the tests against tests/conformance.toml.

`make docs`, or `python -m tests.support.conformance`, writes docs/conformance.md out of both. The tests are read, not
run, so the page can be checked in a moment: a number counts for a test when `pytest.mark.checklist` stands in its
decorators, in those of its class, in `pytestmark`, or in a table of the module that they name.
"""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "conformance.md"

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Numbers = dict[str, set[int]]  # by test


class Sentence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sentence of the checklist."""

    section: str
    sentence: str
    source: str = ""
    reason: str = ""  # why it does not apply, or what was chosen


class Checklist(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """tests/conformance.toml."""

    not_yet_built: set[str]  # sections
    sections: dict[str, str]
    sentences: dict[int, Sentence]


def read_checklist() -> Checklist:
    """The sentences, by number."""
    plain = tomllib.loads((ROOT / "tests" / "conformance.toml").read_text(encoding="utf-8"))
    return msgspec.convert(plain, Checklist, strict=False)


def covering(tests: Path = ROOT / "tests") -> _Numbers:
    """The numbers that each test carries: `unit/sender/test_tls.py::test_a_name`."""
    found: _Numbers = {}
    for path in sorted(tests.rglob("test_*.py")):
        for name, numbers in numbers_in(path.read_text(encoding="utf-8")).items():
            found[f"{path.relative_to(tests).as_posix()}::{name}"] = numbers
    return found


def numbers_in(source: str) -> _Numbers:
    """The numbers that the tests of one module carry; those that carry none are left out."""
    module = ast.parse(source)
    tables = {target.id: node.value for node in module.body for target in _targets(node)}
    everywhere = _marked(tables["pytestmark"], tables) if "pytestmark" in tables else set()
    found: _Numbers = {}
    for prefix, test, decorators in _tests(module):
        numbers = set(everywhere)
        for decorator in decorators:
            numbers |= _marked(decorator, tables)
        if numbers:
            found[prefix + test.name] = numbers
    return found


def page(checklist: Checklist, tests: _Numbers) -> str:
    """docs/conformance.md. Raises ValueError for a number that is no sentence's."""
    by_number: dict[int, list[str]] = {number: [] for number in checklist.sentences}
    for test, numbers in tests.items():
        for number in numbers:
            if number not in by_number:
                raise ValueError(f"{test} names sentence {number}, which tests/conformance.toml does not have")
            by_number[number].append(test)
    parts = [_HEAD, _counts(checklist, by_number)]
    for letter, title in checklist.sections.items():
        parts.append(f"\n## {letter}. {title}\n\n| number | sentence | tests, or the reason |\n|---|---|---|\n")
        parts += [
            f"| {number} | {_shown(sentence)} | {_proof(sentence, by_number[number], checklist)} |\n"
            for number, sentence in checklist.sentences.items()
            if sentence.section == letter
        ]
    return "".join(parts)


def missing(checklist: Checklist, tests: _Numbers) -> list[int]:
    """The sentences that have neither a test nor a reason, in sections that are built."""
    tested = set().union(*tests.values())
    return [
        number
        for number, sentence in checklist.sentences.items()
        if number not in tested and not sentence.reason and sentence.section not in checklist.not_yet_built
    ]


# ---------------------------------------------------------------------------------------------------------

_HEAD = """# Conformance

What a server may expect of one that sends it mail, sentence by sentence, and the tests that would fail if we did
otherwise. Written by `make docs` from `tests/conformance.toml` and the numbers on the tests; do not edit.

"""


def _counts(checklist: Checklist, by_number: dict[int, list[str]]) -> str:
    built = {
        number: sentence
        for number, sentence in checklist.sentences.items()
        if sentence.section not in checklist.not_yet_built
    }
    tested = sum(1 for number in built if by_number[number])
    reasoned = sum(1 for number, sentence in built.items() if sentence.reason and not by_number[number])
    rest = len(built) - tested - reasoned
    sections = ", ".join(sorted(checklist.not_yet_built))
    return (
        f"Of {len(built)} sentences, {tested} have tests, {reasoned} a reason alone, {rest} neither (**missing**). "
        f"Not yet built: sections {sections}.\n"
    )


def _shown(sentence: Sentence) -> str:
    text = f"{sentence.sentence} [{sentence.source}]" if sentence.source else sentence.sentence
    return text.replace("|", "\\|")


def _proof(sentence: Sentence, tests: list[str], checklist: Checklist) -> str:
    parts = [f"`{test}`" for test in tests]
    if sentence.reason:
        parts.append(sentence.reason.replace("|", "\\|"))
    if not parts:
        return "not yet built" if sentence.section in checklist.not_yet_built else "**missing**"
    return "<br>".join(parts)


def _targets(node: ast.stmt) -> list[ast.Name]:
    match node:
        case ast.Assign(targets):
            return [target for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name() as target, value=ast.expr()):
            return [target]
        case _:
            return []


def _tests(module: ast.Module) -> Iterator[tuple[str, _Function, list[ast.expr]]]:
    for node in module.body:
        if isinstance(node, _Function) and node.name.startswith("test"):
            yield "", node, node.decorator_list
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            for inner in node.body:
                if isinstance(inner, _Function) and inner.name.startswith("test"):
                    yield f"{node.name}::", inner, node.decorator_list + inner.decorator_list


def _marked(expression: ast.expr, tables: dict[str, ast.expr]) -> set[int]:
    numbers: set[int] = set()
    for node in ast.walk(expression):
        match node:
            case ast.Call(func=ast.Attribute(attr="checklist")):
                numbers |= {_number(argument) for argument in node.args}
            case ast.Name(name) if name in tables:
                inner = {other: value for other, value in tables.items() if other != name}  # a table may name another
                numbers |= _marked(tables[name], inner)
    return numbers


def _number(argument: ast.expr) -> int:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
        return argument.value
    raise ValueError(f"line {argument.lineno}: takes whole numbers, as checklist(44, 45)")


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(read_checklist(), covering()), encoding="utf-8")


if __name__ == "__main__":
    main()
