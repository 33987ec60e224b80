"""What an outcome changes, whether it is news, and the event that tells of it."""

import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from services.scheduler.outcomes import Change, Pending, decide, event_of, is_news, key_of, lapsed_claim, overdue
from shared.contracts.events import BouncedEvent, DeferredEvent, DeliveredEvent, Expired, InDoubtEvent
from shared.contracts.words import BounceClass
from shared.mail_store.states import State
from shared.outcomes import Bounced, Deferred, Delivered, Outcome, Parked
from shared.settings import Retry
from shared.sites import Site, SiteState
from shared.smtp_reply import Reply, own_verdict

ADMITTED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW = ADMITTED + timedelta(hours=1)
RETRY = Retry(jitter=0)
MX = "mx1.y.example [192.0.2.1]"
YES = Delivered(Reply(250, "2.0.0", "queued as 4711"), MX)
NO = Bounced(Reply(550, "5.1.1", "no such user"), MX)
LATER = Deferred(Reply(451, "4.7.1", "try again"), MX)
DOUBT = Deferred(own_verdict(451, "4.4.2", "the connection broke after the final dot"), MX, in_doubt=True)
BUSY = Parked("the lane is full", 30)


PAUSED = Parked("it is down", site="mx:y")
DOWN = Site(
    name="mx:y",
    state=SiteState.DOWN,
    since=NOW - timedelta(minutes=3),
    until=NOW + timedelta(minutes=2),
    host=MX,
    code=421,
    enhanced="4.7.0",
    reply="too many connections",
)
CALLED = msgspec.structs.replace(DOWN, called=NOW)
UP = Site(name="mx:y", state=SiteState.UP, since=NOW, worked=NOW)


def pending(**changed) -> Pending:
    usual = Pending(
        number=3,
        mail_no=2,
        mail="order-1",
        batch="march",
        address="ann@y.example",
        state=State.CLAIMED,
        attempt=1,
        worker="sender-1",
        admitted=ADMITTED,
        give_up=ADMITTED + timedelta(days=2),
    )
    return msgspec.structs.replace(usual, **changed)


def decided(outcome: Outcome, now: datetime = NOW, known: Site = DOWN, **changed) -> Change:
    return decide(
        pending(**changed),
        outcome,
        worker="sender-2",
        revision=4,
        now=now,
        retry=RETRY,
        chance=random.Random(1),
        sites={known.name: known},
    )


@pytest.mark.parametrize(
    ("outcome", "changed", "state", "attempt", "wake"),
    [
        (YES, {}, State.DELIVERED, 1, None),
        (YES, {"attempt": 7}, State.DELIVERED, 7, None),
        (NO, {}, State.BOUNCED, 1, None),
        (LATER, {}, State.DEFERRED, 2, NOW + timedelta(minutes=5)),
        (LATER, {"attempt": 3}, State.DEFERRED, 4, NOW + timedelta(minutes=20)),
        (LATER, {"give_up": NOW + timedelta(minutes=1)}, State.DEFERRED, 2, NOW + timedelta(minutes=1)),
        (LATER, {"give_up": NOW}, State.BOUNCED, 1, None),
        (DOUBT, {}, State.DEFERRED, 2, NOW + timedelta(minutes=5)),
        (DOUBT, {"give_up": NOW}, State.BOUNCED, 1, None),
        (BUSY, {}, State.DEFERRED, 1, NOW + timedelta(seconds=30)),
        (BUSY, {"give_up": NOW - timedelta(days=1)}, State.DEFERRED, 1, NOW + timedelta(seconds=30)),  # not tried yet
        (Parked("", 0.25), {"attempt": 9}, State.DEFERRED, 9, NOW + timedelta(milliseconds=250)),
    ],
)
def test_the_outcome_decides_the_state_the_attempt_and_the_next_look(outcome, changed, state, attempt, wake):
    change = decided(outcome, **changed)
    assert (change.state, change.attempt, change.wake) == (state, attempt, wake)
    assert (change.worker, change.revision, change.time) == ("sender-2", 4, NOW)
    assert change.ends_attempt is (outcome is not BUSY and not isinstance(outcome, Parked))


