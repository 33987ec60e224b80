"""The suppression list on SQLite and on PostgreSQL: who gets on it, and what admission makes of it."""

import random
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from services.scheduler import inquiry, recall
from services.scheduler import store as transactions
from services.scheduler.composed import Draft
from services.scheduler.housekeeping import drop_contents
from services.scheduler.outcome_desk import settle_and_tell
from services.scheduler.suppression import (
    add_suppressions,
    forget_suppressions,
    list_suppressions,
    remove_suppressions,
)
from shared.contracts.answers import ReplaceResult, SuppressionsAdded, SuppressionsAnswer
from shared.contracts.commands import (
    AddSuppressions,
    ListSuppressions,
    Release,
    RemoveSuppressions,
    Retract,
    SuppressedAddress,
)
from shared.contracts.words import BounceClass
from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.mail_store.states import State
from shared.mail_store.tables import contents, suppressions
from shared.outcomes import Bounced, Deferred, Delivered, Outcome
from shared.settings import parse_settings
from shared.smtp_reply import Reply, own_verdict
from tests.support.store import NOW, OpenStore, a_draft

AT_ONCE = timedelta(0)
WAYS_OUT = "remove it, or submit with ignore_suppression"
DAY = timedelta(days=1)
HOST = "mx.example [192.0.2.1]:25"
NOBODY = Bounced(Reply(550, "5.1.1", "nobody"), HOST)


def settle(store: OpenStore, *outcomes: tuple[int, Outcome], now: datetime = NOW, **more: Any) -> Any:
    said = tuple(RecipientOutcome(number, 1, outcome) for number, outcome in outcomes)
    settings = parse_settings({"identity": {"helo_name": "robot.example"}, "bounces": "events", **more})
    reports = [OutcomeReport("sender-1", 9, said)]
    return store.run(settle_and_tell, reports, now, settings, 9, random.Random(1))


def refuse(store: OpenStore, address: str, mail: str = "first", **more: Any) -> None:
    """A server says for good that there is no such address."""
    [number] = store.admit_claimed(a_draft(mail, address, hold=AT_ONCE))
    settle(store, (number, NOBODY), **more)


def put(store: OpenStore, address: str, until: datetime | None = None, **more: Any) -> None:
    """An entry of the list, as an operator's."""
    usual = {"bounce_class": "", "code": 0, "enhanced": "", "reply": "asked us to", "mail": "", "author": "ann"}
    row = {**usual, "address": address, "time": NOW, "until": until, **more}
    store.run(lambda c: c.execute(sa.insert(suppressions), [row]))


def listed(store: OpenStore) -> list[Any]:
    return list(store.run(lambda c: c.execute(sa.select(suppressions).order_by(suppressions.c.address)).all()))


def recipients_of(admission: transactions.Admission) -> list[str]:
    return [to.address for mail in admission.admitted for to in mail.recipients]


# ---------------------------------------------------------------------------------------------------------
# Who gets on it


def test_a_final_word_about_an_address_puts_it_on_the_list(store):
    refuse(store, "Ann@y.example")
    [entry] = listed(store)
    assert (entry.address, entry.bounce_class, entry.mail) == ("ann@y.example", "bad_mailbox", "first")
    assert (entry.code, entry.enhanced, entry.reply, entry.author) == (550, "5.1.1", "nobody", "")
    assert (entry.time, entry.until) == (NOW, NOW + 90 * DAY)


@pytest.mark.parametrize(
    "outcome",
    [
        Delivered(Reply(250, "", "ok"), HOST),
        Deferred(Reply(450, "4.1.1", "nobody, for now"), HOST),
        Bounced(Reply(554, "5.7.1", "looks like spam"), HOST),
        Bounced(Reply(552, "5.2.2", "mailbox full"), HOST),
        Bounced(Reply(550, "5.7.26", "no SPF"), HOST),
        Bounced(own_verdict(550, "5.1.2", "no such domain"), ""),  # our own finding, a moment's perhaps
    ],
)
def test_nothing_else_does(store, outcome):
    [number] = store.admit_claimed(a_draft(hold=AT_ONCE))
    settle(store, (number, outcome))
    assert listed(store) == []


