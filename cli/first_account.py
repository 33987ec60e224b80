"""The account that `pillarbox up` makes in a fresh home, for programs on this machine."""

from cli.definitions import new_password
from cli.home import GatewayPlace, Home
from cli.node_folder import open_private

_USER = "robot"


def gateway_place(home: Home, port: int) -> GatewayPlace:
    """Where the gateway is. The account is made with the file of accounts; who changes that one has the say."""
    if not home.accounts_file.exists():
        _make(home)
    return GatewayPlace(host="127.0.0.1", port=port, user=_USER, password_file=str(home.account_password_file))


def _make(home: Home) -> None:
    # Imported here: every command would wait for argon2, and only few need it.
    from shared.accounts import Account, accounts_toml
    from shared.passwords import hash_password

    password = new_password()
    for file, text in (
        (home.account_password_file, f"{password}\n"),
        (home.accounts_file, accounts_toml({_USER: Account(password=hash_password(password))})),
    ):
        file.unlink(missing_ok=True)
        with open_private(file, "x") as out:
            out.write(text)
