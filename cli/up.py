"""`pillarbox up`: broker, workers and test inbox on this machine, in one folder; `pillarbox scale`."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Annotated, Any

import structlog
import typer

from cli import console_files
from cli.client import connected, declare_topology
from cli.failures import CommandFailed
from cli.first_account import gateway_place
from cli.first_settings import adjust, first_document, seed, store_has_settings
from cli.home import ConsolePlace, Home, InboxPlace, RunFile
from cli.kept_socket import kept_socket
from cli.node import NodeFailed, PrivateNode
from cli.options import DEFAULT_HOME, HomeOption, JsonOption
from cli.output import counted, plain, print_json, print_json_line, remark, say, screen
from cli.rights import Role
from cli.settings_publish import pairs_of
from cli.supervisor import Plan, Supervisor, TooMany
from cli.up_socket import Refused, Reply, Scale, Scaled, request, serving
from cli.welcome import command_line, suggestions, welcome
from shared.broker import Broker
from shared.contracts.answers import SettingsVersion
from shared.environment import amqp_url
from shared.mail_log import start_log

log = structlog.get_logger()

_BROKER_PATIENCE_S = 60.0
_OURS = (Role.SETUP, Role.SCHEDULER, Role.RESOLVER, Role.SENDER, Role.GATEWAY, Role.CONSOLE, Role.OPERATOR)
_FIRST_ANSWER = timedelta(seconds=30)  # the scheduler may be filling the settings stream from its store


def up(
    senders: Annotated[int, typer.Option("--senders", metavar="N", min=0, max=64, help="How many senders.")] = 2,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, on top of those in force; may be repeated."),
    ] = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="Each worker serves its metrics on a free port.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Run everything on this machine until Ctrl-C: a RabbitMQ of its own, all workers, a test inbox.

    Nothing leaves the machine until a setting says so. Data, logs and the inbox's mail stay in the home. With
    PILLARBOX_AMQP_URL it uses that broker instead of its own, with PILLARBOX_STORE_URL that mail store. With --json
    one line of JSON says when all is ready, with what run.json has: the passwords, too.
    """
    os.umask(0o077)  # mail, logs and passwords: for nobody else, whatever the home allows
    wanted = assignments or []
    pairs_of(wanted)  # a broker takes seconds to start: what can be seen to be wrong is said before
    place = Home(home)
    place.create()
    with place.locked(), _terminating(), _log_file(place):
        try:
            with (
                kept_socket(place.inbox_port_file, "the inbox with the settings") as (inbox, former_port),
                kept_socket(place.gateway_port_file, "the gateway") as (gateway, _),
                kept_socket(place.console_port_file, "the console") as (console, _),
            ):
                store_url = os.environ.get("PILLARBOX_STORE_URL") or place.store_url
                sink = InboxPlace(host="127.0.0.1", port=inbox.getsockname()[1], folder=str(place.inbox_folder))
                first = None if store_has_settings(store_url) else first_document(sink, wanted)
                with _broker_of(place) as urls:
                    plan = Plan(
                        amqp_urls=urls,
                        store_url=store_url,
                        inbox=sink,
                        gateway=gateway_place(place, gateway.getsockname()[1]),
                        console=ConsolePlace(host="127.0.0.1", port=console.getsockname()[1]),
                        senders=senders,
                        metrics=metrics,
                    )
                    listeners = {"inbox": inbox, "gateway": gateway, "console": console}
                    asyncio.run(_run(place, plan, listeners, first, former_port, wanted, as_json))
        finally:
            place.forget_run()


