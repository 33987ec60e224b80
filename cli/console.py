"""`pillarbox console`: who may use the HTTP API and the page."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import tomli_w
import typer

from cli import console_files
from cli.failures import CommandFailed, ExitCode, usage
from cli.home import Home
from cli.options import DEFAULT_HOME, HomeOption
from cli.output import plain, remark, say
from shared.console_accounts import Scope, check_name, new_token, parse_tokens, parse_users, token_hash
from shared.refusals import Invalid

_LEAST_PASSWORD = 12  # characters

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
    """Let a person sign in, or give one a new password, which is asked for; it ends the sessions of the former."""
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if len(password) < _LEAST_PASSWORD:
        raise usage(f"the password has {len(password)} characters; takes {_LEAST_PASSWORD} at least")
    # Imported here: every command would load argon2, and only this one needs it.
    from shared.passwords import hash_password

    account = {"password": hash_password(password), "scopes": list(map(str, scopes or Scope))}
    _put(file or console_files.users(Home(home)), name, account, parse_users)
    remark(f"{plain(name)} may sign in")


def link(home: HomeOption = DEFAULT_HOME) -> None:
    """Print a link that signs its bearer in at the page of a running `pillarbox up`, once, within an hour."""
    place = Home(home)
    run = place.running()
    if run is None:
        raise CommandFailed(f"no `pillarbox up` runs in {place.path}", ExitCode.UNREACHABLE)
    say(plain(console_files.new_link(place, run.console.url)))


def _put(file: Path, name: str, account: dict[str, Any], parse: Any) -> None:
    """Write an account into a file, which has to be right before and after."""
    check_name(name)
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        parse(text)
    except (Invalid, UnicodeDecodeError) as error:
        raise CommandFailed(f"{file}: {error}") from error
    console_files.write(file, tomli_w.dumps({**tomllib.loads(text), name: account}))
