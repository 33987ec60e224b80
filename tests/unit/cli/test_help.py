"""Every command explains itself."""

import pytest

from cli.commands import build
from cli.running import run

COMMANDS = [
    "up", "scale", "demo", "setup", "send", "retract", "replace", "release", "list", "show", "settings get",
    "settings set", "settings edit", "settings history", "settings rollback", "dead list", "dead redrive", "watch",
    "sites", "suppression list", "suppression add", "suppression remove", "suppression import", "suppression export",
    "console token", "console user", "console link",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_an_example_and_its_exit_codes(command, capsys):
    assert run(build(), [*command.split(), "--help"]) == 0
    page = capsys.readouterr().out
    assert f"pillarbox {command}" in page.partition("Example")[2]
    assert "Exit" in page


def test_the_first_page_names_every_command_and_exit_code(capsys):
    assert run(build(), []) == 0
    page = capsys.readouterr().out
    for command in COMMANDS:
        assert f" {command.split()[0]} " in page
    for words in ("0  done", "2  wrong usage", "3  the broker", "4  no answer"):
        assert words in page
