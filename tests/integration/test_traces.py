"""The trace contexts of mails that wait, in the mail store, on SQLite and on PostgreSQL."""

from datetime import timedelta

import sqlalchemy as sa

from services.scheduler import housekeeping, traces
from services.scheduler import store as transactions
from services.scheduler.outcome_desk import apply_reports
from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.mail_store.claim import claim
from shared.mail_store.tables import traces as table
from shared.outcomes import Delivered
from shared.settings import Retry
from shared.smtp_reply import Reply
from tests.support.store import HOLD, NOW, OpenStore, a_draft

FIRST = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECOND = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203332-01 vendor=7"


def kept(store: OpenStore) -> list[str]:
    return list(store.run(lambda connection: connection.execute(sa.select(table.c.context)).scalars().all()))


def test_what_was_held_leaves_with_its_trace_and_its_hold(store: OpenStore):
    store.run(traces.admit, [a_draft("a", trace=FIRST), a_draft("b"), a_draft("c", trace=SECOND)])
    taken = store.run(traces.take_due, NOW + HOLD, 10)
    assert {each.request.envelope.mail: each.request.envelope.trace for each in taken.due.leaving} == {
        "a": FIRST,
        "b": "",
        "c": SECOND,
    }
    assert sorted((hold.mail, hold.trace, hold.begun) for hold in taken.holds) == [
        ("a", FIRST, NOW),
        ("c", SECOND, NOW),
    ]


def test_what_goes_at_once_carries_it_and_goes_again_with_it(store: OpenStore):
    admission = store.run(traces.admit, [a_draft("a", hold=timedelta(0), trace=FIRST)])
    assert [mail.leaving.request.envelope.trace for mail in admission.admitted] == [FIRST]
    again = store.run(traces.take_due, NOW + timedelta(minutes=1), 10)
    assert [each.request.envelope.trace for each in again.due.leaving] == [FIRST]
    assert again.holds == []  # it was not held


def test_a_hold_ends_once_though_the_broker_refuses_what_leaves(store: OpenStore):
    store.run(traces.admit, [a_draft("a", trace=FIRST)])
    taken = store.run(traces.take_due, NOW + HOLD, 10)
    [number] = [to.no for to in taken.due.leaving[0].request.envelope.recipients]
    store.run(transactions.put_back, [number], NOW + HOLD)
    again = store.run(traces.take_due, NOW + HOLD, 10)
    assert (len(taken.holds), len(again.holds), len(again.due.leaving)) == (1, 0, 1)


def test_a_duplicate_leaves_the_trace_of_the_first(store: OpenStore):
    store.run(traces.admit, [a_draft("a", trace=FIRST)])
    store.run(traces.admit, [a_draft("a", trace=SECOND)])
    assert kept(store) == [FIRST]


def test_it_is_forgotten_with_its_mail(store: OpenStore):
    [number] = store.admit_released(a_draft("a", hold=timedelta(0), trace=FIRST))
    store.run(traces.admit, [a_draft("b", trace=SECOND)])
    store.run(claim, [number], "sender-1", NOW)
    report = OutcomeReport("sender-1", 3, (RecipientOutcome(number, 1, Delivered(Reply(250, "2.0.0", "ok"), "mx")),))
    store.run(apply_reports, [report], NOW, Retry(), None)
    store.run(housekeeping.purge, NOW + timedelta(days=90), 0)
    assert kept(store) == [SECOND]
