"""Where a mail can stand for one recipient, and for how long."""

import enum
from datetime import timedelta


class State(enum.IntEnum):
    """Where a mail stands for one recipient; the name in lower case is the word used everywhere else."""

    HELD = 1
    RELEASING = 2  # being published to a resolver, or just published
    RELEASED = 3  # with a resolver or in a lane
    CLAIMED = 4  # a sender has it
    DEFERRED = 5
    DELIVERED = 6
    BOUNCED = 7
    RETRACTED = 8
    IN_DOUBT = 9  # the receiver may have it: an operator says whether it goes again


CLAIMABLE = (State.RELEASING, State.RELEASED)  # a sender may be quicker than the scheduler's "released"
RETRACTABLE = (State.HELD, State.RELEASING, State.RELEASED, State.DEFERRED, State.IN_DOUBT)
AWAITING_OUTCOME = (State.RELEASING, State.RELEASED, State.CLAIMED)

# After a crash of the scheduler between its mark and the broker's confirm the message may never have left. No longer:
# what was with it waits so long. A broker that takes longer to confirm gets a second message, which finds no claim.
RELEASING_LEASE = timedelta(seconds=30)
# The broker has it, synced: this is for the case that the broker lost its data.
RELEASED_LEASE = timedelta(hours=6)
# A sender renews its claims while it works; one that stops to has died, and what it had is in doubt.
CLAIM_LEASE = timedelta(seconds=90)
# Claims that lapsed in a row: the mail may be what its senders die of, so the next has nothing else in its hands.
ALONE_AFTER = 2
