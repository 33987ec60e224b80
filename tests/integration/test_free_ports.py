"""Ports for private servers: no two programs are given the same one."""

import subprocess
import sys

from cli.ports import free_ports

_ANOTHER = """
from cli.ports import free_ports
print(*free_ports(500), flush=True)
input()
"""


def test_two_programs_that_run_at_once_have_none_in_common():
    with subprocess.Popen([sys.executable, "-c", _ANOTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as another:
        assert another.stdout is not None
        theirs = set(map(int, another.stdout.readline().split()))
        ours = set(free_ports(500))
        another.communicate(b"\n")

    assert (len(theirs), len(ours)) == (500, 500)
    assert not theirs & ours
