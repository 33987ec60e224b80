"""Who may import what. The rules are those of the layout in docs/architecture.md, read off the syntax trees."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("services", "shared", "cli")
SERVICES = sorted(path.name for path in (ROOT / "services").iterdir() if (path / "__main__.py").exists())
SOURCES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
_SOCKET_OPENERS = {
    "asyncio.open_connection",
    "asyncio.start_server",
    "socket.create_connection",
    "socket.create_server",
    "socket.socket",
}
_LOOP_SOCKET_OPENERS = {"create_connection", "create_server", "sock_connect", "create_datagram_endpoint"}


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Every module a file imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "packages are imported under their own names"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_that_import(package: str) -> set[str]:
    return {
        path.as_posix()
        for path in SOURCES
        if any(name == package or name.startswith(f"{package}.") for name in imports_of(_parse(path)))
    }


def calls_in(tree: ast.AST) -> Iterator[str]:
    """The dotted name of everything that is called, as it is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def opens_sockets(tree: ast.AST) -> bool:
    return any(
        call in _SOCKET_OPENERS or (call.rpartition(".")[2] in _LOOP_SOCKET_OPENERS and "loop" in call.lower())
        for call in calls_in(tree)
    )


@pytest.mark.parametrize("service", SERVICES)
def test_services_never_import_each_other(service: str):
    others = {f"services.{name}" for name in SERVICES if name != service}
    for path in SOURCES:
        if path.is_relative_to(f"services/{service}"):
            imported = {".".join(name.split(".")[:2]) for name in imports_of(_parse(path))}
            assert not imported & others, path


def test_what_is_shared_imports_neither_services_nor_the_command_line():
    assert {
        path for package in ("services", "cli") for path in files_that_import(package) if path[:6] == "shared"
    } == set()


def test_services_do_not_import_the_command_line():
    assert {path for path in files_that_import("cli") if path.startswith("services/")} == set()


def test_of_the_command_line_only_the_doctor_looks_with_the_services_eyes():
    users = {path for path in files_that_import("services") if path.startswith("cli/")}
    assert {path for path in users if not path.startswith("cli/doctor")} == set()


def test_only_the_broker_imports_pika():
    strangers = {path for path in files_that_import("pika") if not path.startswith("shared/broker/")}
    assert strangers == set()


def test_only_one_file_imports_opentelemetry_and_it_is_imported_where_traces_are_wanted():
    assert files_that_import("opentelemetry") == {"shared/otel.py"}
    at_once = {
        path.as_posix()
        for path in SOURCES
        for statement in _parse(path).body
        if isinstance(statement, ast.Import | ast.ImportFrom) and "shared.otel" in set(imports_of(statement))
    }
    assert at_once == set()


def test_only_the_resolver_and_the_questions_that_are_shared_ask_the_dns():
    strangers = {path for path in files_that_import("dns") if not path.startswith("services/resolver/")}
    assert strangers <= {"shared/dns_questions.py", "shared/reverse_dns.py"}


def test_only_the_senders_connection_opens_sockets_and_front_doors_listen_by_one_file():
    openers = {path.as_posix() for path in SOURCES if path.is_relative_to("services") and opens_sockets(_parse(path))}
    assert openers == {"services/sender/connection.py"}
    assert files_that_import("shared.listening") == {"services/console/server.py", "services/gateway/doors.py"}


@pytest.mark.parametrize("front_door", ["gateway", "console"])
def test_a_front_door_keeps_nothing_and_needs_no_store(front_door: str):
    users = files_that_import("shared.mail_store") | files_that_import("sqlalchemy")
    assert not {path for path in users if path.startswith(f"services/{front_door}/")}


def test_only_the_console_speaks_http_as_a_server():
    users = files_that_import("litestar") | files_that_import("uvicorn")
    assert {path for path in users if not path.startswith("services/console/")} == set()


def test_only_the_gateway_and_the_test_inbox_speak_smtp_as_servers():
    users = {path for path in files_that_import("aiosmtpd") if not path.startswith("services/gateway/")}
    assert users == {"cli/inbox.py"}


def test_passwords_are_hashed_in_one_place():
    assert files_that_import("argon2") == {"shared/passwords.py"}


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name == "__main__.py"], ids=str)
def test_main_is_a_table_of_contents(path: Path):
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= 80


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("asyncio.open_connection('h', 25)", True),
        ("await loop.create_connection(make, 'h', 25)", True),
        ("await asyncio.get_running_loop().create_connection(make, 'h', 25)", True),
        ("socket.create_connection(('h', 25))", True),
        ("socket.gethostname()", False),
        ("connections.create_connection()", False),  # some other thing of that name
    ],
)
def test_an_opened_socket_is_seen(source: str, expected: bool):
    assert opens_sockets(ast.parse(source)) is expected


def test_imports_are_seen_in_every_form():
    source = "import a.b\nfrom c import d\ndef f():\n    import e as x\n"
    assert list(imports_of(ast.parse(source))) == ["a.b", "c", "c.d", "e"]


def _parse(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))
