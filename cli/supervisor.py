"""The workers of `pillarbox up`: which there are, how they start, and the file that tells of them."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec
import structlog

from cli import console_files
from cli.child import Child, python_path
from cli.home import ConsolePlace, GatewayPlace, Home, InboxPlace, RunFile, RunningWorker
from cli.keeper import Keeper
from cli.rights import Role

log = structlog.get_logger()

_START_PATIENCE_S = 60.0
_STOP_PATIENCE_S = 30.0  # a sender finishes the mails it has begun
_MOST_SENDERS = 64
# Each worker is told its own; what is set here is for `pillarbox up` itself, which has read it.
_OWN_VARIABLES = {"PILLARBOX_METRICS_PORT", "PILLARBOX_AMQP_URL", "PILLARBOX_AMQP_PASSWORD_FILE"}
_PROGRAMS = (Role.CLIENT, Role.SUBMITTER, Role.READER)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to run."""

    amqp_urls: Mapping[Role, str]  # one of a role
    store_url: str
    inbox: InboxPlace
    gateway: GatewayPlace
    console: ConsolePlace
    senders: int
    metrics: bool


class TooMany(ValueError):
    """A number of senders that makes no sense."""


class Supervisor:
    """Starts the workers, keeps them, changes the number of senders, stops them."""

    def __init__(
        self, home: Home, plan: Plan, listeners: Mapping[str, socket.socket], say: Callable[[str], None]
    ) -> None:
        """`listeners`: the sockets of those who listen, held here so that they survive them. `say` tells a person."""
        self._home = home
        self._plan = plan
        self._listeners = listeners
        self._say = say
        self._keepers: dict[str, Keeper] = {}
        self._ready = False
        self._scaling = asyncio.Lock()
        self._stopping = False

    async def start(self) -> None:
        """Start all and wait until each has said that it is ready. Raises CommandFailed with the words of one that
        does not.
        """
        senders = [f"sender-{number}" for number in range(1, self._plan.senders + 1)]
        await self._start("inbox", "scheduler", "resolver", "gateway", "console", *senders)

    def declare_ready(self) -> None:
        """The settings are in force, too: whoever waits for `ready` in `run.json` may begin."""
        self._ready = True
        self._write_run()

    async def scale(self, senders: int) -> list[str]:
        """Have so many senders; returns their names. Raises TooMany."""
        if not 0 <= senders <= _MOST_SENDERS:
            raise TooMany(f"got {senders}; takes 0 to {_MOST_SENDERS} senders on one machine")
        async with self._scaling:
            wanted = [f"sender-{number}" for number in range(1, senders + 1)]
            await self._stop([name for name in self.senders if name not in wanted])
            if not self._stopping:
                await self._start(*(name for name in wanted if name not in self._keepers))
            return self.senders

    async def stop(self) -> None:
        """Stop the workers, then the inbox, so that what is under way still arrives."""
        self._stopping = True
        await self._stop([name for name in self._keepers if name != "inbox"])
        await self._stop(["inbox"])

    def kill(self) -> None:
        """End everything at once."""
        for keeper in self._keepers.values():
            keeper.kill()

    @property
    def senders(self) -> list[str]:
        """The names of the senders that are kept, in order."""
        names = [name for name in self._keepers if name.startswith("sender-")]
        return sorted(names, key=lambda name: int(name.removeprefix("sender-")))

    def run_file(self) -> RunFile:
        """What `run.json` says now."""
        return RunFile(
            pid=os.getpid(),
            ready=self._ready,
            amqp_url=self._plan.amqp_urls[Role.OPERATOR],
            program_urls={role: url for role, url in self._plan.amqp_urls.items() if role in _PROGRAMS},
            store_url=self._plan.store_url,
            inbox=self._plan.inbox,
            gateway=self._plan.gateway,
            console=self._plan.console,
            workers={
                name: RunningWorker(
                    pid=keeper.child.pid,
                    metrics_port=keeper.ready.metrics_port if keeper.ready else None,
                    log=str(self._log_of(name)),
                )
                for name, keeper in self._keepers.items()
                if keeper.child is not None
            },
        )

    async def _start(self, *names: str) -> None:
        for name in names:
            self._keepers[name] = Keeper(name, partial(self._launch, name), self._write_run, self._say)
        starting = [self._keepers[name].start(_START_PATIENCE_S) for name in names]
        await asyncio.gather(*starting)

    async def _stop(self, names: list[str]) -> None:
        keepers = [self._keepers[name] for name in names if name in self._keepers]
        await asyncio.gather(*(keeper.stop(_STOP_PATIENCE_S) for keeper in keepers))
        for name in names:
            self._keepers.pop(name, None)
        self._write_run()

    def _write_run(self) -> None:
        self._home.write_run(self.run_file())

    def _log_of(self, name: str) -> Path:
        return self._home.log_folder / f"{name}.log"

    async def _launch(self, name: str) -> Child:
        # Without the working directory on the path: a folder of the user's may be called as one of ours.
        command = [sys.executable, "-P", "-m", *self._module(name)]
        pass_fds = [self._listeners[name].fileno()] if name in self._listeners else []
        return await Child.start(command, self._environment(name), self._log_of(name), pass_fds)

    def _module(self, name: str) -> list[str]:
        if name == "inbox":
            descriptor = str(self._listeners["inbox"].fileno())
            return ["cli.inbox", "--folder", self._plan.inbox.folder, "--socket", descriptor]
        return [f"services.{name.partition('-')[0]}"]

    def _environment(self, name: str) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if key not in _OWN_VARIABLES}
        ours = {"PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1"}
        if name == "inbox":
            return {**inherited, **ours}
        return {
            "PILLARBOX_JOURNAL": str(self._home.journal_folder),
            **inherited,
            **ours,
            "PILLARBOX_AMQP_URL": self._plan.amqp_urls[Role(name.partition("-")[0])],
            "PILLARBOX_STORE_URL": self._plan.store_url,
            "PILLARBOX_WORKER": name,
            **({"PILLARBOX_METRICS_PORT": "0"} if self._plan.metrics else {}),
            **(self._gateways() if name == "gateway" else {}),
            **(console_files.environment(self._home, self._listeners[name].fileno()) if name == "console" else {}),
        }

    def _gateways(self) -> dict[str, str]:
        """On loopback a password need not be encrypted, and there is no certificate that programs would trust."""
        return {
            "PILLARBOX_GATEWAY_SMTP": f"fd:{self._listeners['gateway'].fileno()}",
            "PILLARBOX_GATEWAY_PLAINTEXT": "loopback",
            "PILLARBOX_ACCOUNTS": str(self._home.accounts_file),
        }