def test_what_a_full_lane_refused_waits_for_that_lane_and_nobody_is_told():
    change = decided(Parked("the lane of mx:y is full", lane=2), attempt=3)
    assert (change.state, change.attempt, change.wake) == (State.DEFERRED, 3, NOW + LOOK_AGAIN)
    assert (change.site, change.reply.text) == ("pillarbox.send.2", "the lane of mx:y is full")
    assert (change.ends_attempt, event_of(change)) == (False, None)


LOOK_AGAIN = timedelta(hours=2)
SECOND = timedelta(seconds=1)


@pytest.mark.checklist(147, 150)
@pytest.mark.parametrize(
    ("known", "changed", "state", "wake", "waits_for", "next_try"),
    [
        (DOWN, {}, State.DEFERRED, NOW + LOOK_AGAIN, "mx:y", DOWN.until),
        (DOWN, {"attempt": 7}, State.DEFERRED, NOW + LOOK_AGAIN, "mx:y", DOWN.until),
        (DOWN, {"site": "mx:y"}, State.DEFERRED, NOW + LOOK_AGAIN, "mx:y", None),  # told before
        (DOWN, {"give_up": NOW + timedelta(hours=1)}, State.DEFERRED, NOW + timedelta(hours=1), "mx:y", DOWN.until),
        # Its own end comes before the next probe.
        (DOWN, {"give_up": NOW + SECOND}, State.DEFERRED, NOW + SECOND, "mx:y", NOW + SECOND),
        (DOWN, {"give_up": NOW}, State.BOUNCED, None, None, None),
        # Let out for a probe, it met a sender that had not heard of it.
        (CALLED, {"site": "mx:y"}, State.DEFERRED, NOW + SECOND, "mx:y", None),
        (UP, {}, State.DEFERRED, NOW + SECOND, None, None),  # it has come up meanwhile
        (UP, {"give_up": NOW}, State.DEFERRED, NOW + SECOND, None, None),
    ],
)
def test_mail_waits_for_its_site_and_no_attempt_is_counted(known, changed, state, wake, waits_for, next_try):
    change = decided(PAUSED, known=known, **changed)
    assert (change.state, change.wake, change.site) == (state, wake, waits_for)
    assert change.attempt == changed.get("attempt", 1)
    match event_of(change):
        case DeferredEvent() as event:
            assert (event.next_try, event.code, event.reply, event.host) == (next_try, 421, DOWN.reply, MX)
        case Expired() as event:
            assert state is State.BOUNCED
            assert event.enhanced == "4.4.7"
            assert event.reply.endswith("the last reply was: 421 4.7.0 too many connections")
        case other:
            assert (other, next_try) == (None, None)


def test_what_is_tried_in_the_end_waits_for_no_site():
    for outcome in (YES, NO, LATER, DOUBT, BUSY):
        assert decided(outcome, known=DOWN).site is None


@pytest.mark.parametrize(
    ("outcome", "reply", "host", "in_doubt"),
    [
        (YES, YES.reply, MX, False),
        (NO, NO.reply, MX, False),
        (LATER, LATER.reply, MX, False),
        (DOUBT, DOUBT.reply, MX, True),
        (BUSY, own_verdict(0, "", "the lane is full"), "", False),
    ],
)
def test_the_reply_and_the_host_are_kept(outcome, reply, host, in_doubt):
    change = decided(outcome)
    assert (change.reply, change.host, change.in_doubt) == (reply, host, in_doubt)


@pytest.mark.checklist(156)
@pytest.mark.parametrize(
    ("admitted", "words"),
    [
        (NOW - timedelta(minutes=90), "not delivered in 1.5 hours"),
        (NOW - timedelta(hours=30), "not delivered in 30.0 hours"),
        (NOW - timedelta(days=5, hours=1), "not delivered in 5 days"),
    ],
)
def test_a_mail_given_up_bounces_with_4_4_7_and_the_last_reply(admitted, words):
    change = decided(LATER, admitted=admitted, give_up=NOW)
    assert (change.reply.code, change.reply.enhanced, change.reply.remote) == (451, "4.4.7", False)
    assert words in change.reply.text
    assert change.reply.text.endswith("the last reply was: 451 4.7.1 try again")


def test_doubt_survives_the_giving_up():
    assert decided(DOUBT, give_up=NOW).in_doubt


