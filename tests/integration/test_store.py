"""The mail store's transactions, on SQLite and on PostgreSQL: admission, release, claims and outcomes."""

import os
import random
import re
import stat
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.scheduler import inquiry, recall
from services.scheduler import store as transactions
from services.scheduler.admission import admit
from services.scheduler.outcome_desk import apply_reports
from services.scheduler.outcomes import Change
from shared.broker import Properties
from shared.contracts.commands import Retract
from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.mail_store.claim import claim, renew_claims
from shared.mail_store.engine import open_engine
from shared.mail_store.making_ready import check_version, count_on, create_tables
from shared.mail_store.states import CLAIM_LEASE, RELEASED_LEASE, RELEASING_LEASE, State
from shared.mail_store.tables import VERSION, contents, history, mails, recipients, store_version
from shared.outcomes import Bounced, Deferred, Delivered, Outcome, Parked
from shared.settings import Retry, Settings
from shared.smtp_reply import Reply
from shared.store_trouble import StoreUnusable
from tests.support.store import HOLD, NOW, OpenStore, a_draft

OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"
SOON = timedelta(seconds=1)
AT_ONCE = timedelta(0)


def take_due(store: OpenStore, now=NOW, most: int = 100) -> transactions.Due:
    return store.run(transactions.take_due, now, most)


def addresses(due: transactions.Due) -> list[str]:
    return [to.address for leaving in due.leaving for to in leaving.request.envelope.recipients]


# ---------------------------------------------------------------------------------------------------------
# Admission


def test_an_admitted_mail_is_held_until_it_is_due(store):
    admission = store.admit(a_draft("order-1", "ann@y.example", "bob@z.example"))
    [mail] = admission.admitted
    assert [to.address for to in mail.recipients] == ["ann@y.example", "bob@z.example"]
    for row, to in zip(store.rows(), mail.recipients, strict=True):
        assert (row.no, row.address, row.state, row.attempt) == (to.no, to.address, State.HELD, 1)
        assert (row.since, row.wake, row.released) == (NOW, NOW + HOLD, None)
    assert store.run(transactions.next_wake) == NOW + HOLD


def test_a_mail_due_at_once_is_releasing_from_the_start(store):
    [mail] = store.admit(a_draft("order-1", "ann@y.example", "bob@z.example", hold=AT_ONCE)).admitted
    request = mail.leaving.request
    assert (request.attempt, request.envelope.mail) == (1, "order-1")
    assert request.envelope.recipients == mail.recipients
    assert request.envelope.size == len(mail.draft.composed.content)
    assert store.states() == [State.RELEASING, State.RELEASING]
    assert {row.wake for row in store.rows()} == {NOW + RELEASING_LEASE}
    assert addresses(take_due(store)) == []  # it is on its way


def test_of_one_id_in_one_batch_the_first_stands(store):
    first, second = a_draft("order-1", content=b"1"), a_draft("order-1", "other@y.example", content=b"2")
    admission = store.admit(first, a_draft("order-2"), second)
    assert [mail.draft for mail in admission.admitted] == [first, a_draft("order-2")]
    assert admission.duplicates == [second]
    assert (store.count(mails), store.count(recipients), store.count(contents)) == (2, 2, 2)


def test_a_known_id_is_a_duplicate_whatever_has_become_of_it(store):
    [number] = store.admit_claimed(a_draft("order-1", hold=AT_ONCE))
    report(store, number, Delivered(Reply(250, "", "ok"), "mx"))
    again = a_draft("order-1", "ann@y.example")
    admission = store.admit(again, a_draft("order-2"))
    assert (admission.duplicates, [mail.draft.id for mail in admission.admitted]) == ([again], ["order-2"])
    assert store.states() == [State.DELIVERED]


def test_mails_are_numbered_in_the_order_in_which_they_came(store):
    admission = store.admit(*(a_draft(f"order-{n}", f"a{n}@y.example", f"b{n}@y.example") for n in range(50)))
    assert [mail.draft.id for mail in admission.admitted] == [f"order-{n}" for n in range(50)]
    numbers = [to.no for mail in admission.admitted for to in mail.recipients]
    assert numbers == sorted(numbers)
    by_mail = [store.rows(f"order-{n}")[0].mail for n in range(50)]
    assert by_mail == sorted(by_mail)