def test_what_two_recipients_of_a_mail_are_told_in_the_same_words_condemns_neither(store):
    numbers = store.admit_claimed(a_draft("order-1", "a@y.example", "b@y.example", "c@y.example", hold=AT_ONCE))
    other = Bounced(Reply(550, "5.1.1", "no c here"), HOST)
    settle(store, (numbers[0], NOBODY), (numbers[1], NOBODY), (numbers[2], other))
    assert [entry.address for entry in listed(store)] == ["c@y.example"]


def test_two_mails_that_are_refused_together_make_one_entry(store):
    one, two = store.admit_claimed(a_draft("order-1", hold=AT_ONCE), a_draft("order-2", hold=AT_ONCE))
    settle(store, (one, NOBODY), (two, NOBODY))
    assert [entry.mail for entry in listed(store)] == ["order-2"]


def test_nothing_is_added_when_the_settings_say_so(store):
    refuse(store, "ann@y.example", suppression={"automatic": False})
    assert listed(store) == []


def test_the_settings_say_how_long_it_stays(store):
    refuse(store, "ann@y.example", suppression={"keep": "7d"})
    assert [entry.until for entry in listed(store)] == [NOW + 7 * DAY]


def test_a_later_word_renews_an_entry_but_not_one_that_somebody_made(store):
    put(store, "ann@y.example")
    put(store, "bob@y.example", until=NOW - DAY)
    for address in ("ann@y.example", "bob@y.example"):
        refuse_again = a_draft(f"to-{address}", address, hold=AT_ONCE, ignore_suppression=True)
        [number] = store.admit_claimed(refuse_again)
        settle(store, (number, NOBODY))
    ann, bob = listed(store)
    assert (ann.author, ann.until, ann.reply) == ("ann", None, "asked us to")
    assert (bob.author, bob.until, bob.reply) == ("", NOW + 90 * DAY, "nobody")


def test_an_entry_is_forgotten_when_its_time_is_over(store):
    put(store, "ann@y.example")
    put(store, "bob@y.example", until=NOW)
    put(store, "cyd@y.example", until=NOW + DAY)
    assert not store.run(forget_suppressions, NOW)
    assert [entry.address for entry in listed(store)] == ["ann@y.example", "cyd@y.example"]


def test_many_entries_are_forgotten_some_at_a_time(store):
    for number in range(501):
        put(store, f"r{number}@y.example", until=NOW)
    assert store.run(forget_suppressions, NOW)
    assert store.count(suppressions) == 1
    assert not store.run(forget_suppressions, NOW)
    assert store.count(suppressions) == 0


# ---------------------------------------------------------------------------------------------------------
# What admission makes of it


@pytest.mark.parametrize("hold", [AT_ONCE, timedelta(minutes=5)])
def test_a_suppressed_recipient_is_bounced_from_the_start_and_the_others_go(store, hold):
    refuse(store, "bob@y.example")
    admission = store.admit(a_draft("order-1", "ann@y.example", "bob@y.example", "cyd@y.example", hold=hold))
    assert recipients_of(admission) == ["ann@y.example", "cyd@y.example"]
    [one] = admission.suppressed
    assert (one.draft.id, one.recipient, one.verdict.code, one.verdict.enhanced) == (
        "order-1", "bob@y.example", 550, "5.7.1",
    )  # fmt: skip
    assert one.verdict.text == "on the suppression list since 2026-03-01 (bad_mailbox: 550 5.1.1 nobody); " + WAYS_OUT
    assert not one.verdict.remote
    waiting = State.HELD if hold else State.RELEASING
    assert store.states() == [waiting, waiting, State.BOUNCED]
    row = store.rows()[2]
    assert (row.no > store.rows()[1].no, row.wake, row.attempt, row.since) == (True, None, 0, NOW)
    assert (row.bounce_class, row.reply) == ("suppressed", one.verdict.text)


@pytest.mark.parametrize(
    ("on_the_list", "recipient"),
    [
        ("ann@y.example", "ANN@y.example"),
        ("ann@xn--mller-kva.example", "ann@müller.example"),  # as an address with a local part beyond ASCII has it
    ],
)
def test_an_address_is_the_same_however_it_is_spelt(store, on_the_list, recipient):
    put(store, on_the_list)
    assert [one.recipient for one in store.admit(a_draft("order-1", recipient)).suppressed] == [recipient]


