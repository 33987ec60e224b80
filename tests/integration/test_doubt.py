"""Mails that the receiver may have: how the doubt comes, stays, is shown, and ends. In the store, by transactions."""

import random
from datetime import datetime, timedelta

import msgspec
import pytest

from services.scheduler import doubt, inquiry, recall
from services.scheduler import store as transactions
from services.scheduler.census import take_census
from services.scheduler.outcome_desk import apply_reports
from services.scheduler.outcomes import Change, lapsed_claim, overdue
from shared.contracts.answers import ReplaceResult
from shared.contracts.commands import Close, ListMails, Release, Resend, Retract
from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.mail_store.claim import claim
from shared.mail_store.states import ALONE_AFTER, State
from shared.mail_store.tables import contents
from shared.outcomes import Bounced, Deferred, Delivered, Outcome
from shared.settings import Retry
from shared.smtp_reply import Reply
from tests.support.store import NOW, OpenStore, a_draft

AT_ONCE = timedelta(0)
SOON = NOW + timedelta(seconds=1)
MX = "mx.y.example"
YES = Delivered(Reply(250, "2.0.0", "queued"), MX)
NO = Bounced(Reply(550, "5.1.1", "no such user"), MX)
LATER = Deferred(Reply(451, "4.7.1", "try again"), MX)
LOST = Deferred(Reply(451, "4.4.2", "lost"), MX, in_doubt=True)
RESEND = Retry(jitter=0)
PARK = msgspec.structs.replace(RESEND, in_doubt="park")


def report(
    store: OpenStore, number: int, outcome: Outcome, *, attempt: int = 1, retry: Retry = PARK, now: datetime = NOW
) -> list[Change]:
    said = OutcomeReport("sender-1", 9, (RecipientOutcome(number, attempt, outcome),))
    return store.run(apply_reports, [said], now, retry, random.Random(1))


def in_doubt(store: OpenStore, *, retry: Retry = PARK, lapsed: bool = False) -> int:
    """A mail whose only recipient is in doubt; its number."""
    [number] = store.admit_claimed(a_draft(hold=AT_ONCE, batch="march"))
    outcome: Outcome = LOST
    if lapsed:
        store.put(number, wake=NOW)
        outcome = lapsed_claim(store.run(transactions.take_due, NOW, 10).lapsed[0])
    [change] = report(store, number, outcome, retry=retry)
    assert change.in_doubt
    return number


# ---------------------------------------------------------------------------------------------------------
# Late truth


@pytest.mark.parametrize("lapsed", [False, True])
@pytest.mark.parametrize("retry", [RESEND, PARK])
def test_a_delivery_that_is_told_late_settles_a_mail_in_doubt_once(store, retry, lapsed):
    number = in_doubt(store, retry=retry, lapsed=lapsed)
    assert len(report(store, number, YES, retry=retry)) == 1
    [row] = store.rows()
    assert (row.state, row.attempt, row.in_doubt, row.wake, row.reply) == (State.DELIVERED, 1, False, None, "queued")
    assert report(store, number, YES, retry=retry) == []
    assert report(store, number, LATER, retry=retry) == []
    assert store.run(transactions.take_due, NOW + timedelta(days=9), 10).count == 0


@pytest.mark.parametrize(("outcome", "state"), [(NO, State.BOUNCED), (LATER, State.DEFERRED)])
def test_a_refusal_that_is_told_late_ends_the_waiting_for_an_operator(store, outcome, state):
    number = in_doubt(store)
    assert len(report(store, number, outcome)) == 1
    assert store.states() == [state]


def test_what_is_said_again_of_a_mail_in_doubt_is_dropped(store):
    number = in_doubt(store)
    assert report(store, number, LOST) == []
    assert report(store, number, LATER, attempt=7) == []
    assert store.states() == [State.IN_DOUBT]


def test_a_late_delivery_of_the_doubtful_attempt_stops_the_next_one_but_not_when_that_is_claimed(store):
    number = in_doubt(store)
    store.run(doubt.resend, Resend(id="order-1"), SOON, 9)
    store.run(transactions.take_due, SOON, 10)
    assert len(report(store, number, YES)) == 1
    assert store.run(claim, [number], "sender-2", SOON) == {}

    store.empty()
    number = in_doubt(store)
    store.run(doubt.resend, Resend(id="order-1"), SOON, 9)
    store.run(transactions.take_due, SOON, 10)
    assert store.run(claim, [number], "sender-2", SOON)[number].attempt == 2
    assert report(store, number, YES) == []
    assert store.states() == [State.CLAIMED]


# ---------------------------------------------------------------------------------------------------------
# Waiting for an operator


