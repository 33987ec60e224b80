"""docker-compose.yml and Dockerfile: what can be seen of them without a container engine; `make compose` runs them."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.commands import build
from cli.rights import Role
from cli.running import run
from services.console.environment import read_places
from services.gateway.place import read_place

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
OURS = ("definitions", "setup", "scheduler", "resolver", "sender", "gateway", "console")
SIGN_IN = ("setup", "scheduler", "resolver", "sender", "gateway", "console", "operator")
WORKERS = ("scheduler", "resolver", "sender", "gateway", "console")
USE_THE_STORE = ("scheduler", "sender")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def test_the_file_follows_the_compose_specification():
    # check-jsonschema ships the specification's own schema, https://github.com/compose-spec/compose-spec.
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE_FILE)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_service_can_be_scaled(compose: dict[str, Any]):
    for name, service in compose["services"].items():
        assert "container_name" not in service, name
        assert "ports" not in service or name == "rabbitmq", name


def test_the_broker_is_reached_from_this_machine_alone_unless_somebody_says_otherwise(compose: dict[str, Any]):
    assert compose["services"]["rabbitmq"]["ports"] == ["${PILLARBOX_AMQP_PUBLISH:-127.0.0.1:5672}:5672"]


def test_the_senders_alone_have_the_secrets_that_settings_name(compose: dict[str, Any]):
    place = "./secrets/sending:/run/secrets/sending:ro"
    having = {name for name, service in compose["services"].items() if place in service.get("volumes", [])}
    assert having == {"sender"}
    named = re.findall(r'file = "([^"]+)"', (ROOT / "docs" / "settings.md").read_text(encoding="utf-8"))
    assert named
    assert all(file.startswith("/run/secrets/sending/") for file in named), named


@pytest.mark.parametrize("page", [COMPOSE_FILE, ROOT / "docs" / "operations.md"])
def test_the_instructions_make_the_folder_of_secrets(page: Path):
    assert "mkdir -m 700 secrets && mkdir -m 755 secrets/sending" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", OURS)
def test_the_command_is_a_module_that_runs(compose: dict[str, Any], name: str):
    module = compose["services"][name]["command"][0]
    assert importlib.util.find_spec(f"{module}.__main__") is not None


@pytest.mark.parametrize("name", SIGN_IN)
def test_passwords_come_from_files_that_compose_puts_there(compose: dict[str, Any], name: str):
    service = compose["services"][name]
    for variable, value in service["environment"].items():
        if variable.endswith("_URL"):
            assert re.match(r"[a-z+]+://[a-z-]+@", value), f"{variable} holds a password"
        if variable.endswith("_FILE"):
            assert value.removeprefix("/run/secrets/") in service["secrets"]
    assert "PILLARBOX_AMQP_PASSWORD_FILE" in service["environment"]
    for variable in ("PILLARBOX_STORE_URL", "PILLARBOX_STORE_PASSWORD_FILE"):
        assert (variable in service["environment"]) == (name in USE_THE_STORE)
    assert ("database" in service["secrets"]) == (name in USE_THE_STORE)


def test_the_console_is_told_where_the_files_are_that_let_people_and_programs_in(
    compose: dict[str, Any], tmp_path: Path
):
    service = compose["services"]["console"]
    files = {name: value for name, value in service["environment"].items() if value.startswith("/console/")}
    assert files.keys() == {"PILLARBOX_CONSOLE_USERS", "PILLARBOX_CONSOLE_TOKENS", "PILLARBOX_CONSOLE_SESSION_KEY"}
    assert "./console:/console:ro" in service["volumes"]
    assert "./console:/console" in compose["services"]["operator"]["volumes"]
    key = tmp_path / "session.key"
    key.write_text("0" * 64)
    assert read_places({**service["environment"], "PILLARBOX_CONSOLE_SESSION_KEY": str(key)}).port == 8025


@pytest.mark.parametrize("name", SIGN_IN)
def test_each_service_is_the_user_of_its_role_at_the_broker(compose: dict[str, Any], name: str):
    environment = compose["services"][name]["environment"]
    assert environment["PILLARBOX_AMQP_URL"] == f"amqp://{Role(name).user}@rabbitmq:5672/pillarbox"
    assert environment["PILLARBOX_AMQP_PASSWORD_FILE"] == f"/run/secrets/{name}"


def test_the_broker_imports_the_users_that_setup_writes_down(compose: dict[str, Any], tmp_path: Path):
    service = compose["services"]["definitions"]
    assert set(service["secrets"]) == set(Role)
    places = {"/definitions": str(tmp_path), "/run/secrets": str(tmp_path / "secrets")}
    [_, *command] = [re.sub("|".join(places), lambda found: places[found[0]], word) for word in service["command"]]
    assert run(build(), command) == 0
    [name] = {file.name for file in tmp_path.glob("*.json")}
    broker = compose["services"]["rabbitmq"]
    assert f"/definitions/{name} " in broker["entrypoint"][-1]
    assert "definitions:/definitions:ro" in broker["volumes"]
    assert f"load_definitions = /etc/rabbitmq/{name}" in compose["configs"]["rabbitmq"]["content"]


def test_every_secret_config_and_volume_is_defined(compose: dict[str, Any]):
    for service in compose["services"].values():
        assert set(service.get("secrets", [])) <= compose["secrets"].keys()
        assert {config["source"] for config in service.get("configs", [])} <= compose["configs"].keys()
        named = {volume.split(":")[0] for volume in service.get("volumes", []) if not volume.startswith("./")}
        assert named <= compose["volumes"].keys()
        assert set(service.get("depends_on", [])) <= compose["services"].keys()


@pytest.mark.parametrize("name", [*WORKERS, "rabbitmq", "postgres"])
def test_what_runs_on_has_a_health_check(compose: dict[str, Any], name: str):
    assert compose["services"][name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", WORKERS)
def test_the_health_check_asks_the_port_that_serves_the_metrics(compose: dict[str, Any], name: str):
    service = compose["services"][name]
    port = service["environment"]["PILLARBOX_METRICS_PORT"]
    program = service["healthcheck"]["test"][-1]
    compile(program, "health check", "exec")
    assert f"127.0.0.1:{port}/" in program


def test_the_gateway_can_start_with_its_environment(compose: dict[str, Any]):
    place = read_place(compose["services"]["gateway"]["environment"])
    assert {(one.port, one.implicit_tls) for one in place.listen_at} == {(587, False), (465, True)}
    assert place.networks == ()  # nobody gets in without signing in
    assert not place.plaintext_on_loopback
    mounted = {volume.split(":")[1] for volume in compose["services"]["gateway"]["volumes"]}
    assert place.certificate is not None
    assert place.accounts is not None
    for file in (place.certificate.certificate, place.certificate.key, place.accounts):
        assert str(file.parent) in mounted


def test_the_image_gets_all_it_copies():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copies = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for source in " ".join(copies).split():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored


def test_the_image_runs_as_an_ordinary_user():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER pillarbox$", dockerfile, flags=re.MULTILINE)