@pytest.mark.parametrize(("outcome", "in_doubt"), [(LATER, True), (NO, True), (BUSY, True), (YES, False)])
def test_doubt_stays_until_the_mail_is_delivered(outcome, in_doubt):
    assert decided(outcome, in_doubt=True).in_doubt is in_doubt


def parked(outcome: Outcome, **changed) -> Change:
    retry = msgspec.structs.replace(RETRY, in_doubt="park")
    return decide(
        pending(**changed), outcome, worker="sender-2", revision=4, now=NOW, retry=retry, chance=random.Random(1)
    )


GIVE_UP = ADMITTED + timedelta(days=2)


@pytest.mark.parametrize(
    ("outcome", "changed", "state", "attempt", "wake"),
    [
        (DOUBT, {}, State.IN_DOUBT, 1, GIVE_UP),
        (lapsed_claim(pending()), {"attempt": 3}, State.IN_DOUBT, 3, GIVE_UP),
        (DOUBT, {"give_up": NOW}, State.BOUNCED, 1, None),
        (LATER, {}, State.DEFERRED, 2, NOW + timedelta(minutes=5)),
        (LATER, {"in_doubt": True}, State.DEFERRED, 2, NOW + timedelta(minutes=5)),  # sent again by an operator
        (overdue(), {"state": State.IN_DOUBT, "give_up": NOW, "in_doubt": True}, State.BOUNCED, 1, None),
    ],
)
def test_what_is_in_doubt_can_be_made_to_wait_for_an_operator(outcome, changed, state, attempt, wake):
    change = parked(outcome, **changed)
    assert (change.state, change.attempt, change.wake) == (state, attempt, wake)


def test_what_waits_for_an_operator_has_an_event_of_its_own_and_expires_in_doubt():
    event = event_of(parked(DOUBT))
    assert isinstance(event, InDoubtEvent)
    assert (event.until, event.attempt, event.bounce_class) == (GIVE_UP, 1, BounceClass.NETWORK)
    change = parked(overdue(), state=State.IN_DOUBT, give_up=NOW, in_doubt=True)
    assert (type(event_of(change)), change.in_doubt) == (Expired, True)


@pytest.mark.parametrize(
    ("outcome", "changed", "lapses"),
    [
        ("lapsed", {}, 1),
        ("lapsed", {"lapses": 1}, 2),
        (YES, {"lapses": 2}, 0),  # whoever reports has outlived it
        (NO, {"lapses": 2}, 0),
        (LATER, {"lapses": 2}, 0),
        (DOUBT, {"lapses": 2}, 0),  # the receiver hung up, and the sender lives
        (BUSY, {"lapses": 2}, 2),  # not tried
        (PAUSED, {"lapses": 2}, 2),
        (LATER, {"lapses": 2, "state": State.RELEASED}, 2),  # a resolver says so: no sender had it
        (overdue(), {"lapses": 3, "state": State.IN_DOUBT}, 3),
    ],
)
def test_claims_are_counted_that_lapse_in_a_row(outcome, changed, lapses):
    found = lapsed_claim(pending(**changed)) if outcome == "lapsed" else outcome
    assert decided(found, **changed).lapses == lapses


@pytest.mark.parametrize(
    ("lapses", "state", "attempt", "wake"),
    [
        (0, State.DEFERRED, 3, NOW + timedelta(minutes=10)),
        (1, State.DEFERRED, 3, NOW + timedelta(minutes=10)),
        (2, State.IN_DOUBT, 2, GIVE_UP),
        (3, State.IN_DOUBT, 2, GIVE_UP),  # sent again by an operator
    ],
)
def test_a_mail_that_three_senders_died_with_waits_for_an_operator_though_others_are_sent_again(
    lapses, state, attempt, wake
):
    case = {"attempt": 2, "lapses": lapses}
    change = decided(lapsed_claim(pending(**case)), **case)
    assert (change.state, change.attempt, change.wake) == (state, attempt, wake)
    assert (change.in_doubt, change.bounce_class) == (True, BounceClass.SYSTEM)
    event = event_of(change)
    if state is State.IN_DOUBT:
        assert isinstance(event, InDoubtEvent)
        assert (
            event.reply == f"{lapses + 1} senders in a row died with the mail in their hands, sender-1 the last of them"
        )