def test_each_recipient_belongs_to_its_own_mail_in_large_batches(store):
    drafts = [a_draft(f"order-{n}", *(f"r{i}@m{n}.example" for i in range(n % 7 + 1))) for n in range(400)]
    for mail in store.admit(*drafts).admitted:
        assert tuple(to.address for to in mail.recipients) == mail.draft.composed.recipients
    assert store.count(recipients) == sum(len(draft.composed.recipients) for draft in drafts)


def test_a_mail_of_ten_thousand_recipients_is_admitted(store):
    [mail] = store.admit(a_draft("order-1", *(f"r{n}@y.example" for n in range(10_000)))).admitted
    assert len({to.no for to in mail.recipients}) == 10_000


FINISHED = "From: a@x.example\r\nTo: b@y.example\r\nSubject: {}\r\n\r\n"


@pytest.mark.parametrize(
    ("id", "subject", "batch"),
    [
        ("ü" * 200, "=?utf-8?q?nul=00?=", "märz 🎉"),
        ("😀" * 60, "=?utf-7?q?+2AA-?=", "tab\tinside"),
        ("%s", "\ufffd\ufffe 日本語", "'; DROP TABLE mails; --"),
        ("a'b\"c", "=?utf-8?b?AAAA?=", "%(batch)s"),
    ],
)
def test_whatever_admission_lets_through_can_be_kept(store, id, subject, batch):
    properties = Properties(message_id=id, content_type="message/rfc822", headers={"batch": batch})
    draft = admit(FINISHED.format(subject).encode(), properties, Settings(), 1, NOW)
    store.admit(draft)
    story = store.run(inquiry.show, id, NOW)
    assert (story.id, story.subject, story.batch) == (id, draft.composed.subject, batch)
    assert store.run(recall.retract, Retract(batch=batch), NOW, 1).counts == {"retracted": 1}


def test_a_batch_that_fails_leaves_nothing(store):
    def admit_and_fail(connection):
        transactions.admit(connection, [a_draft()])
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.run(admit_and_fail)
    assert (store.count(mails), store.count(recipients), store.count(contents)) == (0, 0, 0)


# ---------------------------------------------------------------------------------------------------------
# Release


def test_only_what_is_due_is_taken_the_longest_waiting_first(store):
    store.admit(
        a_draft("later", "later@y.example", hold=timedelta(minutes=2)),
        a_draft("first", "first@y.example", hold=timedelta(seconds=1)),
        a_draft("second", "second@y.example", hold=timedelta(seconds=2)),
    )
    assert addresses(take_due(store)) == []
    due = take_due(store, NOW + timedelta(seconds=2))
    assert (addresses(due), due.count, due.lapsed) == (["first@y.example", "second@y.example"], 2, [])
    assert store.states("first") == [State.RELEASING]
    assert store.states("later") == [State.HELD]


def test_no_more_is_taken_than_asked_for(store):
    store.admit(*(a_draft(f"order-{n}", f"a{n}@y.example", hold=SOON) for n in range(5)))
    assert [take_due(store, NOW + SOON, 2).count for _ in range(4)] == [2, 2, 1, 0]


def test_one_mail_that_becomes_due_behind_many_does_not_wait_for_them(store):
    store.admit(*(a_draft(f"order-{n}", f"a{n}@y.example", hold=SOON / 30 * n) for n in range(1, 31)))
    store.admit(a_draft("urgent", "urgent@y.example", hold=2 * SOON))
    due = take_due(store, NOW + 2 * SOON, 10)
    assert due.count == 10
    assert "urgent@y.example" in addresses(due)
    assert [take_due(store, NOW + 2 * SOON, 10).count for _ in range(4)] == [10, 10, 1, 0]  # each of them once


def test_recipients_of_a_mail_travel_together_as_long_as_they_are_at_the_same_attempt(store):
    [mail] = store.admit(a_draft("order-1", "a@y.example", "b@y.example", "c@y.example", hold=SOON)).admitted
    store.put(mail.recipients[2].no, attempt=2, state=int(State.DEFERRED))
    due = take_due(store, NOW + SOON)
    assert sorted((leaving.request.attempt, len(leaving.request.envelope.recipients)) for leaving in due.leaving) == [
        (1, 2),
        (2, 1),
    ]


