"""Reports to reverse-paths, in the mail store, on SQLite and on PostgreSQL: made with the outcome, once, or not."""

import random
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from services.scheduler import inquiry, recall
from services.scheduler import store as transactions
from services.scheduler.composed import Draft
from services.scheduler.housekeeping import drop_contents
from services.scheduler.outcome_desk import settle_and_tell
from services.scheduler.reporting import Report
from shared.contracts.commands import Retract, ShowContent
from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.mail_store.states import State
from shared.mail_store.tables import contents, mails
from shared.outcomes import Bounced, Deferred, Delivered, Outcome, Parked
from shared.settings import Settings, parse_settings
from shared.sites import Asked, WentDown, exchange
from shared.smtp_reply import Reply, own_verdict
from tests.support.store import NOW, OpenStore, a_draft

USUAL: dict[str, Any] = {"identity": {"helo_name": "robot.example"}, "retry": {"jitter": 0}}
UNKNOWN = Bounced(Reply(550, "5.1.1", "nobody"), "mx.example [192.0.2.1]:25")
FULL = Deferred(Reply(450, "4.2.2", "full"), "mx.example [192.0.2.1]:25")
OK = Delivered(Reply(250, "", "ok"), "mx.example [192.0.2.1]:25")
HOUR = timedelta(hours=1)


def settings(**more: Any) -> Settings:
    return parse_settings({**USUAL, **more})


def settle(
    store: OpenStore, *outcomes: tuple[int, Outcome], attempt: int = 1, now: datetime = NOW, **more: Any
) -> list[Report]:
    said = tuple(RecipientOutcome(number, attempt, outcome) for number, outcome in outcomes)
    reports = [OutcomeReport("sender-1", 9, said)]
    return store.run(settle_and_tell, reports, now, settings(**more), 9, random.Random(1))[1]


def a_mail(id: str = "order-1", *to: str, path: str = "shop@x.example", **more: Any) -> Draft:
    """A mail that goes at once."""
    draft = a_draft(id, *to, **{"hold": timedelta(0), **more})
    return msgspec.structs.replace(draft, composed=msgspec.structs.replace(draft.composed, reverse_path=path))


def report_count(store: OpenStore) -> int:
    return int(
        store.run(lambda c: c.execute(sa.select(sa.func.count()).where(mails.c.reverse_path == "")).scalar_one())
    )


@pytest.mark.checklist(151)
def test_a_refusal_makes_a_mail_to_the_reverse_path_that_goes_at_once(store: OpenStore):
    [number] = store.admit_claimed(a_mail())

    [report] = settle(store, (number, UNKNOWN))

    assert report.draft.id == f"dsn.order-1.{number}"
    due = store.run(transactions.take_due, NOW + timedelta(seconds=1), 10)
    [leaving] = due.leaving
    envelope = leaving.request.envelope
    assert (envelope.mail, envelope.reverse_path, envelope.notify) == (report.draft.id, "", "never")
    assert [recipient.address for recipient in envelope.recipients] == ["shop@x.example"]
    content = store.run(inquiry.content_part, ShowContent(id=report.draft.id)).content or b""
    assert b"From: shop@x.example" in content
    assert b"Final-Recipient: rfc822; ann@y.example" in content


def test_the_same_outcome_again_makes_no_second_one(store: OpenStore):
    [number] = store.admit_claimed(a_mail())

    assert len(settle(store, (number, UNKNOWN))) == 1
    assert settle(store, (number, UNKNOWN)) == []
    assert report_count(store) == 1


def test_recipients_refused_together_are_in_one_report_and_later_ones_in_another(store: OpenStore):
    numbers = store.admit_claimed(a_mail("order-1", "a@y.example", "b@y.example", "c@y.example", "d@y.example"))
    [other] = store.admit_claimed(a_mail("order-2"))

    first = settle(store, (numbers[0], UNKNOWN), (other, UNKNOWN), (numbers[1], UNKNOWN), (numbers[2], OK))
    second = settle(store, (numbers[3], UNKNOWN))

    assert [(report.about, report.recipients) for report in first] == [("order-1", 2), ("order-2", 1)]
    assert [report.draft.id for report in second] == [f"dsn.order-1.{numbers[3]}"]


@pytest.mark.checklist(151, 152)
def test_nobody_is_told_of_a_mail_from_the_null_reverse_path(store: OpenStore):
    [number] = store.admit_claimed(a_mail(path=""))
    assert settle(store, (number, UNKNOWN)) == []


