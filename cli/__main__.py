"""The `pillarbox` command."""

import sys

from cli.commands import build
from cli.running import run


def main() -> None:
    """Run the command that the arguments name."""
    sys.exit(run(build(), sys.argv[1:]))


if __name__ == "__main__":
    main()
