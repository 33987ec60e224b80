"""`pillarbox dkim`: keys that mail is signed with."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from cli.failures import CommandFailed, ExitCode, usage
from cli.options import JsonOption
from cli.output import print_json, remark
from shared.dkim_key import new_key, record_name, zone_line
from shared.refusals import Invalid
from shared.settings import parse_settings

DomainArgument = Annotated[
    str, typer.Argument(metavar="DOMAIN", help="The domain in From, in A-labels.", show_default=False)
]
SelectorOption = Annotated[
    str | None,
    typer.Option("--selector", metavar="NAME", help="The key's name in the DNS. Default: year and month.",
                 show_default=False),
]  # fmt: skip
KindOption = Annotated[
    Literal["rsa", "ed25519", "both"],
    typer.Option("--type", help="both: receivers that do not know Ed25519 yet take the RSA signature."),
]
FolderOption = Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where the private keys go.")]


class MadeKey(msgspec.Struct, frozen=True):
    """A key that was made, and what is to be said of it elsewhere."""

    kind: str
    selector: str
    file: str
    name: str  # of the DNS record
    record: str  # its text, in one piece
    zone: str  # the same as a line of a zone file


def keygen(
    domain: DomainArgument,
    selector: SelectorOption = None,
    kind: KindOption = "rsa",
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Make a private key for a domain; prints the DNS record and the setting."""
    domain = domain.lower().rstrip(".")
    stem = selector or datetime.now(UTC).strftime("p%Y%m")
    kinds = ("rsa", "ed25519") if kind == "both" else (kind,)
    selectors = {each: f"{stem}-{each}" if kind == "both" else stem for each in kinds}
    _check(domain, [*selectors.values()])
    made = [_make(domain, each, selectors[each], folder) for each in kinds]
    if as_json:
        print_json(made)
    else:
        _show(domain, made)


def _check(domain: str, selectors: list[str]) -> None:
    keys = [{"selector": selector, "key": {"file": "x"}} for selector in selectors]
    try:
        parse_settings({"dkim": {domain: keys}})
    except Invalid as refused:
        flag = "--selector" if refused.field.endswith("selector") else "DOMAIN"
        raise usage(f"{flag}: {refused.reason}") from refused
    if not re.search(r"\.", domain):
        raise usage(f"DOMAIN: got {domain!r}; takes a domain such as shop.example")


def _make(domain: str, kind: str, selector: str, folder: Path) -> MadeKey:
    key = new_key(kind)
    path = (folder / f"{selector}.{domain}.pem").absolute()
    try:
        # Made for the owner alone from the first moment; a key that is there is in use and stays.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.pem())
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}", ExitCode.NO) from error
    record = key.record()
    name = record_name(domain, selector)
    return MadeKey(kind, selector, str(path), name, record, zone_line(domain, selector, record))


def _show(domain: str, made: list[MadeKey]) -> None:
    remark("[bold]1.[/bold] Publish in the DNS, and wait until it can be seen:")
    for key in made:
        typer.echo(f"\n{key.zone}")
    remark(
        "\n[bold]2.[/bold] Give the senders the private key; their user has to be able to read it, and nobody else.\n\n"
        "[bold]3.[/bold] Add to the settings, with the path that the senders see (pillarbox settings edit):"
    )
    for key in made:
        typer.echo(f'\n[[dkim."{domain}"]]\nselector = "{key.selector}"\nkey = {{ file = "{key.file}" }}')