@pytest.mark.checklist(152)
def test_a_report_that_is_refused_makes_no_other(store: OpenStore):
    [number] = store.admit_claimed(a_mail())
    [report] = settle(store, (number, UNKNOWN))
    [row] = store.rows(report.draft.id)
    store.put(row.no, state=int(State.CLAIMED), worker="sender-1")

    assert settle(store, (row.no, UNKNOWN)) == []
    assert store.states(report.draft.id) == [State.BOUNCED]


@pytest.mark.checklist(152)
def test_a_report_of_others_that_is_refused_makes_no_other(store: OpenStore):
    content = (
        b"From: a@x.example\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b--\r\n"
    )
    [number] = store.admit_claimed(a_mail(content=content))
    assert settle(store, (number, UNKNOWN)) == []


def test_with_events_alone_no_mail_is_made(store: OpenStore):
    [number] = store.admit_claimed(a_mail())
    assert settle(store, (number, UNKNOWN), bounces="events") == []
    assert store.states() == [State.BOUNCED]


@pytest.mark.checklist(157)
@pytest.mark.parametrize(
    ("notify", "failure", "delay"),
    [
        ("", True, True),
        ("never", False, False),
        ("failure", True, False),
        ("delay", False, True),
        ("success", False, False),
        ("success,failure,delay", True, True),
    ],
)
def test_the_mail_says_of_what_its_reverse_path_is_told(store: OpenStore, notify: str, failure: bool, delay: bool):
    refused, waiting = store.admit_claimed(a_mail("order-1", "a@y.example", "b@y.example", notify=notify))
    told = settle(store, (refused, UNKNOWN), (waiting, FULL), now=NOW + HOUR, delay_notice="1h")
    assert [report.action for report in told] == ["failed"] * failure + ["delayed"] * delay


@pytest.mark.checklist(157)
def test_a_delay_is_told_once_for_each_recipient_and_not_unless_it_is_set(store: OpenStore):
    def try_in_vain(attempt: int, after: timedelta, **more: Any) -> list[Report]:
        store.put(number, state=int(State.CLAIMED), worker="sender-1", attempt=attempt)
        return settle(store, (number, FULL), attempt=attempt, now=NOW + after, **more)

    [number] = store.admit_claimed(a_mail())

    assert try_in_vain(1, 9 * HOUR) == []
    assert try_in_vain(2, HOUR, delay_notice="2h") == []
    [report] = try_in_vain(3, 2 * HOUR, delay_notice="2h")
    assert try_in_vain(4, 9 * HOUR, delay_notice="2h") == []

    assert report.draft.id == f"delay.order-1.{number}"
    assert b"Action: delayed\r\nStatus: 4.2.2\r\n" in report.draft.composed.content


@pytest.mark.checklist(157)
def test_the_time_of_a_hold_is_no_delay(store: OpenStore):
    [number] = store.admit_released(a_mail(hold=5 * HOUR))
    store.put(number, state=int(State.CLAIMED), worker="sender-1")
    assert settle(store, (number, FULL), now=NOW + 6 * HOUR, delay_notice="2h") == []


@pytest.mark.checklist(157)
def test_mail_that_is_set_aside_without_a_try_is_late_as_well(store: OpenStore):
    [number] = store.admit_claimed(a_mail())
    [report] = settle(store, (number, Parked("no room", 1.0)), now=NOW + 2 * HOUR, delay_notice="2h")
    assert b"Status: 4.0.0\r\n" in report.draft.composed.content


@pytest.mark.checklist(155, 156)
def test_what_is_given_up_is_reported_with_the_last_answer(store: OpenStore):
    [number] = store.admit_claimed(a_mail())
    [report] = settle(store, (number, FULL), now=NOW + timedelta(days=6))
    content = report.draft.composed.content
    assert b"Status: 4.4.7\r\nRemote-MTA: dns; mx.example\r\nDiagnostic-Code: smtp; 450 4.2.2 full\r\n" in content


@pytest.mark.checklist(145)
@pytest.mark.parametrize(("give_up", "expected"), [("5d", 2), ("1d", 1)])
def test_a_report_is_given_up_sooner_than_mail(store: OpenStore, give_up: str, expected: int):
    [number] = store.admit_claimed(a_mail())
    [report] = settle(store, (number, UNKNOWN), retry={"give_up": give_up})
    assert report.draft.give_up - report.draft.due == timedelta(days=expected)


