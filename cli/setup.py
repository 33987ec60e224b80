"""`pillarbox setup`: declare the exchanges and queues; write what a broker has to know of our users."""

import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cli.client import Client, declare_topology, with_client
from cli.definitions import accounts, definitions, new_password
from cli.failures import CommandFailed, usage
from cli.home import Home
from cli.node_folder import make_private, open_private
from cli.options import DEFAULT_HOME, HomeOption, JsonOption
from cli.output import counted, plain, print_json, remark, say, screen, table
from cli.rights import Role
from shared import topology


class UserFile(msgspec.Struct, frozen=True):
    """A user, and where its password lies."""

    role: Role
    user: str
    password_file: str
    made: bool  # now; else it was there


def setup(
    definitions_file: Annotated[
        Path | None,
        typer.Option("--definitions", metavar="FILE", help="Write the users and their rights for RabbitMQ to import."),
    ] = None,
    passwords: Annotated[
        Path | None,
        typer.Option(
            "--passwords",
            metavar="DIR",
            help="Their passwords, a file a role: taken if it is there, else made. Default: `passwords` beside FILE.",
        ),
    ] = None,
    vhost: Annotated[
        str, typer.Option("--vhost", metavar="NAME", help="The virtual host that the users have their rights in.")
    ] = "pillarbox",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Declare the exchanges and queues at the broker.

    What exists stays as it is: this may be repeated. Workers do it at their start, too, where they are allowed to.
    With --definitions no broker is asked; a file is written that makes a user for each role, with the least rights.
    """
    if definitions_file is not None:
        _define(definitions_file, passwords or definitions_file.parent / "passwords", vhost, as_json)
    elif passwords is not None:
        raise usage("--passwords: goes with --definitions")
    else:
        with_client(Home(home), lambda client: _setup(client, as_json))


async def _setup(client: Client, as_json: bool) -> None:
    await declare_topology(client.broker)
    # Without the permission to configure `declare` does nothing: only looking tells whether all is there.
    lengths = {name: await client.broker.count(name) for name in topology.QUEUES}
    if as_json:
        print_json({"broker": client.where, "exchanges": topology.EXCHANGES, "queues": lengths})
        return
    rows = [(name, str(arguments["x-queue-type"]), f"{lengths[name]:,}") for name, arguments in topology.QUEUES.items()]
    screen().print(table(["queue", "type", "messages"], rows, right=["messages"]))
    exchanges, queues = counted(len(topology.EXCHANGES), "exchange"), counted(len(rows), "queue")
    say(f"{exchanges} and {queues} are there at {client.where}")


def _define(file: Path, folder: Path, vhost: str, as_json: bool) -> None:
    if not folder.is_dir():
        make_private(folder)
    known: dict[Role, str] = {}
    users = []
    for role in Role:
        place = folder / role
        known[role], made = _password(place)
        users.append(UserFile(role, role.user, str(place), made))
    _replace(file, msgspec.json.format(msgspec.json.encode(definitions([vhost], accounts(known))), indent=2))
    if as_json:
        print_json({"definitions": str(file), "vhost": vhost, "users": users})
    else:
        _tell(file, vhost, users)


def _password(place: Path) -> tuple[str, bool]:
    """The password in a file, which is made where there is none; and whether it was made."""
    if place.exists():
        password = place.read_text(encoding="utf-8", errors="replace").rstrip("\r\n")
        if not password or "\ufffd" in password:
            raise CommandFailed(f"{place}: holds no text; takes a password, or remove it and one is made")
        return password, False
    password = new_password()
    with open_private(place, "x") as file:
        file.write(f"{password}\n")
    return password, True


def _replace(file: Path, document: bytes) -> None:
    """In one step, and for the owner alone: hashes can be tried offline."""
    written = file.with_name(f".{file.name}.{os.getpid()}")
    with open_private(written, "x") as out:
        out.write(f"{document.decode()}\n")
    written.replace(file)


def _tell(file: Path, vhost: str, users: list[UserFile]) -> None:
    rows = [[user.role, user.user, plain(user.password_file), "made" if user.made else "as it was"] for user in users]
    screen().print(table(["role", "user", "password", ""], rows, wide=["password"]))
    remark(
        f"1. Let RabbitMQ import {plain(str(file))}: `load_definitions` in rabbitmq.conf, or `rabbitmqctl "
        "import_definitions FILE`.\n"
        f"2. Declare: PILLARBOX_AMQP_URL=amqp://{Role.SETUP.user}@HOST/{plain(vhost)} "
        "PILLARBOX_AMQP_PASSWORD_FILE=… pillarbox setup\n"
        "3. Give each worker, and each program, the URL and the password file of its own role."
    )
