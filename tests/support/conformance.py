"""Which sentences of the checklist are tested: the numbers on the tests against tests/conformance.toml.

`make docs`, or `python -m tests.support.conformance`, writes docs/conformance.md out of both. The tests are read, not
run, so the page can be checked in a moment: a number counts for a test when `pytest.mark.checklist` stands in its
decorators, in those of its class, in `pytestmark`, or in a table of the module that they name. What may be skipped is
found there, too, and in the test itself, and the page says so: not every machine runs every test.
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
_Skips = dict[str, list[str]]  # by test, why it may be skipped


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
    return {
        f"{place}::{name}": numbers for place, source in _modules(tests) for name, numbers in numbers_in(source).items()
    }


def skippable(tests: Path = ROOT / "tests") -> _Skips:
    """The tests that are skipped on some machines, and why."""
    return {
        f"{place}::{name}": reasons for place, source in _modules(tests) for name, reasons in skips_in(source).items()
    }


def numbers_in(source: str) -> _Numbers:
    """The numbers that the tests of one module carry; those that carry none are left out."""
    found: _Numbers = {}
    for name, _, calls in _tests(ast.parse(source)):
        checklists = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "checklist"]
        if numbers := {_number(argument) for call in checklists for argument in call.args}:
            found[name] = numbers
    return found


def skips_in(source: str) -> _Skips:
    """Why tests of one module, or rows of their tables, may be skipped; the others are left out."""
    found: _Skips = {}
    for name, test, calls in _tests(ast.parse(source)):
        within = [node for statement in test.body for node in ast.walk(statement) if isinstance(node, ast.Call)]
        if reasons := [_reason(call) for call in (*calls, *within) if ast.unparse(call.func) in _SKIPS]:
            found[name] = reasons
    return found


def page(checklist: Checklist, tests: _Numbers, skips: _Skips) -> str:
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
            f"| {number} | {_shown(sentence)} | {_proof(sentence, by_number[number], skips, checklist)} |\n"
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
otherwise. Written by `make docs` from `tests/conformance.toml` and the numbers on the tests; do not edit. Of a test
that some machines skip it is said; no sentence rests on such tests alone.

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


def _proof(sentence: Sentence, tests: list[str], skips: _Skips, checklist: Checklist) -> str:
    parts = [f"`{test}`{_where_skipped(skips.get(test, []))}" for test in tests]
    if sentence.reason:
        parts.append(sentence.reason.replace("|", "\\|"))
    if not parts:
        return "not yet built" if sentence.section in checklist.not_yet_built else "**missing**"
    return "<br>".join(parts)


def _where_skipped(reasons: list[str]) -> str:
    return f" (skipped where {'; '.join(reasons)})".replace("|", "\\|") if reasons else ""


# ---------------------------------------------------------------------------------------------------------

_SKIPS = {"pytest.skip", "pytest.mark.skip", "pytest.mark.skipif"}


def _modules(tests: Path) -> Iterator[tuple[str, str]]:
    """Place and source of each module of tests."""
    for path in sorted(tests.rglob("test_*.py")):
        yield path.relative_to(tests).as_posix(), path.read_text(encoding="utf-8")


def _tests(module: ast.Module) -> Iterator[tuple[str, _Function, list[ast.Call]]]:
    """Each test of a module: its name, itself, and the calls that its marks are made by."""
    tables = {target.id: node.value for node in module.body for target in _targets(node)}
    everywhere = [tables["pytestmark"]] if "pytestmark" in tables else []
    for prefix, test, decorators in _functions(module):
        marks = [call for expression in (*everywhere, *decorators) for call in _calls(expression, tables)]
        yield prefix + test.name, test, marks


def _targets(node: ast.stmt) -> list[ast.Name]:
    match node:
        case ast.Assign(targets):
            return [target for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name() as target, value=ast.expr()):
            return [target]
        case _:
            return []


def _functions(module: ast.Module) -> Iterator[tuple[str, _Function, list[ast.expr]]]:
    for node in module.body:
        if isinstance(node, _Function) and node.name.startswith("test"):
            yield "", node, node.decorator_list
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            for inner in node.body:
                if isinstance(inner, _Function) and inner.name.startswith("test"):
                    yield f"{node.name}::", inner, node.decorator_list + inner.decorator_list


def _calls(expression: ast.expr, tables: dict[str, ast.expr]) -> Iterator[ast.Call]:
    """The calls in an expression, and in the tables that it names."""
    for node in ast.walk(expression):
        match node:
            case ast.Call():
                yield node
            case ast.Name(name) if name in tables:
                # A table may name another.
                yield from _calls(tables[name], {other: value for other, value in tables.items() if other != name})


def _number(argument: ast.expr) -> int:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
        return argument.value
    raise ValueError(f"line {argument.lineno}: takes whole numbers, as checklist(44, 45)")


def _reason(skip: ast.Call) -> str:
    named = [keyword.value for keyword in skip.keywords if keyword.arg == "reason"]
    match named or skip.args[:1]:
        case [ast.Constant(value=str(reason))]:
            return reason
    raise ValueError(f"line {skip.lineno}: takes a reason in so many words")


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(read_checklist(), covering(), skippable()), encoding="utf-8")


if __name__ == "__main__":
    main()