def test_what_nobody_reported_goes_again_after_its_lease_with_the_same_attempt(store):
    store.admit(a_draft(hold=AT_ONCE))
    assert addresses(take_due(store, NOW + RELEASING_LEASE - SOON)) == []
    [leaving] = take_due(store, NOW + RELEASING_LEASE).leaving
    assert leaving.request.attempt == 1
    [row] = store.rows()
    store.run(transactions.mark_released, [row.no], NOW)
    assert store.rows()[0].wake == NOW + RELEASED_LEASE
    assert addresses(take_due(store, NOW + RELEASED_LEASE - SOON)) == []
    assert addresses(take_due(store, NOW + RELEASED_LEASE)) == ["ann@y.example"]


def test_of_what_the_broker_has_only_those_are_marked_that_nobody_has_claimed(store):
    drafts = [a_draft(f"order-{n}", hold=AT_ONCE) for n in range(3)]
    claimed, waiting, _unconfirmed = (mail.recipients[0].no for mail in store.admit(*drafts).admitted)
    store.run(claim, [claimed], "sender-1", NOW)
    store.admit(a_draft("held", hold=RELEASING_LEASE))
    end = NOW + RELEASING_LEASE
    store.run(transactions.mark_unclaimed, [claimed, waiting], end, end, NOW + SOON)
    states = [*(store.states(f"order-{n}")[0] for n in range(3)), *store.states("held")]
    assert states == [State.CLAIMED, State.RELEASED, State.RELEASING, State.HELD]
    assert store.rows("order-1")[0].wake == NOW + SOON + RELEASED_LEASE


def test_what_goes_again_after_its_lease_is_not_marked_for_the_former_message(store):
    [mail] = store.admit(a_draft(hold=AT_ONCE)).admitted
    end = NOW + RELEASING_LEASE
    take_due(store, end)
    store.run(transactions.mark_unclaimed, [mail.recipients[0].no], end, end, end)
    assert store.states() == [State.RELEASING]


def test_what_is_released_goes_again_at_once_when_an_operator_says_so(store):
    [statement] = re.findall(r"```sql\n(.*?)```", OPERATIONS.read_text(encoding="utf-8"), re.DOTALL)
    released = store.admit_released(a_draft("order-1", hold=AT_ONCE))
    store.admit(a_draft("order-2"))
    store.admit_claimed(a_draft("order-3", hold=AT_ONCE))
    store.run(lambda connection: connection.execute(sa.text(statement)))
    due = store.run(transactions.take_due, NOW + SOON, 100)
    assert [to.no for leaving in due.leaving for to in leaving.request.envelope.recipients] == released
    assert not due.lapsed


def test_a_claim_that_is_not_renewed_is_told_and_left_as_it_is(store):
    [number] = store.admit_claimed(a_draft(hold=AT_ONCE), worker="sender-7")
    assert take_due(store, NOW + CLAIM_LEASE - SOON).lapsed == []
    due = take_due(store, NOW + CLAIM_LEASE)
    assert due.leaving == []
    [lapsed] = due.lapsed
    assert (lapsed.number, lapsed.worker, lapsed.attempt, lapsed.mail) == (number, "sender-7", 1, "order-1")
    assert store.states() == [State.CLAIMED]


def test_a_claim_that_has_lapsed_is_told_later_where_its_outcome_may_be_on_its_way(store):
    lapsed, renewed = store.admit_claimed(*(a_draft(id, hold=AT_ONCE) for id in ("a", "b")), worker="sender-7")
    now = NOW + CLAIM_LEASE
    store.run(renew_claims, [renewed], "sender-7", now)
    store.run(transactions.look_later, [lapsed, renewed], now, now + SOON)
    assert take_due(store, now).lapsed == []
    assert [each.number for each in take_due(store, now + SOON).lapsed] == [lapsed]
    assert [each.number for each in take_due(store, now + CLAIM_LEASE).lapsed] == [lapsed, renewed]


def test_a_renewed_claim_does_not_lapse(store):
    numbers = store.admit_claimed(a_draft(hold=AT_ONCE), worker="sender-7")
    assert store.run(renew_claims, numbers, "sender-7", NOW + CLAIM_LEASE / 2) == set(numbers)
    assert take_due(store, NOW + CLAIM_LEASE).lapsed == []
    assert not store.run(renew_claims, numbers, "sender-8", NOW + CLAIM_LEASE)  # not its own
    assert len(take_due(store, NOW + 1.5 * CLAIM_LEASE).lapsed) == 1