def test_it_does_not_go_by_itself_keeps_its_content_and_is_given_up_in_doubt(store):
    number = in_doubt(store)
    [row] = store.rows()
    assert (row.state, row.attempt, row.in_doubt) == (State.IN_DOUBT, 1, True)
    assert store.run(claim, [number], "sender-2", NOW) == {}
    assert store.run(transactions.take_due, row.wake - timedelta(seconds=1), 10).count == 0
    due = store.run(transactions.take_due, row.wake, 10)
    assert (due.leaving, [pending.number for pending in due.lapsed]) == ([], [number])
    assert store.count(contents) == 1

    [change] = report(store, number, overdue(), now=row.wake)
    assert (change.state, change.in_doubt, change.reply.enhanced) == (State.BOUNCED, True, "4.4.7")
    assert len(report(store, number, YES, now=row.wake)) == 1, "the truth, at last"
    assert store.states() == [State.DELIVERED]


def test_it_is_listed_counted_and_shown_with_what_can_be_done(store):
    in_doubt(store)
    store.admit_claimed(a_draft("order-2", hold=AT_ONCE))
    command = ListMails(state="in_doubt")
    [line], _ = store.run(inquiry.list_mails, command)
    assert (line.id, line.recipients[0].state, line.recipients[0].in_doubt) == ("order-1", "in_doubt", True)
    assert line.recipients[0].next_try is None
    assert store.run(take_census, SOON).states["in_doubt"] == 1
    story = store.run(inquiry.show, "order-1", SOON)
    [sentence] = story.waits
    assert "`resend`" in sentence
    assert "`close`" in sentence
    assert {step.what for step in story.steps} == {"admitted", "released", "claimed", "in_doubt"}


def test_a_release_says_that_it_is_in_doubt_and_sends_nothing(store):
    in_doubt(store)
    done = store.run(recall.release, Release(batch="march"), SOON, 9)
    assert (done.released, done.mails[0].detail) == (0, "it is in doubt: `resend` or `close` it")
    assert store.states() == [State.IN_DOUBT]


def test_it_is_sent_again_as_the_next_attempt_once(store):
    number = in_doubt(store)
    done = store.run(doubt.resend, Resend(batch="march"), SOON, 9)
    assert (done.recipients, done.mails[0].recipients, done.mails[0].detail) == (1, 1, "it goes again now")
    again = store.run(doubt.resend, Resend(id="order-1"), SOON, 9)
    assert (again.recipients, again.mails[0].detail) == (0, "nothing of it waits in doubt")

    [leaving] = store.run(transactions.take_due, SOON, 10).leaving
    assert leaving.request.attempt == 2
    assert store.run(claim, [number], "sender-2", SOON)[number].attempt == 2
    assert len(store.run(inquiry.show, "order-1", SOON).steps) > 4


def test_a_second_doubt_waits_again(store):
    number = in_doubt(store)
    store.run(doubt.resend, Resend(id="order-1"), SOON, 9)
    store.run(transactions.take_due, SOON, 10)
    store.run(claim, [number], "sender-1", SOON)
    [change] = report(store, number, LOST, attempt=2)
    assert (change.state, change.attempt) == (State.IN_DOUBT, 2)


@pytest.mark.parametrize("retry", [RESEND, PARK])
def test_closed_it_counts_as_delivered_and_says_that_the_answer_was_lost(store, retry):
    number = in_doubt(store, retry=retry)
    done = store.run(doubt.close, Close(id="order-1"), SOON, 9)
    assert (done.recipients, done.mails[0].detail) == (1, "it counts as delivered")
    [event] = done.events
    assert (event.recipient, event.attempt, event.in_doubt, event.host) == ("ann@y.example", 1, True, MX)
    [row] = store.rows()
    assert (row.state, row.attempt, row.in_doubt, row.wake) == (State.DELIVERED, 1, True, None)
    assert report(store, number, YES) == []
    assert store.run(doubt.close, Close(id="order-1"), SOON, 9).recipients == 0
    assert store.run(transactions.take_due, NOW + timedelta(days=9), 10).count == 0


def test_neither_is_done_to_mail_that_is_not_in_doubt(store):
    store.admit_claimed(a_draft(hold=AT_ONCE))
    store.admit(a_draft("order-2"))
    for command, kind in ((doubt.resend, Resend), (doubt.close, Close)):
        for mail in ("order-1", "order-2"):
            done = store.run(command, kind(id=mail), SOON, 9)
            assert (done.recipients, [one.recipients for one in done.mails]) == (0, [0])
        [unknown] = store.run(command, kind(id="nobody's"), SOON, 9).mails
        assert unknown.detail == "no such mail"
    assert store.states() == [State.CLAIMED]
    assert store.states("order-2") == [State.HELD]


# ---------------------------------------------------------------------------------------------------------
# Mail that its senders die of


