"""The settings in somebody's editor, until they are valid or given up."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w

from cli.failures import CommandFailed, usage
from cli.output import show_time
from shared.contracts.answers import SettingsVersion
from shared.refusals import Invalid
from shared.settings import parse_toml
from shared.settings_change import judged

_MARK = "#!"  # begins the lines that the next round takes away again


@contextmanager
def edited_document(version: SettingsVersion) -> Iterator[dict[str, Any]]:
    """The document as it was edited, judged. What was typed is kept in its file when the block fails."""
    folder = Path(tempfile.mkdtemp(prefix="pillarbox-settings-"))
    file = folder / "settings.toml"
    text = first_text(version)
    file.write_text(text, encoding="utf-8")
    try:
        yield _rounds(file, text)
    except (CommandFailed, Invalid) as failed:
        raise CommandFailed(f"{failed} (your text is kept in {file})") from failed
    file.unlink()
    folder.rmdir()


def _rounds(file: Path, text: str) -> dict[str, Any]:
    """Open the editor until its text is valid. Raises Invalid when an invalid one was left as it was."""
    while True:
        _open_editor(file)
        edited = without_marks(file.read_text(encoding="utf-8"))
        if not edited.strip():
            raise CommandFailed("the text is empty: nothing changed")
        try:
            return judged(parse_toml(edited))
        except Invalid as refused:
            if edited == text:
                raise
            text = edited
            file.write_text(with_mark(edited, str(refused)), encoding="utf-8")


def first_text(version: SettingsVersion) -> str:
    """What the editor shows first."""
    who = f", by {version.author}" if version.author else ""
    head = f"# Settings, revision {version.revision} since {show_time(version.time)}{who}."
    return f"{head}\n# A field that is removed takes its default.\n\n{tomli_w.dumps(version.settings)}"


def with_mark(text: str, refusal: str) -> str:
    """The text with the refusal above it."""
    lines = [f"{_MARK} {line}" for line in refusal.splitlines() or [""]]
    return "\n".join([*lines, f"{_MARK} Put it right; to give up, close the editor without a change.", text])


def without_marks(text: str) -> str:
    """The text as its author wrote it."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(_MARK))


def editor(variables: Mapping[str, str] = os.environ) -> list[str]:
    """The editor's command. Raises CommandFailed for one that can not be read."""
    chosen = variables.get("VISUAL") or variables.get("EDITOR") or "sensible-editor"
    try:
        return shlex.split(chosen)
    except ValueError as error:
        raise usage(f"EDITOR: got {chosen!r}: {error}") from error


def _open_editor(file: Path) -> None:
    command = [*editor(), str(file)]
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        raise usage(f"EDITOR: can not start {command[0]}: {error.strerror}; set EDITOR to one that is here") from error
    if code:
        raise CommandFailed(f"{command[0]} ended with {code}: nothing changed")
