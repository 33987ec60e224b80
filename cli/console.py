"""`pillarbox console`: who may use the HTTP API and the page."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import tomli_w
import typer

from cli import console_files
from cli.failures import CommandFailed
from cli.home import Home
from cli.new_password import hashed_password
from cli.options import DEFAULT_HOME, HomeOption
from cli.output import plain, remark, say
from cli.private_file import rewrite
from shared.console_accounts import Scope, check_name, new_token, parse_tokens, parse_users, token_hash
from shared.refusals import Invalid

_SHORTEST = 12  # characters of a password

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="For logs and histories.")]
ScopesOption = Annotated[
    list[Scope] | None,
    typer.Option("--scope", help="What may be done; may be repeated. Default: everything.", case_sensitive=False),
]
FileOption = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="The file to change. Default: that of the home.")
]


def token(
    name: NameArgument, scopes: ScopesOption = None, file: FileOption = None, home: HomeOption = DEFAULT_HOME
) -> None:
    """Make a token for a program and print it: the file keeps its hash alone. A former one of that name is replaced."""
    made = new_token()
    account = {"hash": token_hash(made), "scopes": list(map(str, scopes or Scope))}
    _put(file or console_files.tokens(Home(home)), name, account, parse_tokens)
    say(made)


def user(
    name: NameArgument, scopes: ScopesOption = None, file: FileOption = None, home: HomeOption = DEFAULT_HOME
) -> None:
    """Let a person sign in, or give one a new password; that ends the sessions of the former.

    It is asked for, or is the first line of standard input.
    """
    account = {"password": hashed_password(_SHORTEST), "scopes": list(map(str, scopes or Scope))}
    _put(file or console_files.users(Home(home)), name, account, parse_users)
    remark(f"{plain(name)} may sign in")


def link(home: HomeOption = DEFAULT_HOME) -> None:
    """Print a link that signs its bearer in at the page of a running `pillarbox up`, once, within an hour."""
    place = Home(home)
    run = place.running()
    if run is None:
        raise CommandFailed(f"no `pillarbox up` runs in {place.path}")
    say(plain(console_files.new_link(place, run.console.url)))


def _put(file: Path, name: str, account: dict[str, Any], parse: Any) -> None:
    """Write an account into a file, which has to be right before and after."""
    check_name(name)
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        parse(text)
    except (Invalid, UnicodeDecodeError) as error:
        raise CommandFailed(f"{file}: {error}") from error
    rewrite(file, tomli_w.dumps({**tomllib.loads(text), name: account}))
