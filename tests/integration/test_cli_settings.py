"""`pillarbox settings` against a real scheduler and its stream."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.up import Up


@pytest.fixture(autouse=True)
def _as_they_were(up: Up) -> Iterator[None]:
    """Every test finds the settings that the file began with."""
    revision = up.command("settings", "get", "--json").json["revision"]
    yield
    assert up.command("settings", "rollback", str(revision)).code == 0


def hold(up: Up) -> str:
    return up.command("settings", "get", "sending.hold").out.strip()


def test_a_change_shows_old_and_new_and_is_in_force_when_the_command_ends(up: Up):
    said = up.command("settings", "set", "sending.hold=10m", "tls=require", "--comment", "exams")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[:2] == ['tls: "enable" → "require"', 'sending.hold: "1h" → "10m"']
    assert lines[2].endswith("is in force")
    assert hold(up) == "10m"
    assert "exams" in up.command("settings", "history").out


def test_what_says_nothing_new_is_not_published(up: Up):
    said = up.command("settings", "set", "sending.hold=60m")
    assert said.code == 0
    assert "nothing changes" in said.err


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("sending.hold=soon", 'sending.hold: got "soon"; takes a duration'),
        ("sending.held=1m", "did you mean hold?"),
        ('relay.auth={user="u", password="secret"}', "no secret ever lies on the broker"),
    ],
)
def test_a_wrong_value_is_refused_before_it_is_published(up: Up, assignment: str, says: str):
    said = up.command("settings", "set", assignment)
    assert said.code == 2
    assert says in said.err
    assert hold(up) == "1h"


def test_an_earlier_revision_comes_back(up: Up):
    former = up.command("settings", "get", "--json").json["revision"]
    changed = up.command("settings", "set", "sending.hold=10m", "--json").json
    assert changed["changes"] == [{"key": "sending.hold", "old": "1h", "new": "10m"}]
    back = up.command("settings", "rollback", str(former), "--json")
    assert back.json["changes"] == [{"key": "sending.hold", "old": "10m", "new": "1h"}]
    newest = up.command("settings", "history", "--limit", "1", "--json").json[0]
    assert (newest["revision"], newest["restores"]) == (changed["revision"] + 1, former)
    assert up.command("settings", "rollback", "4711").code == 1
    earlier = up.command("settings", "get", "--revision", str(changed["revision"]), "--json")
    assert earlier.json["settings"]["sending"]["hold"] == "10m"


def editor(folder: Path, *rounds: tuple[str, str]) -> str:
    """An editor that replaces a text by another, in each round the next one, and keeps what it was shown."""
    script = folder / "editor.py"
    script.write_text(
        f"""
import json, pathlib, sys
rounds = json.loads({json.dumps(json.dumps(rounds))})
seen = pathlib.Path({str(folder)!r})
number = len(list(seen.glob("seen*")))
file = pathlib.Path(sys.argv[1])
text = file.read_text()
(seen / f"seen{{number}}").write_text(text)
if number < len(rounds):
    file.write_text(text.replace(*rounds[number]))
"""
    )
    return f"python3 {script}"


def test_the_editor_opens_again_with_what_is_wrong_until_it_is_right(up: Up, tmp_path: Path):
    chosen = editor(tmp_path, ('hold = "1h"', 'hold = "soon"'), ('hold = "soon"', 'hold = "9m"'))
    said = up.command("settings", "edit", "--comment", "by hand", EDITOR=chosen)
    assert said.code == 0, said.err
    assert 'sending.hold: "1h" → "9m"' in said.out
    assert '#! sending.hold: got "soon"' in (tmp_path / "seen1").read_text()
    assert hold(up) == "9m"


def test_an_editor_closed_on_a_wrong_text_changes_nothing_and_keeps_the_text(up: Up, tmp_path: Path):
    said = up.command("settings", "edit", EDITOR=editor(tmp_path, ('hold = "1h"', "hold = [")))
    assert said.code == 1
    kept = Path(said.err.partition("your text is kept in ")[2].strip().rstrip(")"))
    assert "hold = [" in kept.read_text()
    kept.unlink()
    kept.parent.rmdir()
    assert hold(up) == "1h"


def test_of_two_who_edit_at_once_the_second_is_told(up: Up, tmp_path: Path):
    other = tmp_path / "other.sh"
    other.write_text(
        f"""
{sys.executable} -m cli settings set sending.max_per_connection=7 >/dev/null
sed -i 's/hold = "1h"/hold = "8m"/' "$1"
"""
    )
    said = up.command("settings", "edit", EDITOR=f"sh {other}")
    assert said.code == 1
    assert "came first" in said.err
    assert hold(up) == "1h"
    assert up.command("settings", "get", "sending.max_per_connection").out == "7\n"
