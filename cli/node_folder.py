"""What lies in the folder of a private RabbitMQ node, and the environment in which the node finds it.

All of it is readable by its owner alone: it holds the password and the cookie, which is as good as a shell.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import msgspec

from cli.definitions import Account, accounts, definitions, new_password
from cli.ports import free_ports, is_free
from cli.rights import Rights, Role

NODE_NAME = "pillarbox@localhost"  # an epmd of its own: the name need not be unique on the machine
USER = "pillarbox"  # the node's owner, who may do everything; beside it there is one for each role
MARK = "PILLARBOX_NODE"  # in the environment of every process of the node, with its folder

# consumer_timeout: a sender may hold a mail for as long as a slow receiver takes its window.
# max_message_size: the default differs, 128 MiB on 3.10 and 16 MiB on 4.x.
# raft.wal_max_size_bytes: the default of 512 MiB lies in memory, too.
_CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
distribution.listener.interface = 127.0.0.1
load_definitions = {folder}/definitions.json
loopback_users.{user} = true
consumer_timeout = 7200000
max_message_size = 67108864
raft.wal_max_size_bytes = 64000000
disk_free_limit.absolute = 256MB
vm_memory_high_watermark.absolute = 1GiB
log.file.rotation.size = 10485760
log.file.rotation.count = 3
"""

# Loads the code of the node at once, before it boots: a module by itself, as the node then asks for most of them, takes
# more than twice as long. A node of 3.10.8 is up after 3.2 s in the place of 6.3. The variable that says so is
# taken away again: each minute the node starts another Erlang, lest epmd be gone, and that would load all of it, too.
_LOAD_CODE = """\
os:unsetenv("ERL_AFLAGS"),
Closure = fun
    Closure(App, Known) when is_map_key(App, Known) -> Known;
    Closure(App, Known) ->
        case file:consult(code:where_is_file(atom_to_list(App) ++ ".app")) of
            {ok, [{application, _, Keys}]} ->
                lists:foldl(Closure, Known#{App => proplists:get_value(modules, Keys, [])},
                            proplists:get_value(applications, Keys, []));
            _ -> Known
        end
end,
code:ensure_modules_loaded(lists:append(maps:values(lists:foldl(Closure, #{}, [rabbit, mnesia])))).
"""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What stays from one start to the next: the secrets, and the ports as long as they are free."""

    password: str
    cookie: str
    port: int
    epmd_port: int
    distribution_port: int
    passwords: dict[Role, str] = {}  # of the roles' users


def make_private(folder: Path) -> None:
    """Make the folder, or close it to others."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def open_private(file: Path, mode: str) -> IO[str]:
    """Open a file that others can not read."""
    return open(file, mode, encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600))


def choose_identity(folder: Path, port: int | None) -> Identity:
    """The remembered identity, with other ports where they are taken by now; a new one in a new folder."""
    file = folder / "identity.json"
    try:
        known = msgspec.json.decode(file.read_bytes(), type=Identity)
    except FileNotFoundError:
        known = Identity(
            password=new_password(), cookie=secrets.token_hex(16), port=0, epmd_port=0, distribution_port=0
        )
    spare = iter(free_ports(3)).__next__
    chosen = msgspec.structs.replace(
        known,
        passwords={role: known.passwords.get(role) or new_password() for role in Role},
        port=port or _keep(known.port, spare),
        epmd_port=_keep(known.epmd_port, spare),
        distribution_port=_keep(known.distribution_port, spare),
    )
    _write(file, msgspec.json.encode(chosen).decode())
    return chosen


def write_files(folder: Path, identity: Identity, vhosts: Sequence[str], scripts: Path) -> None:
    """Write everything a node reads when it starts. The data in `db` stay."""
    for name in ("db", "log"):
        make_private(folder / name)
    _write(folder / ".erlang.cookie", identity.cookie)
    (folder / ".erlang.cookie").chmod(0o400)  # Erlang refuses any other mode
    _write(folder / "rabbitmq.conf", _CONFIGURATION.format(port=identity.port, folder=folder, user=USER))
    _write(folder / "advanced.config", "[].\n")
    _write(folder / "enabled_plugins", "[].\n")
    _write(folder / "empty.env", "")
    _write(folder / "load_code", _LOAD_CODE)
    # Imported whenever the node starts. It takes the place of the default vhost and the guest user.
    owner = Account(USER, identity.password, Rights(configure=".*", write=".*", read=".*"))
    users = definitions(vhosts, [owner, *accounts(identity.passwords)])
    _write(folder / "definitions.json", json.dumps(users))
    _link_home_without_plugins(_release(scripts), folder / "home")


def environment(folder: Path, identity: Identity, scripts: Path) -> dict[str, str]:
    """All that the node knows of its surroundings; the files in /etc/rabbitmq do not count."""
    home = folder / "home"
    return {
        # An unpacked release may have its own Erlang beside its scripts.
        "PATH": f"{scripts}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
        "HOME": str(folder),  # Erlang reads the cookie there
        "LANG": "C.UTF-8",
        MARK: str(folder),
        "RABBITMQ_SCRIPTS_DIR": str((home if home.exists() else _release(scripts)) / "sbin"),
        "RABBITMQ_NODENAME": NODE_NAME,
        "RABBITMQ_CONF_ENV_FILE": f"{folder}/empty.env",
        "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
        "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
        "RABBITMQ_MNESIA_BASE": f"{folder}/db",
        "RABBITMQ_LOG_BASE": f"{folder}/log",
        "RABBITMQ_PID_FILE": f"{folder}/pid",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
        # The default is the AMQP port + 20000, which need not be a port.
        "RABBITMQ_DIST_PORT": str(identity.distribution_port),
        "ERL_EPMD_PORT": str(identity.epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_CRASH_DUMP_SECONDS": "0",
        "ERL_AFLAGS": "-eval file:eval(load_code)",  # a file where the node starts, named without anything to quote
        # Schedulers that wait busily would take the cores from the workers.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
    }


def _link_home_without_plugins(release: Path, home: Path) -> None:
    """Link RabbitMQ's folder without its optional plugins.

    A starting node searches all of their code even when none is enabled: without them it is up in half the time. The
    core needs none of the applications named `rabbitmq_…` but the prelaunch. Any other layout is used as it is.
    """
    shutil.rmtree(home, ignore_errors=True)
    plugins = release / "plugins"
    if not plugins.is_dir() or re.search(r"[\s:]", str(home)):  # the scripts do not quote this path
        return
    make_private(home)
    make_private(home / "plugins")
    (home / "sbin").symlink_to(release / "sbin")
    (home / "escript").symlink_to(release / "escript")
    for entry in plugins.iterdir():
        if not entry.name.startswith("rabbitmq_") or entry.name.startswith("rabbitmq_prelaunch"):
            (home / "plugins" / entry.name).symlink_to(entry)


def _release(scripts: Path) -> Path:
    """The folder of the release, above the scripts that Debian links to."""
    return (scripts / "rabbitmq-server").resolve().parent.parent


def _keep(port: int, other: Callable[[], int]) -> int:
    return port if port and is_free(port) else other()


def _write(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    with open_private(file, "w") as out:
        out.write(text)
