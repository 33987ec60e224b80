"""The exchanges and queues, in one place (docs/architecture.md has the picture)."""

from typing import Any

from shared.broker import Broker, Declaration, binding, exchange, queue

SUBMIT = "pillarbox.submit"
CONTROL = "pillarbox.control"
RESOLVE = "pillarbox.resolve"
SEND = "pillarbox.send"
OUTCOME = "pillarbox.outcome"
SETTINGS = "pillarbox.settings"
EVENTS = "pillarbox.events"
DEAD = "pillarbox.dead"

# Few full lanes beat many thin ones (measured: 4 lanes 4,523 mails/s, 16 lanes 2,807). One sender opens at most this
# many connections to a site; more of them come with more senders.
LANES = 4
LANE_LENGTH = 5_000  # messages; what is beyond is refused to the resolvers

# A worker that crashes counts as a failed delivery for everything it held. What has gone back several times is taken
# one at a time (shared/broker/wary.py), so only a message that kills its worker again and again gets here.
DELIVERY_LIMIT = 15
# No work of a lane shall get here: the one that kills its sender does so once per attempt, as its claim stands then and
# its second delivery is dropped; what goes back meanwhile are the others.
_LANE_DELIVERY_LIMIT = 1_000_000


def lane_queue(lane: int) -> str:
    """The queue of one lane."""
    return f"{SEND}.{lane}"


LANE_QUEUES = tuple(map(lane_queue, range(LANES)))


def _work_queue(max_length: int, max_bytes: int, delivery_limit: int = DELIVERY_LIMIT) -> dict[str, Any]:
    """Synced before the confirm, bounded by refusing, dead letters at least once."""
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": delivery_limit,
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-max-length": max_length,
        "x-max-length-bytes": max_bytes,
    }


_MIB = 1024 * 1024

QUEUES: dict[str, dict[str, Any]] = {
    # Full, it refuses a client's publish: the client keeps the mail and knows it.
    SUBMIT: _work_queue(1_000_000, 4096 * _MIB),
    CONTROL: _work_queue(10_000, 64 * _MIB),
    # Small: what these refuse waits in the mail store, where it can still be retracted.
    RESOLVE: _work_queue(1_000, 64 * _MIB),
    **{lane_queue(lane): _work_queue(LANE_LENGTH, 64 * _MIB, _LANE_DELIVERY_LIMIT) for lane in range(LANES)},
    # Large: a sender that can not report must stop sending.
    OUTCOME: _work_queue(1_000_000, 1024 * _MIB),
    # Streams are trimmed by whole segments, so these are small.
    SETTINGS: {
        "x-queue-type": "stream",
        "x-max-length-bytes": 16 * _MIB,
        "x-stream-max-segment-size-bytes": 4 * _MIB,
    },
    EVENTS: {
        "x-queue-type": "stream",
        "x-max-age": "7D",
        "x-max-length-bytes": 1024 * _MIB,
        "x-stream-max-segment-size-bytes": 32 * _MIB,
    },
    # Nothing leaves it by itself: the operator lists and redrives.
    DEAD: {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000},
}

EXCHANGES: dict[str, str] = {
    SUBMIT: "fanout",
    CONTROL: "fanout",
    RESOLVE: "fanout",
    SEND: "direct",
    OUTCOME: "fanout",
    SETTINGS: "fanout",
    EVENTS: "topic",
    DEAD: "fanout",
}


def declarations() -> list[Declaration]:
    """All of it, in an order that works: the dead letters first, as the others point there."""
    exchanges = [exchange(name, kind) for name, kind in EXCHANGES.items()]
    queues = [queue(name, QUEUES[name]) for name in sorted(QUEUES, key=lambda name: name != DEAD)]
    lanes = [binding(lane_queue(lane), SEND, str(lane)) for lane in range(LANES)]
    plain = [name for name in EXCHANGES if name != SEND]
    bindings = [binding(name, name, "#" if name == EVENTS else "") for name in plain]
    return [*exchanges, *queues, *lanes, *bindings]


async def declare(broker: Broker) -> None:
    """Declare the topology; idempotent. Raises BrokerRefused when a part exists with other arguments."""
    await broker.declare(declarations())
