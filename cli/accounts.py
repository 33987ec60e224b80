"""`pillarbox accounts`: who may submit over SMTP, in the file that the gateways read."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from cli.failures import CommandFailed, usage
from cli.home import Home
from cli.new_password import hashed_password
from cli.options import DEFAULT_HOME, HomeOption, JsonOption, duration
from cli.output import plain, print_json, remark, screen, table
from cli.private_file import rewrite
from cli.submission import as_duration
from shared.refusals import Invalid

if TYPE_CHECKING:  # its import loads argon2, for which every command would wait
    from shared.accounts import Account

_SHORTEST = 8  # characters of a password

FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        envvar="PILLARBOX_ACCOUNTS",
        help="The file of accounts. Default: the one of `pillarbox up` in the home.",
    ),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user name.", show_default=False)]


def add(
    name: NameArgument,
    hold: Annotated[
        timedelta | None,
        typer.Option("--hold", parser=duration, metavar="TIME", help="Hold of its mail that names none."),
    ] = None,
    batch: Annotated[str, typer.Option("--batch", metavar="LABEL", help="Batch of its mail that names none.")] = "",
    rate: Annotated[
        int | None, typer.Option("--rate", metavar="N", min=1, max=1_000_000, help="Mails per minute.")
    ] = None,
    senders: Annotated[
        list[str] | None,
        typer.Option("--sender", metavar="WHO", help="An address or domain its mail may come from; may be repeated."),
    ] = None,
    file: FileOption = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Add an account; the password is asked for, or is the first line of standard input.

    Running gateways know it within seconds.
    """
    from shared.accounts import Account

    def change(known: dict[str, Account]) -> None:
        if name in known:
            raise CommandFailed(f"{name}: there is such an account; `pillarbox accounts passwd` changes its password")
        known[name] = _checked(
            name,
            Account(
                password=hashed_password(_SHORTEST),
                hold=as_duration(hold),
                batch=batch,
                rate=rate,
                senders=tuple(senders or ()),
            ),
        )

    _change(_place(file, home), change)
    remark(f"{plain(name)} may submit")


def passwd(name: NameArgument, file: FileOption = None, home: HomeOption = DEFAULT_HOME) -> None:
    """Change a password; it is asked for, or is the first line of standard input.

    Who is signed in by the former one has to sign in again.
    """

    def change(known: "dict[str, Account]") -> None:
        _must_be_there(name, known)
        known[name] = msgspec.structs.replace(known[name], password=hashed_password(_SHORTEST))

    _change(_place(file, home), change)
    remark(f"{plain(name)} has another password")


def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="One user name or several.")],
    file: FileOption = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Remove accounts. Mail that they have submitted stays."""

    def change(known: "dict[str, Account]") -> None:
        for name in names:
            _must_be_there(name, known)
            del known[name]

    _change(_place(file, home), change)
    remark(f"{plain(', '.join(names))} may submit no longer")


def list_accounts(file: FileOption = None, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the accounts, without their passwords."""
    known = _read(_place(file, home))
    if as_json:
        print_json([_shown(name, account) for name, account in known.items()])
    elif known:
        rows = [[plain(cell) for cell in _row(name, account)] for name, account in known.items()]
        screen().print(table(["name", "hold", "batch", "mails a minute", "may send as"], rows, wide=["may send as"]))
    else:
        remark("there are no accounts")


# ---------------------------------------------------------------------------------------------------------


def _place(file: Path | None, home: Path) -> Path:
    return file if file is not None else Home(home).accounts_file


def _read(file: Path) -> "dict[str, Account]":
    from shared.accounts import parse_accounts

    try:
        return parse_accounts(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{file}: is no text in UTF-8") from error
    except Invalid as refused:
        raise CommandFailed(f"{file}: {refused}") from refused


def _change(file: Path, change: Callable[["dict[str, Account]"], None]) -> None:
    from shared.accounts import accounts_toml

    known = _read(file)
    change(known)
    rewrite(file, accounts_toml(known))


def _checked(name: str, account: "Account") -> "Account":
    from shared.accounts import check_account

    flags = {"name": "NAME", "batch": "--batch"}
    try:
        return check_account(name, account)
    except Invalid as refused:
        raise usage(f"{flags.get(refused.field, '--sender')}: {refused.reason}") from refused


def _must_be_there(name: str, known: "Mapping[str, Account]") -> None:
    if name not in known:
        raise CommandFailed(f"{name}: there is no such account")


def _shown(name: str, account: "Account") -> dict[str, Any]:
    return {
        "name": name,
        "hold": account.hold,
        "batch": account.batch,
        "rate": account.rate,
        "senders": account.senders,
    }


def _row(name: str, account: "Account") -> list[str]:
    return [name, _text(account.hold), account.batch, _text(account.rate), " ".join(account.senders)]


def _text(value: object) -> str:
    return "" if value is None else str(value)