def test_marking_does_not_disturb_what_a_quick_sender_has_claimed(store):
    [mail] = store.admit(a_draft("order-1", "a@y.example", "b@y.example", hold=AT_ONCE)).admitted
    numbers = [to.no for to in mail.recipients]
    store.run(claim, numbers[:1], "sender-1", NOW)
    store.run(transactions.mark_released, numbers, NOW)
    assert store.states() == [State.CLAIMED, State.RELEASED]
    assert store.rows()[0].wake == NOW + CLAIM_LEASE


@pytest.mark.parametrize(
    ("state", "attempt", "expected"),
    [
        (State.RELEASING, 1, State.HELD),
        (State.RELEASING, 2, State.DEFERRED),
        (State.RELEASED, 1, State.RELEASED),
        (State.CLAIMED, 1, State.CLAIMED),
        (State.DELIVERED, 1, State.DELIVERED),
        (State.RETRACTED, 1, State.RETRACTED),
    ],
)
def test_what_the_broker_refused_waits_again_unless_it_went_on(store, state, attempt, expected):
    [mail] = store.admit(a_draft(hold=AT_ONCE)).admitted
    number = mail.recipients[0].no
    store.put(number, state=int(state), attempt=attempt)
    store.run(transactions.put_back, [number], NOW + SOON)
    [row] = store.rows()
    assert row.state is expected
    assert (row.wake == NOW + SOON) is (state is State.RELEASING)


def test_two_schedulers_take_different_mails(store):
    if not store.on_postgresql:
        pytest.skip("SQLite has one writer at a time")
    store.admit(*(a_draft(f"order-{n}", f"a{n}@y.example", hold=SOON) for n in range(10)))
    with store.engine.begin() as first, store.engine.begin() as second:
        here = transactions.take_due(first, NOW + SOON, 6)
        there = transactions.take_due(second, NOW + SOON, 6)  # does not wait for the other
    assert (here.count, there.count) == (6, 4)
    assert not set(addresses(here)) & set(addresses(there))


# ---------------------------------------------------------------------------------------------------------
# Claims


@pytest.mark.parametrize("state", list(State))
def test_a_sender_claims_what_is_released_and_nothing_else(store, state):
    [number] = store.admit_released(a_draft(hold=AT_ONCE))
    store.put(number, state=int(state), attempt=4)
    claims = store.run(claim, [number], "sender-1", NOW + SOON)
    [row] = store.rows()
    if state in (State.RELEASING, State.RELEASED):
        assert claims[number].attempt == 4
        assert (row.state, row.worker) == (State.CLAIMED, "sender-1")
        assert (row.claimed, row.wake) == (NOW + SOON, NOW + SOON + CLAIM_LEASE)
    else:
        assert claims == {}
        assert row.state is state


def test_a_claim_brings_the_content_of_each_mail(store):
    drafts = [
        a_draft(f"order-{n}", f"a{n}@y.example", f"b{n}@y.example", hold=AT_ONCE, content=b"%d" % n) for n in range(3)
    ]
    numbers = store.admit_released(*drafts)
    claims = store.run(claim, [*numbers, 999_999], "sender-1", NOW)
    assert [claims[number].content for number in numbers] == [b"0", b"0", b"1", b"1", b"2", b"2"]


def test_thousands_are_claimed_at_once(store):
    numbers = store.admit_released(a_draft("order-1", *(f"r{n}@y.example" for n in range(2000)), hold=AT_ONCE))
    assert store.run(claim, numbers, "sender-1", NOW).keys() == set(numbers)


@pytest.mark.parametrize("later", [timedelta(milliseconds=1), timedelta(days=90)])
def test_work_messages_of_a_store_that_was_restored_claim_no_mail_admitted_since(store, later):
    store.run(count_on, NOW)
    given = store.admit_released(a_draft("invoice", "ann@y.example"))
    store.empty()
    store.run(forget_numbers)
    store.run(count_on, NOW + later)
    store.admit_released(a_draft("payslip", "bob@y.example"))
    assert store.run(claim, given, "sender-1", NOW) == {}


def forget_numbers(connection: sa.Connection) -> None:
    """As in a backup that was made before the first mail."""
    on_sqlite = connection.dialect.name == "sqlite"
    connection.exec_driver_sql(
        "DELETE FROM sqlite_sequence" if on_sqlite else "ALTER SEQUENCE recipients_no_seq RESTART"
    )