def test_it_is_given_up_at_its_time_all_the_same():
    case = {"lapses": 2, "give_up": NOW}
    change = decided(lapsed_claim(pending(**case)), **case)
    assert (change.state, change.in_doubt, change.reply.enhanced) == (State.BOUNCED, True, "4.4.7")


def test_a_reply_of_sixty_four_kilobytes_is_cut():
    change = decided(Bounced(Reply(550, "5.0.0", "x" * 64_000), MX))
    assert len(change.reply.text) < 2100
    assert change.reply.text.endswith("…")


# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [YES, NO, LATER, BUSY])
@pytest.mark.parametrize("state", [State.RELEASING, State.RELEASED, State.CLAIMED])
def test_the_first_outcome_of_the_attempt_under_way_is_news(outcome, state):
    assert is_news(pending(state=state, attempt=2), 2, outcome, "sender-1")


@pytest.mark.parametrize("outcome", [YES, NO, LATER, BUSY])
@pytest.mark.parametrize("state", [State.DELIVERED, State.BOUNCED, State.RETRACTED])
@pytest.mark.parametrize("attempt", [1, 2])
def test_nothing_is_news_to_a_recipient_that_is_final(outcome, state, attempt):
    assert not is_news(pending(state=state, attempt=2), attempt, outcome, "sender-1")


@pytest.mark.parametrize(
    ("state", "outcome", "expected"),
    [
        (State.DEFERRED, YES, True),  # the doubtful one had arrived: no second copy
        (State.RELEASING, YES, True),
        (State.RELEASED, YES, True),
        (State.CLAIMED, YES, False),  # the next attempt is under way and will tell
        (State.DEFERRED, NO, False),
        (State.DEFERRED, LATER, False),
        (State.DEFERRED, BUSY, False),
        (State.RELEASED, LATER, False),
        (State.RELEASED, NO, False),
        (State.CLAIMED, LATER, False),
        (State.HELD, LATER, False),
        (State.HELD, YES, True),  # the store is of a backup from before
    ],
)
def test_of_an_earlier_attempt_only_a_delivery_is_news_and_only_before_the_next_claim(state, outcome, expected):
    assert is_news(pending(state=state, attempt=2), 1, outcome, "sender-1") is expected


@pytest.mark.parametrize(
    ("state", "in_doubt", "attempt", "outcome", "expected"),
    [
        (State.IN_DOUBT, True, 2, YES, True),  # the journal of its sender was found late
        (State.IN_DOUBT, True, 1, YES, True),
        (State.IN_DOUBT, True, 2, NO, True),  # it had refused it: there is no doubt
        (State.IN_DOUBT, True, 2, LATER, True),
        (State.IN_DOUBT, True, 1, LATER, False),
        (State.IN_DOUBT, True, 2, DOUBT, False),  # as was known
        (State.IN_DOUBT, True, 2, BUSY, False),
        (State.BOUNCED, True, 2, YES, True),  # given up in doubt
        (State.BOUNCED, True, 2, NO, False),
        (State.BOUNCED, False, 2, YES, False),
        (State.RETRACTED, True, 2, YES, True),
        (State.RETRACTED, False, 2, YES, False),
        (State.DELIVERED, True, 2, YES, False),  # closed by an operator
    ],
)
def test_the_truth_ends_a_doubt_however_late_it_comes(state, in_doubt, attempt, outcome, expected):
    assert is_news(pending(state=state, attempt=2, in_doubt=in_doubt), attempt, outcome, "sender-1") is expected


def test_a_second_outcome_of_an_attempt_is_no_news():
    assert not is_news(pending(state=State.DEFERRED, attempt=2), 1, LATER, "sender-1")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.CLAIMED, False),  # what another sender or a resolver says of a second copy of the work
        (State.RELEASED, True),  # nobody has claimed it: the site was out of reach, or the lane full
        (State.RELEASING, True),
    ],
)
@pytest.mark.parametrize("outcome", [LATER, BUSY, NO])
def test_of_a_claimed_recipient_only_the_claimer_tells(outcome, state, expected):
    assert is_news(pending(state=state, worker="sender-1"), 1, outcome, "sender-2") is expected


