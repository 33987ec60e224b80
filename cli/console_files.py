"""The files of the console in a home: who may use it, the key of its sessions, the one-time sign-in link."""

import secrets
from pathlib import Path

from cli.home import Home
from cli.node_folder import open_private
from cli.private_file import rewrite
from shared.console_accounts import new_token, token_hash


def environment(home: Home, fd: int) -> dict[str, str]:
    """What the console of a home is told; `fd` is its socket."""
    return {
        "PILLARBOX_CONSOLE_LISTEN": f"fd:{fd}",
        "PILLARBOX_CONSOLE_TOKENS": str(tokens(home)),
        "PILLARBOX_CONSOLE_USERS": str(users(home)),
        "PILLARBOX_CONSOLE_LINK": str(_link(home)),
        "PILLARBOX_CONSOLE_SESSION_KEY": str(_key(home)),
    }


def tokens(home: Home) -> Path:
    """The file of the programs' tokens."""
    return home.console_folder / "tokens.toml"


def users(home: Home) -> Path:
    """The file of the people."""
    return home.console_folder / "users.toml"


def make(home: Home) -> None:
    """Make what is not there: files that let nobody in yet, and a key."""
    for file, content in ((tokens(home), ""), (users(home), ""), (_key(home), secrets.token_hex(32))):
        if not file.exists():
            with open_private(file, "x") as out:
                out.write(content)


def new_link(home: Home, url: str) -> str:
    """A link that signs its bearer in once; the former is worth nothing any more."""
    token = new_token()
    rewrite(_link(home), token_hash(token))
    return f"{url}/sign-in/link?token={token}"


def _link(home: Home) -> Path:
    return home.console_folder / "link"


def _key(home: Home) -> Path:
    return home.console_folder / "session.key"