def scale(
    senders: Annotated[int, typer.Argument(metavar="N", help="How many senders.", min=0)],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Change the number of senders of a running `pillarbox up`. Those that end finish what they are sending."""
    match request(Home(home).socket, Scale(senders)):
        case Scaled(names):
            if as_json:
                print_json({"senders": names})
            else:
                say(f"{counted(len(names), 'sender')} run" + ("s" if len(names) == 1 else "") + f": {', '.join(names)}")
        case Refused(reason):
            raise CommandFailed(reason)


# ---------------------------------------------------------------------------------------------------------


async def _run(
    home: Home,
    plan: Plan,
    listeners: Mapping[str, socket.socket],
    first: dict[str, Any] | None,
    former_port: int | None,
    assignments: Sequence[str],
    as_json: bool,
) -> None:
    """Start everything, wait for the end, stop everything; then raise what went wrong."""
    stop = asyncio.Event()
    supervisor = Supervisor(home, plan, listeners, lambda words: remark(plain(words)))
    _on_signals(stop, supervisor)
    serving_it = asyncio.create_task(_serve(home, plan, supervisor, first, former_port, assignments, as_json))
    await asyncio.wait((serving_it, asyncio.create_task(stop.wait())), return_when=asyncio.FIRST_COMPLETED)
    serving_it.cancel()
    [result] = await asyncio.gather(serving_it, return_exceptions=True)
    remark("stopping; senders finish what they are sending (Ctrl-C again: at once)")
    await supervisor.stop()
    log.info("stopped")
    if isinstance(result, Exception) and not stop.is_set():
        raise result


async def _serve(
    home: Home,
    plan: Plan,
    supervisor: Supervisor,
    first: dict[str, Any] | None,
    former_port: int | None,
    assignments: Sequence[str],
    as_json: bool,
) -> None:
    """Start everything, tell, and answer `scale`, for ever. `first`: settings to begin with, where there are none."""
    broker = Broker(plan.amqp_urls[Role.SETUP], "up", patience_s=_BROKER_PATIENCE_S)
    await broker.start()
    try:
        await declare_topology(broker)
        if first is not None:
            await seed(broker, first)
    finally:
        await broker.close()
    remark(f"starting scheduler, resolver, {counted(plan.senders, 'sender')}, gateway, console and test inbox")
    console_files.make(home)
    link = console_files.new_link(home, plan.console.url)
    await supervisor.start()
    async with connected(home, _FIRST_ANSWER) as client:
        version, _ = await adjust(client, former_port, plan.inbox, assignments)
    async with serving(home.socket, lambda wanted: _scale(supervisor, wanted)):
        supervisor.declare_ready()
        if as_json:
            print_json_line(supervisor.run_file())
        else:
            _welcome(home, supervisor.run_file(), version, link)
        await asyncio.Event().wait()


def _welcome(home: Home, run: RunFile, version: SettingsVersion, link: str) -> None:
    screen().print(welcome(home, run, version, link))
    say("Try, in another terminal:")
    for line in suggestions(command_line(home)):
        say(f"  {plain(line)}")


async def _scale(supervisor: Supervisor, wanted: Scale) -> Reply:
    try:
        return Scaled(await supervisor.scale(wanted.senders))
    except TooMany as error:
        return Refused(str(error))


def _on_signals(stop: asyncio.Event, supervisor: Supervisor) -> None:
    def asked() -> None:
        if stop.is_set():
            supervisor.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked)


@contextmanager
def _broker_of(home: Home) -> Iterator[Mapping[Role, str]]:
    """The broker's URL for each role: the environment's one, else of a node that runs as long as the block."""
    if os.environ.get("PILLARBOX_AMQP_URL"):
        yield dict.fromkeys(_OURS, amqp_url())
        return
    node = PrivateNode(home.broker_folder)
    remark(f"starting a RabbitMQ of its own in {plain(str(home.broker_folder))}")
    try:
        node.start()
    except NodeFailed as failed:
        reason = str(failed).splitlines()[0]
        raise CommandFailed(f"RabbitMQ: {reason} (its log: {home.broker_folder / 'log'})") from failed
    try:
        yield {role: node.role_url(role) for role in Role}
    finally:
        remark("stopping RabbitMQ")
        node.stop()


@contextmanager
def _terminating() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does, also while the broker starts or stops."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@contextmanager
def _log_file(home: Home) -> Iterator[None]:
    """The supervisor's own log, beside those of the workers."""
    with (home.log_folder / "up.log").open("a", encoding="utf-8", buffering=1) as file:
        with contextlib.redirect_stdout(file):
            start_log("up")
        yield
