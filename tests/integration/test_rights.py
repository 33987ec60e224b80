"""Each role's user at a real broker: all that its business takes, and nothing of the others'."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pika
import pika.exceptions
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from cli.node import PrivateNode
from cli.rights import Role
from shared.topology import CONTROL, DEAD, EVENTS, EXCHANGES, LANES, OUTCOME, QUEUES, RESOLVE, SEND, SETTINGS, SUBMIT
from tests.support.pipeline import declare

pytestmark = pytest.mark.each_rabbitmq

LANE_QUEUES = {f"{SEND}.{lane}" for lane in range(LANES)}
EVERYTHING = set(EXCHANGES)
NEEDLESS = ["", "amq.direct", "amq.topic", "amq.fanout"]  # exchanges that every broker has
REPLY_TO = "amq.rabbitmq.reply-to"
OWN = {"", f"{EVENTS}.shop"}

# What each may publish to, take from, and declare.
BUSINESS: dict[Role, tuple[set[str], set[str], set[str]]] = {
    Role.SETUP: (EVERYTHING, set(QUEUES), {SUBMIT, f"{EVENTS}.shop"}),
    Role.SCHEDULER: ({RESOLVE, EVENTS, SETTINGS, DEAD, ""}, {SUBMIT, CONTROL, OUTCOME, SETTINGS}, set()),
    Role.RESOLVER: ({SEND, OUTCOME, DEAD}, {RESOLVE, SETTINGS}, set()),
    Role.SENDER: ({OUTCOME, DEAD}, {SETTINGS, *LANE_QUEUES}, set()),
    Role.GATEWAY: ({SUBMIT}, {SETTINGS}, set()),
    Role.OPERATOR: ({SUBMIT, CONTROL, SETTINGS, RESOLVE, SEND, OUTCOME}, {EVENTS, SETTINGS, DEAD}, OWN),
    Role.CONSOLE: ({SUBMIT, CONTROL, SETTINGS, RESOLVE, SEND, OUTCOME}, {EVENTS, SETTINGS, DEAD}, set()),
    Role.CLIENT: ({SUBMIT, CONTROL}, set(), set()),
    Role.SUBMITTER: ({SUBMIT}, set(), set()),
    Role.READER: (set(), {EVENTS}, OWN),
}


@pytest.fixture(scope="module")
def node(rabbitmq: PrivateNode) -> PrivateNode:
    """A node with the topology, which nobody works on."""
    declare(rabbitmq.role_url(Role.SETUP))
    return rabbitmq


@contextmanager
def connected(node: PrivateNode, role: Role) -> Iterator[pika.BlockingConnection]:
    with pika.BlockingConnection(pika.URLParameters(node.role_url(role))) as connection:
        yield connection


def allowed(connection: pika.BlockingConnection, attempt: Callable[[BlockingChannel], object]) -> bool:
    """Whether the broker lets it happen."""
    return refusal(connection, attempt) != 403


def refusal(connection: pika.BlockingConnection, attempt: Callable[[BlockingChannel], object]) -> int:
    """The code with which the broker closes the channel; 0 where it does not."""
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        attempt(channel)
    except pika.exceptions.ChannelClosedByBroker as closed:
        return int(closed.reply_code)
    channel.close()
    return 0


def publish(exchange: str) -> Callable[[BlockingChannel], object]:
    return lambda channel: channel.basic_publish(exchange, "nowhere", b"x")


def take(queue: str) -> Callable[[BlockingChannel], object]:
    def consume(channel: BlockingChannel) -> None:
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue, lambda *_: None)

    return consume


def make(queue: str) -> Callable[[BlockingChannel], object]:
    return lambda channel: channel.queue_declare(
        queue, durable=True, exclusive=queue == "", arguments=QUEUES.get(queue)
    )


@pytest.mark.parametrize("role", Role)
def test_a_role_has_the_rights_that_its_business_takes_and_no_other(node: PrivateNode, role: Role):
    publishes, takes, makes = BUSINESS[role]
    with connected(node, role) as connection:
        may_publish = {name for name in [*EXCHANGES, *NEEDLESS] if allowed(connection, publish(name))}
        may_take = {name for name in QUEUES if allowed(connection, take(name))}
        may_make = {name for name in [SUBMIT, "mine", "", f"{EVENTS}.shop"] if allowed(connection, make(name))}
    assert (may_publish, may_take, may_make) == (publishes, takes, makes)


@pytest.mark.parametrize("role", [Role.READER, Role.OPERATOR])
def test_a_queue_of_ones_own_is_bound_to_events_and_to_nothing_else(node: PrivateNode, role: Role):
    def bind(exchange: str) -> Callable[[BlockingChannel], object]:
        def to_own(channel: BlockingChannel) -> None:
            channel.queue_bind(channel.queue_declare("", exclusive=True).method.queue, exchange, "#")

        return to_own

    with connected(node, role) as connection:
        bound = {name for name in [*EXCHANGES, *NEEDLESS[1:]] if allowed(connection, bind(name))}
    # An operator reads these streams as they are, and dead letters: their exchanges have the same names.
    assert bound == ({EVENTS} if role is Role.READER else {EVENTS, SETTINGS, DEAD})


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.SETUP])
def test_nobody_but_setup_deletes_what_is_there(node: PrivateNode, role: Role):
    attempts: list[Callable[[BlockingChannel], object]] = [
        lambda channel: channel.queue_delete(SUBMIT),
        lambda channel: channel.exchange_delete(SUBMIT),
        lambda channel: channel.queue_unbind(SUBMIT, SUBMIT, ""),
    ]
    with connected(node, role) as connection:
        assert [refusal(connection, attempt) for attempt in attempts] == [403, 403, 403]


def test_a_client_hears_the_answers_to_its_own_questions(node: PrivateNode):
    """Nobody else's: the broker puts the address of its channel in the place of `reply_to`."""
    with connected(node, Role.CLIENT) as connection, connected(node, Role.SCHEDULER) as other:
        channel, scheduler = connection.channel(), other.channel()
        heard: list[bytes] = []
        channel.basic_consume(REPLY_TO, lambda *said: heard.append(said[-1]), auto_ack=True)
        asked = pika.BasicProperties(reply_to=REPLY_TO, correlation_id="7")
        channel.basic_publish(CONTROL, "", b"?", asked)
        for _, properties, body in scheduler.consume(CONTROL, auto_ack=True):
            if body == b"?":
                scheduler.basic_publish("", properties.reply_to, b"!")
                break
        while not heard:
            connection.process_data_events(time_limit=1)
        assert heard == [b"!"]


@pytest.mark.parametrize(("says", "code"), [(Role.CLIENT.user, 0), (Role.OPERATOR.user, 406)])
def test_who_says_it_is_somebody_else_is_refused(node: PrivateNode, says: str, code: int):
    with connected(node, Role.CLIENT) as connection:
        said = pika.BasicProperties(user_id=says)
        assert refusal(connection, lambda channel: channel.basic_publish(SUBMIT, "", b"{}", said)) == code
