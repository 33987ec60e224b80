"""Retract, release and replace in the store: exact, and each answered."""

import random
from datetime import timedelta

import pytest
import sqlalchemy as sa

from services.scheduler import recall
from services.scheduler import store as transactions
from services.scheduler.outcome_desk import apply_reports
from shared.contracts.answers import ReplaceResult, RetractResult
from shared.contracts.commands import Release, Retract
from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.mail_store.claim import claim
from shared.mail_store.states import State
from shared.mail_store.tables import contents, history, mails, recipients
from shared.outcomes import Deferred, Delivered
from shared.settings import Retry
from shared.smtp_reply import Reply
from tests.support.store import HOLD, NOW, OpenStore, a_draft

AT_ONCE = timedelta(0)
SOON = timedelta(seconds=1)
ADDRESSES = ("ann@y.example", "bob@z.example", "carol@z.example")


def retract(store: OpenStore, **selector: str) -> recall.Retraction:
    return store.run(recall.retract, Retract(**selector), NOW + SOON, 7)


def release(store: OpenStore, **selector: str) -> recall.Rescheduling:
    return store.run(recall.release, Release(**selector), NOW + SOON, 7)


def in_states(store: OpenStore, *states: State, mail: str = "order-1", batch: str = "") -> None:
    """A mail whose recipients are in these states."""
    [admitted] = store.admit(a_draft(mail, *ADDRESSES[: len(states)], batch=batch)).admitted
    for to, state in zip(admitted.recipients, states, strict=True):
        final = state in (State.DELIVERED, State.BOUNCED, State.RETRACTED)
        reply = {"code": 250, "enhanced": "2.0.0", "reply": "queued\nas 1", "host": "mx.y.example"} if final else {}
        store.put(to.no, state=int(state), wake=None if final else NOW + HOLD, **reply)


# ---------------------------------------------------------------------------------------------------------
# Retract


@pytest.mark.parametrize(
    ("before", "result", "after"),
    [
        ([State.HELD], RetractResult.RETRACTED, [State.RETRACTED]),
        ([State.RELEASING], RetractResult.RETRACTED, [State.RETRACTED]),
        ([State.RELEASED], RetractResult.RETRACTED, [State.RETRACTED]),
        ([State.DEFERRED], RetractResult.RETRACTED, [State.RETRACTED]),
        ([State.RETRACTED], RetractResult.RETRACTED, [State.RETRACTED]),
        ([State.CLAIMED], RetractResult.IN_FLIGHT, [State.CLAIMED]),
        ([State.DELIVERED], RetractResult.TOO_LATE, [State.DELIVERED]),
        ([State.BOUNCED], RetractResult.TOO_LATE, [State.BOUNCED]),
        ([State.HELD, State.CLAIMED], RetractResult.IN_FLIGHT, [State.RETRACTED, State.CLAIMED]),
        ([State.DEFERRED, State.DELIVERED], RetractResult.TOO_LATE, [State.RETRACTED, State.DELIVERED]),
        ([State.CLAIMED, State.BOUNCED], RetractResult.TOO_LATE, [State.CLAIMED, State.BOUNCED]),
    ],
)  # fmt: skip
def test_a_retract_takes_back_what_no_sender_has_and_says_so(store, before, result, after):
    in_states(store, *before)
    done = retract(store, id="order-1")
    [mail] = done.mails
    assert (mail.id, mail.result, done.counts) == ("order-1", result, {result: 1})
    assert store.states() == after
    assert [each.state for each in mail.recipients] == [state.name.lower() for state in after]
    newly = [ADDRESSES[n] for n, (was, now) in enumerate(zip(before, after, strict=True)) if was is not now]
    assert [address for _, _, address in done.taken_back] == newly
    assert all(row.wake is None for row in store.rows() if row.state is State.RETRACTED)