@pytest.mark.parametrize(
    ("ret", "size", "kind"),
    [
        ("", 100, b"text/rfc822-headers"),
        ("hdrs", 100, b"text/rfc822-headers"),
        ("full", 100, b"message/rfc822"),
        ("full", 2_000_000, b"text/rfc822-headers"),  # too much to be sent back
    ],
)
@pytest.mark.checklist(153)
def test_the_mail_says_what_is_returned(store: OpenStore, ret: str, size: int, kind: bytes):
    content = b"From: shop@x.example\r\n\r\n" + b"text \r\n" * (size // 7)
    [number] = store.admit_claimed(a_mail(content=content, ret=ret))
    [report] = settle(store, (number, UNKNOWN))
    assert b"Content-Type: " + kind in report.draft.composed.content


def test_a_very_long_header_is_cut_at_a_line(store: OpenStore):
    content = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 90) for number in range(2000)) + b"\r\ntext\r\n"
    [number] = store.admit_claimed(a_mail(content=content))
    [report] = settle(store, (number, UNKNOWN))
    report_of = report.draft.composed.content
    assert len(report_of) < 70_000
    assert b"x" * 90 + b"\r\n\r\n--=_" in report_of


@pytest.mark.checklist(155)
@pytest.mark.parametrize(
    ("why", "diagnosis"),
    [
        (Reply(421, "4.7.0", "later"), b"Remote-MTA: dns; mx.example\r\nDiagnostic-Code: smtp; 421 4.7.0 later\r\n"),
        (own_verdict(451, "4.4.1", "no connection"), b""),
    ],
)
def test_of_a_site_that_stays_down_only_what_it_said_is_a_diagnosis(store: OpenStore, why: Reply, diagnosis: bytes):
    host = "mx.example [192.0.2.1]:25"
    store.run(exchange, [], [Asked("mx:y", 3)], "sender-1", NOW, lambda _: HOUR)
    store.run(exchange, [WentDown("mx:y", why, host, 3, NOW)], [], "sender-1", NOW, lambda _: HOUR)
    [number] = store.admit_released(a_mail())

    [report] = settle(store, (number, Parked("it is down", site="mx:y")), now=NOW + timedelta(days=6))

    content = report.draft.composed.content
    assert b"Status: 4.4.7\r\n" + diagnosis + b"Last-Attempt-Date" in content


def test_without_the_content_there_is_a_report_all_the_same(store: OpenStore):
    [number] = store.admit_claimed(a_mail())
    store.run(lambda c: c.execute(sa.delete(contents)))
    assert len(settle(store, (number, UNKNOWN))) == 1


def test_show_tells_of_a_report_and_a_report_of_its_mail(store: OpenStore):
    [number] = store.admit_claimed(a_mail())
    [report] = settle(store, (number, UNKNOWN))

    story = store.run(inquiry.show, "order-1", NOW)
    other = store.run(inquiry.show, report.draft.id, NOW)

    assert story is not None
    assert other is not None
    assert (story.reports, story.about) == ([report.draft.id], "")
    assert (other.reports, other.about) == ([], "order-1")
    assert [step.detail for step in story.steps if step.what == "reported"] == [report.draft.id]


def test_a_mail_that_was_taken_back_is_not_reported(store: OpenStore):
    numbers = store.admit_released(a_mail())
    store.run(recall.retract, Retract(id="order-1"), NOW, 9)
    assert settle(store, (numbers[0], UNKNOWN)) == []


def test_a_claim_of_a_dead_sender_that_is_given_up_is_reported(store: OpenStore):
    [number] = store.admit_claimed(a_mail())
    lost = Deferred(own_verdict(451, "4.3.0", "the sender died"), in_doubt=True)
    [report] = settle(store, (number, lost), now=NOW + timedelta(days=6))
    assert b"Diagnostic-Code" not in report.draft.composed.content


def test_the_content_of_a_reported_mail_is_dropped_as_usual(store: OpenStore):
    [number] = store.admit_claimed(a_mail())
    settle(store, (number, UNKNOWN))
    [row] = store.rows()
    store.run(drop_contents, [row.mail])
    assert store.run(inquiry.content_part, ShowContent(id="order-1")).content is None


def test_a_thousand_refusals_are_reported_in_a_moment(store: OpenStore):
    """Held by the number of statements: a time would break on a busy machine."""
    numbers = store.admit_claimed(*(a_mail(f"order-{number}") for number in range(1000)))
    statements: list[str] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))

    told = settle(store, *((number, UNKNOWN) for number in numbers))

    assert len(told) == 1000
    assert len(statements) < 40
