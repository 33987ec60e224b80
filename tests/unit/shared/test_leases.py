"""Leases of the store against each other and against what the broker knows of its peers."""

from datetime import timedelta

from shared.broker.link import HEARTBEAT_S
from shared.mail_store.states import CLAIM_LEASE, RELEASED_LEASE, RELEASING_LEASE

SILENCES = 3  # of a heartbeat each, before the broker takes a peer for dead
MARGIN = timedelta(seconds=30)


def test_outcomes_that_a_frozen_scheduler_holds_are_back_before_their_claims_lapse():
    assert SILENCES * timedelta(seconds=HEARTBEAT_S) + MARGIN < CLAIM_LEASE


def test_what_the_broker_has_is_waited_for_longer_than_what_a_sender_has():
    assert RELEASING_LEASE < CLAIM_LEASE < RELEASED_LEASE
