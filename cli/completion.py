"""What the shell offers behind a word that is half typed (`pillarbox --install-completion`). Asks no broker."""

from typing import get_args

from shared.contracts.words import StateName
from shared.settings_table import setting_names


def states(incomplete: str) -> list[str]:
    """States of mails."""
    return [state for state in get_args(StateName) if state.startswith(incomplete)]


def setting_keys(incomplete: str) -> list[str]:
    """Settings and their groups."""
    names = setting_names()
    groups = {name.rpartition(".")[0] for name in names if "." in name}
    return sorted(name for name in {*names, *groups} if name.startswith(incomplete))


def assignments(incomplete: str) -> list[str]:
    """Settings, up to the sign behind which their value stands."""
    return [f"{name}=" for name in setting_names() if name.startswith(incomplete)]