@pytest.mark.parametrize(
    ("later", "result"),
    [
        (None, RetractResult.IN_DOUBT),
        (Deferred(Reply(451, "4.7.1", "try again"), "mx"), RetractResult.IN_DOUBT),  # that concerns the second try only
        (Delivered(Reply(250, "2.0.0", "queued"), "mx"), RetractResult.TOO_LATE),
    ],
)
def test_what_may_have_arrived_at_an_earlier_try_is_in_doubt_and_stays_so(store, later, result):
    [number] = store.admit_claimed(a_draft("order-1", hold=AT_ONCE))
    lost = Deferred(Reply(451, "4.4.2", "lost"), "mx", in_doubt=True)
    for attempt, outcome in enumerate(filter(None, (lost, later)), 1):
        report = OutcomeReport("sender-1", 9, (RecipientOutcome(number, attempt, outcome),))
        store.run(apply_reports, [report], NOW, Retry(jitter=0), random.Random(1))
    for _ in range(2):
        [mail] = retract(store, id="order-1").mails
        assert mail.result is result


def test_too_late_says_what_the_receiver_said_and_when(store):
    in_states(store, State.DELIVERED)
    [mail] = retract(store, id="order-1").mails
    assert mail.detail == "delivered at 2026-03-01T12:00:00+00:00, mx.y.example said: 250 2.0.0 queued as 1"


def test_a_retracted_mail_is_not_released_or_claimed_any_more(store):
    [number] = store.admit_released(a_draft(hold=AT_ONCE))
    retract(store, id="order-1")
    assert store.run(claim, [number], "sender-1", NOW) == {}
    assert store.run(transactions.take_due, NOW + timedelta(days=9), 10).count == 0


def test_a_mail_retracted_before_it_arrives_is_not_sent_however_often_it_comes(store):
    done = retract(store, id="order-1")
    assert [(mail.id, mail.result) for mail in done.mails] == [("order-1", RetractResult.UNKNOWN)]
    assert done.counts == {"unknown": 1}
    assert retract(store, id="order-1").mails[0].result is RetractResult.UNKNOWN
    for _ in range(2):
        admission = store.admit(a_draft("order-1", hold=AT_ONCE), a_draft("order-2"))
        assert [draft.id for draft in admission.retracted] == ["order-1"]
    assert store.states("order-1") == []
    assert store.count(contents) == 1


def test_a_part_of_an_unknown_mail_is_not_remembered(store):
    [mail] = retract(store, id="order-1", recipient="ann@y.example").mails
    assert mail.result is RetractResult.UNKNOWN
    assert "still arrive" not in mail.detail
    assert store.admit(a_draft("order-1", *ADDRESSES)).admitted


def test_a_part_that_a_mail_has_not_is_unknown(store):
    store.admit(a_draft("order-1", "ann@y.example"))
    assert retract(store, id="order-1", recipient="nobody@y.example").mails[0].result is RetractResult.UNKNOWN
    assert store.states() == [State.HELD]


@pytest.mark.parametrize(
    ("selector", "retracted"),
    [
        ({"batch": "march"}, {"m1": [0, 1], "m2": [0]}),
        ({"recipient": "bob@z.example"}, {"m1": [1], "a1": [1]}),
        ({"batch": "march", "recipient": "ann@y.example"}, {"m1": [0], "m2": [0]}),
        ({"id": "m1", "recipient": "bob@z.example"}, {"m1": [1]}),
        ({"id": "m1", "batch": "april"}, {}),
        ({"batch": "may"}, {}),
    ],
)
def test_a_selector_matches_with_all_its_parts(store, selector, retracted):
    store.admit(
        a_draft("m1", "ann@y.example", "bob@z.example", batch="march"),
        a_draft("m2", "ann@y.example", batch="march"),
        a_draft("a1", "ann@y.example", "bob@z.example", batch="april"),
    )
    retract(store, **selector)
    for mail in ("m1", "m2", "a1"):
        taken = [n for n, state in enumerate(store.states(mail)) if state is State.RETRACTED]
        assert taken == retracted.get(mail, [])


def test_a_batch_is_counted_by_result(store):
    for n, state in enumerate([State.HELD] * 3 + [State.CLAIMED] * 2 + [State.DELIVERED]):
        in_states(store, state, mail=f"order-{n}", batch="march")
    done = retract(store, batch="march")
    assert done.counts == {"retracted": 3, "in_flight": 2, "too_late": 1}
    assert len(done.mails) == 6
    assert len(done.mail_numbers) == 3


