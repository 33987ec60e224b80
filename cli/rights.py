"""Who may do what at the broker: a user per role, each with no more than its business needs."""

import enum
import re

import msgspec

from shared.topology import CONTROL, DEAD, EVENTS, LANES, OUTCOME, RESOLVE, SEND, SETTINGS, SUBMIT, lane_queue


class Role(enum.StrEnum):
    """A role at the broker; its user is called `pillarbox-<role>`."""

    SETUP = "setup"  # declares; for `pillarbox setup` alone
    SCHEDULER = "scheduler"
    RESOLVER = "resolver"
    SENDER = "sender"
    GATEWAY = "gateway"
    OPERATOR = "operator"  # for the command `pillarbox`
    CONSOLE = "console"  # HTTP API and web page
    CLIENT = "client"  # a program that submits mail and gives commands about it
    SUBMITTER = "submitter"  # a program that submits mail
    READER = "reader"  # a program that reads events

    @property
    def user(self) -> str:
        """Its name at the broker, where others may have users, too."""
        return f"pillarbox-{self}"


class Rights(msgspec.Struct, frozen=True):
    """What RabbitMQ asks of a user: patterns of the names that it may configure, write to and read from."""

    configure: str
    write: str
    read: str


def _only(*patterns: str) -> str:
    """Nothing but these; RabbitMQ itself ties a pattern to no end of a name."""
    return f"^({'|'.join(patterns)})$" if patterns else "^$"


_N = re.escape
# A reader's own queues, named by the broker or by itself; nobody else's names begin so.
_OWN = (r"amq\.gen-.+", rf"{_N(EVENTS)}\..+")
# The default exchange, over which the scheduler answers commands: the queue is named by whoever asks.
_DEFAULT_EXCHANGE = r"amq\.default"
_LANE_QUEUES = [_N(lane_queue(lane)) for lane in range(LANES)]

RIGHTS: dict[Role, Rights] = {
    # To bind is to write to a queue and to read an exchange, and most of both have one name.
    Role.SETUP: Rights(*[_only(r"pillarbox\..+")] * 3),
    Role.SCHEDULER: Rights(
        configure=_only(),
        write=_only(_N(RESOLVE), _N(EVENTS), _N(SETTINGS), _N(DEAD), _DEFAULT_EXCHANGE),
        read=_only(_N(SUBMIT), _N(CONTROL), _N(OUTCOME), _N(SETTINGS)),
    ),
    Role.RESOLVER: Rights(
        configure=_only(),
        write=_only(_N(SEND), _N(OUTCOME), _N(DEAD)),
        read=_only(_N(RESOLVE), _N(SETTINGS)),
    ),
    Role.SENDER: Rights(
        configure=_only(),
        write=_only(_N(OUTCOME), _N(DEAD)),
        read=_only(*_LANE_QUEUES, _N(SETTINGS)),
    ),
    # It submits like any program, and reads the settings; that it declares nothing, its log says.
    Role.GATEWAY: Rights(configure=_only(), write=_only(_N(SUBMIT)), read=_only(_N(SETTINGS))),
    # It puts dead letters back wherever they came from, and counts what waits: that takes some right to the queue with
    # RabbitMQ 4.2.7 and later, and the lanes have names of their own.
    Role.OPERATOR: Rights(
        configure=_only(*_OWN),
        write=_only(*map(_N, (SUBMIT, CONTROL, SETTINGS, RESOLVE, SEND, OUTCOME)), *_LANE_QUEUES, *_OWN),
        read=_only(_N(EVENTS), _N(SETTINGS), _N(DEAD), *_OWN),
    ),
    # The operator's, but that it makes no queue: answers come over its channel, and it reads the streams themselves.
    Role.CONSOLE: Rights(
        configure=_only(),
        write=_only(*map(_N, (SUBMIT, CONTROL, SETTINGS, RESOLVE, SEND, OUTCOME)), *_LANE_QUEUES),
        read=_only(_N(EVENTS), _N(SETTINGS), _N(DEAD)),
    ),
    Role.CLIENT: Rights(configure=_only(), write=_only(_N(SUBMIT), _N(CONTROL)), read=_only()),
    Role.SUBMITTER: Rights(configure=_only(), write=_only(_N(SUBMIT)), read=_only()),
    Role.READER: Rights(configure=_only(*_OWN), write=_only(*_OWN), read=_only(_N(EVENTS), *_OWN)),
}