def test_a_claim_whose_sender_died_is_in_doubt_and_tried_again():
    outcome = lapsed_claim(pending(worker="sender-1"))
    assert outcome.in_doubt
    assert "sender-1" in outcome.reply.text
    change = decided(outcome)
    assert (change.state, change.attempt, change.in_doubt) == (State.DEFERRED, 2, True)


# ---------------------------------------------------------------------------------------------------------


def said(**changed):
    return {
        "mail": "order-1",
        "batch": "march",
        "time": NOW,
        "revision": 4,
        "recipient": "ann@y.example",
        "attempt": 1,
        "host": MX,
        **changed,
    }


@pytest.mark.parametrize(
    ("outcome", "changed", "event"),
    [
        (YES, {}, DeliveredEvent(**said(code=250, enhanced="2.0.0", reply="queued as 4711"))),
        (
            NO,
            {},
            BouncedEvent(
                **said(code=550, enhanced="5.1.1", reply="no such user", bounce_class=BounceClass.BAD_MAILBOX)
            ),
        ),
        (
            LATER,
            {},
            DeferredEvent(
                **said(code=451, enhanced="4.7.1", reply="try again", bounce_class=BounceClass.POLICY),
                next_try=NOW + timedelta(minutes=5),
                in_doubt=False,
            ),
        ),
        (
            DOUBT,
            {"attempt": 2},
            DeferredEvent(
                **said(attempt=2, code=451, enhanced="4.4.2", reply=DOUBT.reply.text, bounce_class=BounceClass.NETWORK),
                next_try=NOW + timedelta(minutes=10),
                in_doubt=True,
            ),
        ),
        (BUSY, {}, None),  # no outcome
    ],
)
def test_each_outcome_has_its_event_of_the_attempt_that_it_ended(outcome, changed, event):
    assert event_of(decided(outcome, **changed)) == event


def test_what_was_given_up_has_expired_rather_than_bounced():
    event = event_of(decided(LATER, give_up=NOW))
    assert isinstance(event, Expired)
    assert event.enhanced == "4.4.7"


def test_a_receiver_that_says_4_4_7_itself_has_bounced_the_mail():
    event = event_of(decided(Bounced(Reply(554, "4.4.7", "delivery time expired"), MX)))
    assert isinstance(event, BouncedEvent)


@pytest.mark.parametrize(
    ("kind", "address", "key"),
    [
        ("delivered", "ann@y.example", "delivered.y.example"),
        ("bounced", '"a@b"@y.example', "bounced.y.example"),
        ("rejected", "", "rejected"),
        ("held", "jörg@bücher.example", "held.bücher.example"),
    ],
)
def test_the_routing_key_is_the_kind_and_the_recipients_domain(kind, address, key):
    assert key_of(kind, address) == key


@pytest.mark.parametrize("domain", [".".join(["d" * 62] * 4), ".".join(["ü" * 31] * 5)])
def test_a_routing_key_is_never_longer_than_amqp_allows(domain):
    key = key_of("delivered", f"a@{domain}")
    assert 250 < len(key.encode()) <= 255
    assert key.startswith(f"delivered.{domain[:100]}")


@pytest.mark.parametrize(
    ("reply", "attempt", "minutes"),
    [
        (Reply(450, "4.2.0", "Greylisted"), 1, 1.5),
        (Reply(450, "4.2.0", "Greylisted"), 2, 6),
        (Reply(450, "4.2.0", "Greylisted"), 3, 20),  # then as usual
        (Reply(452, "4.2.2", "over quota"), 1, 120),
        (Reply(452, "4.2.2", "over quota"), 9, 150),
        (Reply(451, "4.3.0", "busy"), 1, 5),
    ],
)
def test_a_greylisted_recipient_is_tried_sooner_and_a_full_mailbox_later(reply, attempt, minutes):
    change = decided(Deferred(reply, MX), attempt=attempt)
    assert change.wake == NOW + timedelta(minutes=minutes)


def test_what_has_expired_keeps_the_class_of_the_last_reply():
    event = event_of(decided(Deferred(Reply(452, "4.2.2", "over quota"), MX), give_up=NOW))
    assert isinstance(event, Expired)
    assert event.bounce_class is BounceClass.MAILBOX_FULL
