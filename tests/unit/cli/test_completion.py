"""What a shell offers, and that bash does so: by its own functions, without a terminal."""

import os
import subprocess
import sys
from pathlib import Path

from cli.completion import assignments, setting_keys, states

# A command line that ends where the word is half typed, and what fits there.
OFFERED = {
    "pillarbox re": {"release", "replace", "resend", "retract"},
    "pillarbox list --state de": {"deferred", "delivered"},
    "pillarbox settings get sending.h": {"sending.hold"},
}
PRESS_TAB = """
COMP_WORDS=({words}) COMP_CWORD={number}
_pillarbox_completion pillarbox
echo "${{COMPREPLY[*]}}"
"""


def bash(script: str, home: Path) -> str:
    variables = {**os.environ, "HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "--norc", "-eu", "-c", script], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bash_completes_what_is_half_typed_after_one_command(tmp_path: Path):
    bash("pillarbox --install-completion; true", tmp_path)
    [line] = [line for line in (tmp_path / ".bashrc").read_text(encoding="utf-8").splitlines() if "pillarbox" in line]
    presses = [PRESS_TAB.format(words=words, number=len(words.split()) - 1) for words in OFFERED]
    said = bash("".join([f"{line}\n", *presses]), tmp_path)
    assert [set(offered.split()) for offered in said.splitlines()] == list(OFFERED.values())


def test_states_and_settings_are_those_of_the_code():
    assert states("in_") == ["in_doubt"]
    assert {"relay", "relay.host"} <= set(setting_keys("rel"))
    assert assignments("relay.ho") == ["relay.host="]
    assert not [key for key in setting_keys("") if "NAME" in key]