def test_an_entry_whose_time_is_over_stops_nothing(store):
    put(store, "ann@y.example", until=NOW)
    put(store, "bob@y.example", until=NOW + timedelta(seconds=1))
    admission = store.admit(a_draft("order-1", "ann@y.example", "bob@y.example"))
    assert recipients_of(admission) == ["ann@y.example"]


def test_a_mail_may_go_all_the_same_beside_others_that_may_not(store):
    put(store, "ann@y.example")
    admission = store.admit(a_draft("order-1", ignore_suppression=True), a_draft("order-2"))
    assert [mail.draft.id for mail in admission.admitted if mail.recipients] == ["order-1"]
    assert [one.draft.id for one in admission.suppressed] == ["order-2"]


def test_a_mail_to_nobody_else_is_final_loses_its_content_and_its_story_says_why(store):
    put(store, "ann@y.example")
    admission = store.admit(a_draft("order-1", hold=AT_ONCE))
    assert [mail.recipients for mail in admission.admitted] == [()]
    store.run(drop_contents, [one.mail_no for one in admission.suppressed])
    assert store.count(contents) == 0
    story = store.run(inquiry.show, "order-1", NOW)
    [state] = story.recipients
    assert (state.state, state.code, state.bounce_class) == ("bounced", 550, BounceClass.SUPPRESSED)
    assert state.reply == "on the suppression list since 2026-03-01 (asked us to); " + WAYS_OUT
    assert store.run(transactions.next_wake) is None


def test_a_mail_that_comes_twice_is_bounced_once(store):
    put(store, "ann@y.example")
    assert len(store.admit(a_draft("order-1")).suppressed) == 1
    again = store.admit(a_draft("order-1"))
    assert (len(again.duplicates), again.suppressed, len(store.rows())) == (1, [], 1)


def test_thousands_of_recipients_are_asked_about_at_once(store):
    for number in range(0, 3000, 1000):
        put(store, f"r{number}@y.example")
    admission = store.admit(a_draft("order-1", *(f"r{number}@y.example" for number in range(3000))))
    assert [one.recipient for one in admission.suppressed] == ["r0@y.example", "r1000@y.example", "r2000@y.example"]
    assert len(recipients_of(admission)) == 2997


def test_an_empty_list_costs_a_batch_one_statement(store):
    asked: list[str] = []

    class Cursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
            asked.append(str(query))
            return super().execute(query, *arguments, **options)

    def listen(driver: Any, *_: Any) -> None:
        if store.on_postgresql:
            driver.cursor_factory = Cursor
        else:
            driver.set_trace_callback(asked.append)

    sa.event.listen(store.engine, "checkout", listen)
    store.admit(*(a_draft(f"order-{number}") for number in range(50)))
    assert len([statement for statement in asked if "suppressions" in statement]) == 1


def test_nobody_is_told_by_mail(store):
    put(store, "ann@y.example")
    store.admit(a_draft("order-1"))
    assert len(store.run(inquiry.show, "order-1", NOW).recipients) == 1
    assert store.run(inquiry.show, "order-1", NOW).reports == []


def test_a_report_to_a_suppressed_reverse_path_is_bounced_as_well(store):
    put(store, "shop@x.example")
    [number] = store.admit_claimed(a_draft("order-1", hold=AT_ONCE))
    [report] = settle(store, (number, NOBODY), bounces="dsn")[1]
    [one] = report.suppressed
    assert (one.draft.id, one.recipient) == (report.draft.id, "shop@x.example")
    assert store.states(report.draft.id) == [State.BOUNCED]


# ---------------------------------------------------------------------------------------------------------
# What operators do to such a mail


def of_two(store: OpenStore, *more: str) -> Draft:
    """A held mail of which one recipient is suppressed."""
    put(store, "ann@y.example")
    draft = a_draft("order-1", "ann@y.example", *more)
    store.admit(draft)
    return draft


@pytest.mark.parametrize(("others", "result"), [(["bob@y.example"], "retracted"), ([], "too_late")])
def test_the_result_of_a_retract_is_that_of_the_others(store, others, result):
    of_two(store, *others)
    [answer] = store.run(recall.retract, Retract(id="order-1"), NOW, 9).mails
    assert answer.result == result


