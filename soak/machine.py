"""What a soak ran on: seconds mean something only beside it."""

import os
import platform
import sqlite3
from subprocess import TimeoutExpired

import psycopg
from msgspec import Struct

from soak.world import World
from tests.support.rabbitmq import evaluate


class Machine(Struct, frozen=True):
    """Facts for the reader of the figures."""

    cores: int
    memory_gib: float
    system: str
    python: str
    rabbitmq: str
    store: str
    load_before: float  # average of one minute
    load_after: float

    def __str__(self) -> str:
        return (
            f"{self.cores} cores, {self.memory_gib:.0f} GiB, {self.system}, RabbitMQ {self.rabbitmq}, {self.store}, "
            f"Python {self.python}; load average {self.load_before:.1f} at first, {self.load_after:.1f} at the end"
        )


def load_average() -> float:
    """Programs that wanted a core, averaged over the last minute."""
    return os.getloadavg()[0]


def machine(there: World, load_before: float) -> Machine:
    """The facts, at the end of a soak."""
    return Machine(
        cores=os.cpu_count() or 1,
        memory_gib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        rabbitmq=_rabbitmq(there),
        store=_store(there),
        load_before=load_before,
        load_after=load_average(),
    )


def _rabbitmq(there: World) -> str:
    try:
        return evaluate(there.node, "rabbit_misc:version()").strip('"')
    except (OSError, RuntimeError, TimeoutExpired) as error:  # it may be the broker that broke the soak off
        return f"that does not answer ({type(error).__name__})"


def _store(there: World) -> str:
    if there.postgres is None:
        return f"SQLite {sqlite3.sqlite_version}"
    url = there.store_url.replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        return f"PostgreSQL {connection.info.parameter_status('server_version')}"