def die_with(store: OpenStore, number: int, *, times: int, retry: Retry = RESEND) -> list[Change]:
    """Senders claim a released recipient and die, one after another; when it goes again, it is at once."""
    changes: list[Change] = []
    for _ in range(times):
        alone = store.rows()[0].lapses >= ALONE_AFTER
        if alone:
            assert store.run(claim, [number], "sender-1", NOW) == {}, "an earlier copy of the work does not say so"
        [claimed] = store.run(claim, [number], "sender-1", NOW, alone=alone).values()
        store.put(number, wake=NOW)
        [lapsed] = store.run(transactions.take_due, NOW, 10).lapsed
        changes += report(store, number, lapsed_claim(lapsed), attempt=claimed.attempt, retry=retry)
        if changes[-1].state is State.DEFERRED:
            store.put(number, wake=NOW)
            [leaving] = store.run(transactions.take_due, NOW, 10).leaving
            assert leaving.request.envelope.alone is (changes[-1].lapses >= ALONE_AFTER)
    return changes


def test_after_two_senders_it_goes_alone_and_after_three_it_waits_whatever_the_settings_say(store):
    [number] = store.admit_released(a_draft(hold=AT_ONCE))
    changes = die_with(store, number, times=3)
    assert [change.state for change in changes] == [State.DEFERRED, State.DEFERRED, State.IN_DOUBT]
    [row] = store.rows()
    assert (row.state, row.lapses, row.attempt, row.in_doubt) == (State.IN_DOUBT, 3, 3, True)

    story = store.run(inquiry.show, "order-1", SOON)
    [sentence] = story.waits
    assert "3 senders in a row died with it in their hands" in sentence
    assert "`resend`" in sentence
    [last] = [step.reply for step in story.steps if step.what == "in_doubt"]
    assert last == "3 senders in a row died with the mail in their hands, sender-1 the last of them"


def test_sent_again_it_goes_alone_and_costs_one_more_sender(store):
    [number] = store.admit_released(a_draft(hold=AT_ONCE))
    die_with(store, number, times=3)
    assert store.run(doubt.resend, Resend(id="order-1"), SOON, 9).recipients == 1
    [leaving] = store.run(transactions.take_due, SOON, 10).leaving
    assert leaving.request.envelope.alone
    [change] = die_with(store, number, times=1)
    assert (change.state, change.lapses) == (State.IN_DOUBT, 4)
    assert store.run(doubt.close, Close(id="order-1"), SOON, 9).recipients == 1
    assert store.states() == [State.DELIVERED]


def test_one_that_a_sender_outlives_begins_anew(store):
    [number] = store.admit_released(a_draft(hold=AT_ONCE))
    die_with(store, number, times=2)
    assert store.run(claim, [number], "sender-1", NOW, alone=True)
    [change] = report(store, number, LATER, attempt=3, retry=RESEND)
    assert (change.state, change.lapses) == (State.DEFERRED, 0)
    store.put(number, wake=NOW)
    [leaving] = store.run(transactions.take_due, NOW, 10).leaving
    assert not leaving.request.envelope.alone


def test_of_a_mail_with_two_recipients_only_the_one_that_senders_died_with_goes_alone(store):
    numbers = store.admit_released(a_draft("order-1", "a@x.example", "b@y.example", hold=AT_ONCE))
    for number, lapses in zip(numbers, (2, 0), strict=True):
        store.put(number, wake=NOW, lapses=lapses)
    leaving = [each.request.envelope for each in store.run(transactions.take_due, NOW, 10).leaving]
    assert {(to.address, each.alone) for each in leaving for to in each.recipients} == {
        ("a@x.example", True),
        ("b@y.example", False),
    }


# ---------------------------------------------------------------------------------------------------------
# Taking it back


@pytest.mark.parametrize("retry", [RESEND, PARK])
def test_a_retract_stops_it_and_does_not_claim_that_nobody_has_it(store, retry):
    number = in_doubt(store, retry=retry)
    for _ in range(2):
        done = store.run(recall.retract, Retract(id="order-1"), SOON, 9)
        assert (done.counts, done.mails[0].result) == ({"in_doubt": 1}, "in_doubt")
        assert "may have taken it" in done.mails[0].detail
    assert store.run(claim, [number], "sender-2", SOON) == {}
    assert len(report(store, number, YES)) == 1
    assert store.run(recall.retract, Retract(id="order-1"), SOON, 9).mails[0].result == "too_late"


@pytest.mark.parametrize("retry", [RESEND, PARK])
def test_it_can_not_be_replaced(store, retry):
    in_doubt(store, retry=retry)
    done = store.run(recall.replace, "order-1", a_draft("order-1"), "command 1")
    assert (done.result, done.detail) == (ReplaceResult.TOO_LATE, "ann@y.example: the receiver may have taken it")