def test_a_clock_that_is_behind_sets_no_number_back(store):
    store.run(count_on, NOW)
    [before] = store.admit_released(a_draft("first"))
    store.run(count_on, NOW - timedelta(days=1))
    [after] = store.admit_released(a_draft("second"))
    assert after > before


def test_a_second_claim_finds_nothing(store):
    numbers = store.admit_claimed(a_draft(hold=AT_ONCE))
    assert store.run(claim, numbers, "sender-2", NOW) == {}
    assert store.run(claim, [], "sender-2", NOW) == {}


def test_a_claim_whose_answer_was_lost_is_not_made_again_and_lapses(store):
    numbers = store.admit_claimed(a_draft(hold=AT_ONCE), worker="sender-1")
    assert store.run(claim, numbers, "sender-1", NOW) == {}  # the transaction is repeated, as the sender knows nothing
    due = store.run(transactions.take_due, NOW + CLAIM_LEASE, 100)
    assert ([lapsed.number for lapsed in due.lapsed], due.leaving) == (numbers, [])


# ---------------------------------------------------------------------------------------------------------
# Outcomes

OK = Delivered(Reply(250, "2.0.0", "queued"), "mx.y.example")
NO = Bounced(Reply(550, "5.1.1", "no such user"), "mx.y.example")
LATER = Deferred(Reply(451, "4.7.1", "try again"), "mx.y.example")
DOUBT = Deferred(Reply(451, "4.4.2", "lost"), "mx.y.example", in_doubt=True)
BUSY = Parked("the lane is full", 2)
RETRY = Retry(jitter=0)


def report(store: OpenStore, number: int, *outcomes: Outcome, attempt: int = 1, now=NOW) -> list[Change]:
    said = tuple(RecipientOutcome(number, attempt, outcome) for outcome in outcomes)
    return store.run(apply_reports, [OutcomeReport("sender-1", 9, said)], now, RETRY, random.Random(1))


@pytest.mark.parametrize(
    ("outcome", "state", "attempt", "wake"),
    [
        (OK, State.DELIVERED, 1, None),
        (NO, State.BOUNCED, 1, None),
        (LATER, State.DEFERRED, 2, NOW + timedelta(minutes=5)),
        (DOUBT, State.DEFERRED, 2, NOW + timedelta(minutes=5)),
        (BUSY, State.DEFERRED, 1, NOW + timedelta(seconds=2)),
    ],
)
def test_an_outcome_is_written_down(store, outcome, state, attempt, wake):
    [number] = store.admit_claimed(a_draft(hold=AT_ONCE))
    [change] = report(store, number, outcome)
    assert change.pending.number == number
    [row] = store.rows()
    assert (row.state, row.attempt, row.wake, row.since) == (state, attempt, wake, NOW)
    assert (row.worker, row.revision) == ("sender-1", 9)
    if isinstance(outcome, Parked):
        assert (row.code, row.reply, row.host) == (0, "the lane is full", "")
    else:
        assert (row.code, row.enhanced, row.reply) == (outcome.reply.code, outcome.reply.enhanced, outcome.reply.text)
        assert row.host == "mx.y.example"
    assert row.in_doubt is (outcome is DOUBT)
    assert store.count(history) == (1 if outcome in (LATER, DOUBT) else 0)  # the row itself tells of the others


def test_a_second_outcome_of_an_attempt_is_dropped(store):
    [number] = store.admit_claimed(a_draft(hold=AT_ONCE))
    assert len(report(store, number, OK, OK)) == 1
    assert report(store, number, OK) == []
    assert report(store, number, NO) == []
    assert store.states() == [State.DELIVERED]


@pytest.mark.parametrize("together", [True, False])
def test_a_delivery_that_comes_behind_a_deferral_still_counts(store, together):
    [number] = store.admit_claimed(a_draft(hold=AT_ONCE))
    if together:
        [change] = report(store, number, DOUBT, OK)
    else:
        report(store, number, DOUBT)
        [change] = report(store, number, OK)
    [row] = store.rows()
    assert (row.state, row.wake, row.attempt, change.attempt) == (State.DELIVERED, None, 1, 1)


@pytest.mark.parametrize("state", [State.DEFERRED, State.RELEASING, State.RELEASED])
def test_a_late_delivery_stops_the_next_attempt_before_its_claim(store, state):
    [number] = store.admit_claimed(a_draft(hold=AT_ONCE))
    report(store, number, DOUBT)
    store.put(number, state=int(state))
    report(store, number, OK, attempt=1)
    assert store.states() == [State.DELIVERED]
    assert store.run(claim, [number], "sender-2", NOW) == {}
    assert addresses(take_due(store, NOW + timedelta(days=1))) == []


