"""What `pillarbox up` says when everything runs."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table

from cli.first_settings import relays_to
from cli.home import Home, RunFile
from cli.options import DEFAULT_HOME
from cli.output import plain
from shared.contracts.answers import SettingsVersion
from shared.environment import without_password
from shared.topology import SUBMIT


def welcome(home: Home, run: RunFile, version: SettingsVersion, link: str) -> RenderableType:
    """Where to publish, where mail goes, and the link that signs in at the page, once."""
    grid = Table.grid(padding=(0, 2))
    for name, words in facts(home, run, version, link):
        grid.add_row(f"  [bold]{name}[/bold]", plain(words))
    headline = f"[bold green]Pillarbox runs[/bold green], settings revision {version.revision}. Ctrl-C stops it."
    return Group("", headline, grid, "")


def facts(home: Home, run: RunFile, version: SettingsVersion, link: str) -> list[tuple[str, str]]:
    """What there is to know, by name."""
    workers = [name for name in run.workers if name != "inbox"]
    return [
        ("steer by", f"{run.console.url}, the page; its API is below /api/v1"),
        ("sign in by", f"{link} (once, within an hour)"),
        ("publish to", f"exchange {SUBMIT} at {without_password(run.amqp_url)}"),
        ("password", f"in {_near(home.run_file)}; the commands below find it there"),
        ("or over SMTP", f"{run.gateway.host} port {run.gateway.port}, user {run.gateway.user}, "
                         f"password in {_near(Path(run.gateway.password_file))}"),
        ("mail goes to", where_mail_goes(version, run)),
        ("mail is held", f"{version.settings['sending']['hold']} (setting sending.hold), then sent; "
                         "until then `retract` takes it back"),
        ("workers", f"{', '.join(workers)}; logs in {_near(home.log_folder)}"),
        *[("metrics", f"http://127.0.0.1:{worker.metrics_port}/metrics  {name}")
          for name, worker in run.workers.items() if worker.metrics_port],
    ]  # fmt: skip


def where_mail_goes(version: SettingsVersion, run: RunFile) -> str:
    """In words, as the settings in force have it."""
    settings = version.settings
    routes = f", and {', '.join(settings['routes'])} to relays of their own" if settings["routes"] else ""
    if settings["delivery"]["mode"] == "direct":
        return f"the recipients' own MX hosts: it leaves this machine{routes}"
    relay = settings["relay"]
    if relays_to(settings, run.inbox.host, run.inbox.port):
        folder = _near(Path(run.inbox.folder))
        return f"the test inbox at port {run.inbox.port}, a file each in {folder}; nothing leaves this machine"
    return f"the relay {relay['host']}:{relay['port']}{routes}"


def suggestions(command: str) -> list[str]:
    """What to try next."""
    return [
        f"{command} send --from you@example.org --to friend@example.net --subject Hello --text 'Hi there'",
        f"{command} list",
        f"{command} show ID",
        f"{command} retract ID",
        f"{command} settings set sending.hold=5m --comment 'more time to think'",
        f"{command} watch",
        f"{command} demo",
    ]


def command_line(home: Home) -> str:
    """How the command was called, to be copied: the program as it was typed, and the home where it is another one."""
    program = sys.argv[0]
    if Path(program).name == "__main__.py":
        words = [Path(sys.executable).name, "-m", "cli"]
    else:
        words = [Path(program).name if shutil.which(Path(program).name) == program else _near(Path(program))]
    usual = home.path == DEFAULT_HOME.absolute()
    environment = "" if usual else f"PILLARBOX_HOME={shlex.quote(_near(home.path))} "
    return environment + shlex.join(words)


def _near(path: Path) -> str:
    """The path as seen from here, when that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