def test_a_release_lets_out_the_others(store):
    of_two(store, "bob@y.example")
    assert store.run(recall.release, Release(id="order-1"), NOW, 9).released == 1


@pytest.mark.parametrize(
    ("others", "result"), [(["bob@y.example"], ReplaceResult.REPLACED), ([], ReplaceResult.TOO_LATE)]
)
def test_a_mail_is_replaced_as_long_as_others_wait(store, others, result):
    of_two(store, *others)
    new = a_draft("order-1", "ann@y.example", "cyd@y.example", hold=AT_ONCE)
    done = store.run(recall.replace, "order-1", new, "command 1")
    assert done.result is result
    if done.result is ReplaceResult.REPLACED:
        assert done.leaving is not None
        assert [to.address for to in done.leaving.request.envelope.recipients] == ["cyd@y.example"]
        assert [one.recipient for one in done.suppressed] == ["ann@y.example"]


def test_a_replacement_to_suppressed_recipients_alone_does_not_leave(store):
    put(store, "ann@y.example")
    store.admit(a_draft("order-1", "bob@y.example"))
    done = store.run(recall.replace, "order-1", a_draft("order-1", "ann@y.example", hold=AT_ONCE), "command 1")
    assert (done.result, done.leaving) == (ReplaceResult.REPLACED, None)
    assert store.states() == [State.BOUNCED]


# ---------------------------------------------------------------------------------------------------------
# What operators do


def add(store: OpenStore, *addresses: str, reason: str = "", author: str = "ann") -> SuppressionsAdded:
    entries = [SuppressedAddress(address=address, reason=reason) for address in addresses]
    return store.run(add_suppressions, AddSuppressions(entries=entries, author=author), NOW)


def page(store: OpenStore, now: datetime = NOW, **fields: Any) -> SuppressionsAnswer:
    return store.run(list_suppressions, ListSuppressions(**fields), now)


def test_an_operators_entry_says_who_and_why_and_has_no_end(store):
    assert add(store, "Gone@Y.example", reason="asked us to").added == 1
    [line] = page(store).entries
    assert (line.address, line.author, line.reply, line.until) == ("gone@y.example", "ann", "asked us to", None)


def test_an_operators_entry_outlives_what_a_server_had_said(store):
    refuse(store, "gone@y.example")
    add(store, "gone@y.example", reason="asked us to")
    [line] = page(store, NOW + 400 * DAY).entries
    assert (line.reply, line.bounce_class, line.until) == ("asked us to", "", None)


def test_what_is_no_address_is_refused_by_name_and_the_others_are_added(store):
    done = add(store, "one@y.example", "no address", "two@y.example", "ONE@y.example")
    assert done.added == 2
    assert [one.address for one in done.refused] == ["no address"]
    assert [line.address for line in page(store).entries] == ["one@y.example", "two@y.example"]


def test_what_is_removed_gets_mail_again_and_what_was_not_there_is_named(store):
    refuse(store, "gone@y.example")
    answer = store.run(
        remove_suppressions, RemoveSuppressions(addresses=["GONE@y.example", "never@y.example", "no address"])
    )
    assert (answer.removed, answer.unknown) == (1, ["never@y.example", "no address"])
    assert recipients_of(store.admit(a_draft("second", "gone@y.example"))) == ["gone@y.example"]


def test_a_list_comes_in_pages_and_without_what_is_over(store):
    add(store, *(f"r{number}@y.example" for number in range(5)))
    put(store, "over@y.example", until=NOW)
    first = page(store, limit=3)
    second = page(store, limit=3, after=first.next)
    assert [line.address for line in first.entries] == ["r0@y.example", "r1@y.example", "r2@y.example"]
    assert [line.address for line in second.entries] == ["r3@y.example", "r4@y.example"]
    assert second.next is None


@pytest.mark.parametrize(("asked", "found"), [("R1@Y.example", 1), ("r2@y.example", 0), ("no address", 0)])
def test_one_address_can_be_asked_for(store, asked, found):
    add(store, "r1@y.example")
    assert len(page(store, address=asked).entries) == found
