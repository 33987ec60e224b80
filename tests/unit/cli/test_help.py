"""Every command explains itself."""

import re
from collections.abc import Iterator

import pytest
import typer

from cli.commands import build
from cli.failures import ExitCode
from cli.running import run


def commands_of(app: typer.Typer) -> Iterator[str]:
    """Every command, those of groups with the group's name."""
    for command in app.registered_commands:
        yield command.name or ""
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for name in commands_of(group.typer_instance):
            yield f"{group.name} {name}"


COMMANDS = sorted(commands_of(build()))
# Keys and checks of this machine: neither asks a scheduler, nor fills a queue.
OWN_CODES = {
    "dkim keygen",
    "doctor",
    *(command for command in COMMANDS if command.startswith(("accounts ", "console "))),
}


def test_the_commands_are_found():
    assert {"send", "close", "doctor", "dkim keygen", "suppression import"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_an_example_and_its_exit_codes(command, capsys):
    assert run(build(), [*command.split(), "--help"]) == 0
    page = capsys.readouterr().out
    assert f"pillarbox {command}" in page.partition("Example")[2]
    told = {int(code) for code in re.findall(r"(\d+) [a-zC]", page.rpartition("Exit")[2])}
    assert told == ({0, 1, 2} if command in OWN_CODES else {int(code) for code in ExitCode})


def test_the_first_page_names_every_command_and_exit_code(capsys):
    assert run(build(), []) == 0
    page = capsys.readouterr().out
    for command in COMMANDS:
        assert f" {command.split()[0]} " in page
    for code in ExitCode:
        assert re.search(rf"^\s+{code:d}  \w", page, re.MULTILINE), code