@pytest.mark.parametrize("selector", [{"batch": "march"}, {"recipient": "ann@y.example"}])
@pytest.mark.parametrize("do", [recall.retract, recall.release])
def test_many_mails_are_done_page_by_page_each_once_and_the_first_are_named(store, do, selector):
    drafts = [a_draft(f"order-{n}", *ADDRESSES[: n % 2 + 1], batch="march") for n in range(600)]
    store.admit(*drafts)
    store.admit(a_draft("other", "dan@y.example"))
    after, pages, named = 0, [], []
    while after is not None:
        done = store.run(do, Retract(**selector), NOW + SOON, 7, after, 400 - len(named))
        pages.append(len(done.taken_back) if do is recall.retract else done.released)
        named += [mail.id for mail in done.mails]
        after = done.following
    assert len(pages) == 3
    assert sum(pages) == (900 if "batch" in selector else 600)
    assert named == [draft.id for draft in drafts[:400]]
    assert store.states("other") == [State.HELD]


def test_mails_with_many_recipients_are_fewer_a_page(store):
    crowd = [f"r{n}@y.example" for n in range(2000)]
    store.admit(*(a_draft(f"order-{n}", *crowd, batch="march") for n in range(2)))
    first = retract(store, batch="march")
    assert len(first.taken_back) == 2000
    assert len(store.run(recall.retract, Retract(batch="march"), NOW, 7, first.following).taken_back) == 2000


# ---------------------------------------------------------------------------------------------------------
# Release


@pytest.mark.parametrize(
    ("state", "goes"),
    [
        (State.HELD, True),
        (State.DEFERRED, True),
        (State.RELEASING, False),
        (State.RELEASED, False),
        (State.CLAIMED, False),
        (State.DELIVERED, False),
        (State.RETRACTED, False),
    ],
)
def test_what_waits_goes_now(store, state, goes):
    in_states(store, state)
    done = release(store, id="order-1")
    assert (done.released, done.mails[0].released) == (int(goes), int(goes))
    assert store.run(transactions.take_due, NOW + SOON, 10).count == int(goes)
    assert store.count(history) == int(goes)


def test_a_release_of_a_batch_counts_by_mail(store):
    store.admit(a_draft("m1", *ADDRESSES, batch="march"), a_draft("m2", batch="march"), a_draft("other"))
    done = release(store, batch="march")
    assert {mail.id: mail.released for mail in done.mails} == {"m1": 3, "m2": 1}
    assert done.released == 4
    assert store.run(transactions.take_due, NOW + SOON, 10).count == 4


def test_a_release_of_nothing_is_answered(store):
    done = release(store, id="order-1")
    assert [(mail.id, mail.released, mail.detail) for mail in done.mails] == [("order-1", 0, "no such mail")]
    assert release(store, batch="march").mails == []


def test_a_release_of_thousands_is_quick(store):
    store.admit(*(a_draft(f"order-{n}", batch="march") for n in range(4000)))
    released, after = 0, 0
    while after is not None:
        done = store.run(recall.release, Release(batch="march"), NOW + SOON, 7, after)
        released, after = released + done.released, done.following
    assert released == 4000


# ---------------------------------------------------------------------------------------------------------
# Replace


def replaced(store: OpenStore, mark: str = "command 1", **more) -> recall.Replacement:
    new = a_draft("order-1", "new@y.example", "bob@z.example", at=NOW + SOON, content=b"new", subject="new", **more)
    return store.run(recall.replace, "order-1", new, mark)


@pytest.mark.parametrize("state", [State.HELD, State.RELEASING, State.RELEASED, State.DEFERRED])
def test_another_mail_stands_in_its_place_with_a_hold_of_its_own(store, state):
    in_states(store, state)
    done = replaced(store)
    assert (done.result, done.leaving) == (ReplaceResult.REPLACED, None)
    rows = store.rows()
    assert [(row.address, row.state, row.attempt) for row in rows] == [
        ("new@y.example", State.HELD, 1),
        ("bob@z.example", State.HELD, 1),
    ]
    assert {row.wake for row in rows} == {NOW + SOON + HOLD}
    assert store.run(lambda c: c.execute(sa.select(contents.c.data)).scalars().all()) == [b"new"]
    assert store.run(lambda c: c.execute(sa.select(mails.c.subject, mails.c.size)).all()) == [("new", 3)]


