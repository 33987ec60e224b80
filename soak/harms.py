"""What a soak does to a world. Each harm lasts as long as its function runs, and leaves all mended but the mail."""

import random
import time
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from soak.world import Need, World
from tests.support.pipeline import Worker
from tests.support.rabbitmq import alarm, drop_connections, sync_queue_registry

ROLES = ("scheduler", "resolver", "sender")

Do = Callable[[World, random.Random], None]


class Kind(Struct, frozen=True):
    """One kind of harm."""

    name: str
    do: Do
    slow: bool = False  # lasts for minutes: not in a short run
    needs: Need | None = None


def _kill(*roles: str) -> Do:
    def do(world: World, chance: random.Random) -> None:
        world.crew.kill(*[world.crew.one_at_work(role, chance) for role in roles])

    return do


def _kill_all(world: World, chance: random.Random) -> None:
    for role in ROLES:
        world.crew.one_at_work(role, chance)
    world.crew.kill(*world.crew.of(*ROLES))


def _terminate(role: str) -> Do:
    def do(world: World, chance: random.Random) -> None:
        world.crew.stop(*world.crew.of(role)[:1])

    return do


def _freeze(role: str, seconds: float) -> Do:
    """SIGSTOP. 150 s: more than the broker waits for a peer, and than the lease of a claim."""

    def do(world: World, chance: random.Random) -> None:
        victims: list[Worker] = world.crew.of(role)[:1]
        try:
            for worker in victims:
                worker.pause()
            time.sleep(seconds)
        finally:
            for worker in victims:
                worker.resume()

    return do


def _kill_broker(world: World, chance: random.Random) -> None:
    sync_queue_registry(world.node)
    world.node.kill()
    time.sleep(chance.uniform(0, 3))
    world.start_broker()


def _restart_broker(world: World, chance: random.Random) -> None:
    world.node.stop()
    world.start_broker()


def _alarm(resource: str) -> Do:
    def do(world: World, chance: random.Random) -> None:
        with alarm(world.node, resource):
            time.sleep(chance.uniform(2, 8))

    return do


def _cut(world: World, chance: random.Random) -> None:
    drop_connections(world.node)


def _lock_store(world: World, chance: random.Random) -> None:
    with world.store_locked():
        time.sleep(10)


def _fill_disk(world: World, chance: random.Random) -> None:
    with world.disk_full():
        time.sleep(chance.uniform(3, 6))


def _restart_postgres(world: World, chance: random.Random) -> None:
    assert world.postgres is not None
    world.postgres.restart()


def _crash_postgres(world: World, chance: random.Random) -> None:
    assert world.postgres is not None
    world.postgres.crash()


def _jump(seconds: int) -> Do:
    """Everybody's clock is wrong for a while, forwards or backwards, and then right again."""

    def do(world: World, chance: random.Random) -> None:
        world.clock_file.write_text(f"{seconds:+d}")
        try:
            time.sleep(chance.uniform(3, 6))
        finally:
            world.clock_file.write_text("+0")

    return do


def _dns_down(world: World, chance: random.Random) -> None:
    world.dns.pause()
    try:
        time.sleep(chance.uniform(3, 8))
    finally:
        world.dns.resume()


def _scale(world: World, chance: random.Random) -> None:
    world.crew.scale("sender", 1 if world.crew.wanted["sender"] > 2 else 4)


def _change_settings(world: World, chance: random.Random) -> None:
    world.change_settings(sending={"max_per_connection": chance.randint(20, 200)})


KILLS = {role: Kind(f"kill -9 {role}", _kill(role)) for role in ROLES}
KILL_BROKER = Kind("kill -9 broker", _kill_broker)

KINDS = (
    *KILLS.values(),
    Kind("kill -9 one of each role", _kill(*ROLES)),
    Kind("kill -9 all workers", _kill_all),
    *(Kind(f"SIGTERM {role}", _terminate(role)) for role in ROLES),
    Kind("SIGSTOP sender 5 s", _freeze("sender", 5)),
    *(Kind(f"SIGSTOP {role} 150 s", _freeze(role, 150), slow=True) for role in ROLES),
    KILL_BROKER,
    Kind("restart broker", _restart_broker),
    Kind("memory alarm", _alarm("memory")),
    Kind("disk alarm", _alarm("disk")),
    Kind("connections cut", _cut),
    Kind("store locked 10 s", _lock_store),
    Kind("store's disk full", _fill_disk, needs=Need.SMALL_DISK),
    Kind("restart PostgreSQL", _restart_postgres, needs=Need.POSTGRES),
    Kind("PostgreSQL crashes", _crash_postgres, needs=Need.POSTGRES),
    Kind("clock 2 min ahead", _jump(120), needs=Need.FALSE_CLOCK),
    Kind("clock 2 min behind", _jump(-120), needs=Need.FALSE_CLOCK),
    Kind("DNS down", _dns_down),
    Kind("senders come or go", _scale),
    Kind("settings changed", _change_settings),
)


def in_turn(kinds: Sequence[Kind], chance: random.Random) -> Iterator[Kind]:
    """All kinds in an order of their own, and again in another, for ever."""
    while True:
        yield from chance.sample(kinds, len(kinds))


def by_counts(each_role: int, broker: int, chance: random.Random) -> list[Kind]:
    """So many kills of each role and of the broker, in an order of their own."""
    kills = [kind for kind in KILLS.values() for _ in range(each_role)] + [KILL_BROKER] * broker
    return chance.sample(kills, len(kills))