def test_a_late_deferral_of_an_earlier_attempt_is_dropped(store):
    [number] = store.admit_claimed(a_draft(hold=AT_ONCE))
    report(store, number, LATER)
    take_due(store, NOW + timedelta(minutes=5))
    assert report(store, number, LATER, attempt=1) == []
    assert len(report(store, number, NO, attempt=2)) == 1


def test_an_outcome_for_a_recipient_that_is_gone_is_dropped(store):
    assert report(store, 4711, OK) == []


def test_a_mail_is_given_up_at_its_time_with_the_last_reply(store):
    [number] = store.admit_claimed(a_draft(hold=AT_ONCE, give_up=NOW + timedelta(minutes=1)))
    report(store, number, LATER)
    assert store.rows()[0].wake == NOW + timedelta(minutes=1)  # one last try at the end, not after it
    later = NOW + timedelta(minutes=1)
    take_due(store, later)
    [change] = report(store, number, LATER, attempt=2, now=later)
    [row] = store.rows()
    assert (change.state, row.state, row.wake, row.enhanced) == (State.BOUNCED, State.BOUNCED, None, "4.4.7")
    assert "451 4.7.1 try again" in row.reply


def test_outcomes_of_several_mails_and_workers_are_applied_together(store):
    reports = []
    for worker, outcome in enumerate((OK, NO, LATER)):
        drafts = [a_draft(f"order-{n}", hold=AT_ONCE) for n in range(worker, 1200, 3)]
        numbers = store.admit_claimed(*drafts, worker=f"sender-{worker}")
        reports += [
            OutcomeReport(f"sender-{worker}", worker + 3 * n, (RecipientOutcome(number, 1, outcome),))
            for n, number in enumerate(numbers)
        ]
    changes = store.run(apply_reports, reports, NOW, RETRY, random.Random(1))
    assert len(changes) == 1200
    assert store.states("order-0") == [State.DELIVERED]
    assert store.states("order-1") == [State.BOUNCED]
    assert store.states("order-2") == [State.DEFERRED]
    assert (store.rows("order-4")[0].worker, store.rows("order-4")[0].revision) == ("sender-1", 4)
    assert store.count(history) == 400


def test_a_parked_recipient_keeps_its_attempt_and_goes_again(store):
    [number] = store.admit_claimed(a_draft(hold=AT_ONCE))
    report(store, number, BUSY)
    [leaving] = take_due(store, NOW + timedelta(seconds=2)).leaving
    assert leaving.request.attempt == 1
    assert len(report(store, number, OK, attempt=1)) == 1


# ---------------------------------------------------------------------------------------------------------
# The files


def test_the_files_of_sqlite_are_for_their_owner_alone_whatever_the_umask(tmp_path):
    former = os.umask(0)
    try:
        opened = OpenStore(f"sqlite:///{tmp_path}/mail.db")
        opened.admit(a_draft())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
        opened.close()
    finally:
        os.umask(former)
    assert modes == dict.fromkeys(("mail.db", "mail.db-wal", "mail.db-shm"), 0o600)


def test_a_store_of_another_version_is_refused_and_left_as_it_is(store):
    assert store.run(check_version) is None
    with store.engine.connect() as connection, connection.begin() as change:
        connection.execute(sa.update(store_version).values(version=VERSION + 1))
        for begin in (check_version, create_tables):
            with pytest.raises(StoreUnusable, match=f"version {VERSION + 1}.* for version {VERSION}") as refused:
                begin(connection)
            assert "Upgrading" in refused.value.cure
        assert connection.execute(sa.select(store_version.c.version)).scalars().all() == [VERSION + 1]
        change.rollback()


def test_a_store_from_before_it_had_a_version_is_of_the_first(store):
    store.run(store_version.drop)
    store.run(create_tables)
    assert store.run(lambda connection: connection.execute(sa.select(store_version.c.version)).scalars().all()) == [1]


def test_sqlite_syncs_each_commit_and_keeps_sixty_four_mebibytes_of_pages(sqlite_url):
    engine = open_engine(sqlite_url)
    with engine.connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "cache_size")]
    engine.dispose()
    assert found == [2, -64 * 1024]  # FULL; KiB