@pytest.mark.parametrize(("stated", "known"), [("", "crm"), ("shop", "shop")])
def test_a_replaced_mail_stays_its_submitters_unless_another_is_stated(store, stated, known):
    store.admit(a_draft("order-1", submitted_by="crm"))
    assert replaced(store, submitted_by=stated).result is ReplaceResult.REPLACED
    assert store.run(lambda c: c.execute(sa.select(mails.c.submitted_by)).scalars().all()) == [known]


def test_a_replaced_mail_that_is_due_at_once_leaves_at_once(store):
    store.admit(a_draft())
    done = replaced(store, hold=AT_ONCE)
    assert done.leaving is not None
    assert [to.address for to in done.leaving.request.envelope.recipients] == ["new@y.example", "bob@z.example"]
    assert store.states() == [State.RELEASING, State.RELEASING]


@pytest.mark.parametrize(
    ("states", "result"),
    [
        ([State.CLAIMED], ReplaceResult.IN_FLIGHT),
        ([State.HELD, State.CLAIMED], ReplaceResult.IN_FLIGHT),
        ([State.DELIVERED], ReplaceResult.TOO_LATE),
        ([State.BOUNCED], ReplaceResult.TOO_LATE),
        ([State.RETRACTED], ReplaceResult.TOO_LATE),
        ([State.HELD, State.DELIVERED], ReplaceResult.TOO_LATE),
    ],
)
def test_a_mail_of_which_anything_has_gone_is_not_replaced(store, states, result):
    in_states(store, *states)
    assert replaced(store).result is result
    assert store.states() == states
    assert [row.address for row in store.rows()] == list(ADDRESSES[: len(states)])


@pytest.mark.parametrize("state", [State.HELD, State.CLAIMED, State.DELIVERED])
def test_a_replace_that_was_carried_out_is_known_again_whatever_has_become_of_the_new_mail(store, state):
    store.admit(a_draft("order-1"), a_draft("order-2"))
    assert not store.run(recall.was_replaced, "order-1", "command 1")
    replaced(store)
    for row in store.rows():
        store.put(row.no, state=int(state))
    assert store.run(recall.was_replaced, "order-1", "command 1")
    assert not store.run(recall.was_replaced, "order-1", "command 2")
    assert not store.run(recall.was_replaced, "order-2", "command 1")
    replaced(store, "command 2")
    assert store.run(recall.was_replaced, "order-1", "command 1"), "it is not to undo the next one"


def test_a_replace_that_came_too_late_is_not_known_as_carried_out(store):
    in_states(store, State.CLAIMED)
    replaced(store)
    assert not store.run(recall.was_replaced, "order-1", "command 1")


def test_an_unknown_mail_is_not_replaced(store):
    assert replaced(store).result is ReplaceResult.UNKNOWN
    retract(store, id="order-1")  # remembered, but no mail
    assert replaced(store).result is ReplaceResult.UNKNOWN
    assert store.count(recipients) == 0


def test_the_work_message_of_a_replaced_mail_claims_nothing_ever(store):
    """Else the new content would go to the former recipient."""
    numbers = store.admit_released(a_draft("order-1", "former@y.example", hold=AT_ONCE))
    replaced(store, hold=AT_ONCE)
    assert not {row.no for row in store.rows()} & set(numbers)
    assert store.run(claim, numbers, "sender-1", NOW) == {}


def test_numbers_are_not_given_again_after_a_purge(store):
    numbers = store.admit_released(a_draft("order-1", *ADDRESSES, hold=AT_ONCE))
    for table in (contents, recipients, mails):
        store.run(lambda c, table=table: c.execute(sa.delete(table)))
    [mail] = store.admit(a_draft("order-2")).admitted
    assert mail.recipients[0].no > max(numbers)
