"""A password that a person chooses."""

import sys

import typer

from cli.failures import usage


def hashed_password(shortest: int) -> str:
    """The hash of what is typed, or of the first line of standard input; of so many characters at least.

    Never from the command line: other people on the machine see that.
    """
    # Imported here: every command would load argon2, and only few need it.
    from shared.passwords import LONGEST, hash_password

    if sys.stdin.isatty():
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not shortest <= len(password) <= LONGEST:
        raise usage(f"password: has {len(password)} characters; takes {shortest} to {LONGEST}")
    return hash_password(password)
