"""Where is my mail: the story of one, pages of many, counts of all, and the settings that were in force."""

import random
from datetime import timedelta

import pytest

from services.scheduler import inquiry, recall
from services.scheduler import store as transactions
from services.scheduler.census import take_census
from services.scheduler.outcome_desk import apply_reports
from shared.contracts.answers import ContentAnswer, SettingsVersion, Story
from shared.contracts.commands import ListMails, Release, Retract, ShowContent
from shared.contracts.words import BounceClass
from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.mail_store.claim import claim
from shared.mail_store.states import State
from shared.outcomes import Bounced, Deferred, Delivered, Outcome, Parked
from shared.settings import Retry
from shared.smtp_reply import Reply
from tests.support.store import NOW, OpenStore, a_draft

AT_ONCE = timedelta(0)
SOON = timedelta(seconds=1)
OK = Delivered(Reply(250, "2.0.0", "queued as 1"), "mx.y.example")
LATER = Deferred(Reply(451, "4.7.1", "greylisted,\ntry again"), "mx.y.example")


def shown(store: OpenStore, mail: str = "order-1") -> Story:
    story = store.run(inquiry.show, mail, NOW)
    assert story is not None
    return story


def steps(store: OpenStore) -> list[tuple[str, int]]:
    return [(step.what, step.attempt) for step in shown(store).steps]


def report(store: OpenStore, number: int, outcome: Outcome, attempt: int = 1, after: timedelta = AT_ONCE) -> None:
    said = OutcomeReport("sender-1", 9, (RecipientOutcome(number, attempt, outcome),))
    store.run(apply_reports, [said], NOW + after, Retry(jitter=0), random.Random(1))


def send(store: OpenStore, number: int, after: timedelta) -> None:
    store.run(transactions.take_due, NOW + after, 10)
    store.run(claim, [number], "sender-1", NOW + after)


# ---------------------------------------------------------------------------------------------------------
# Show


def test_an_unknown_mail_has_no_story(store):
    assert store.run(inquiry.show, "order-1", NOW) is None


def test_the_story_says_what_was_admitted(store):
    store.admit(a_draft("order-1", "ann@y.example", "bob@z.example", batch="march", subject="Größe", urgent=True))
    story = shown(store)
    assert (story.id, story.batch, story.subject, story.priority) == ("order-1", "march", "Größe", "urgent")
    assert (story.sender, story.submitted_by, story.admitted) == ("shop@x.example", "crm", NOW)
    assert story.give_up == NOW + timedelta(minutes=5, days=5)
    assert [(each.address, each.state) for each in story.recipients] == [
        ("ann@y.example", "held"),
        ("bob@z.example", "held"),
    ]
    [step] = story.steps
    assert (step.what, step.revision, step.detail) == ("admitted", 3, "held by the setting sending.hold = 5m")


def test_the_story_of_a_mail_that_was_deferred_and_then_delivered(store):
    [number] = store.admit_claimed(a_draft(hold=AT_ONCE))
    report(store, number, LATER, after=SOON)
    send(store, number, timedelta(minutes=6))
    report(store, number, OK, attempt=2, after=timedelta(minutes=7))
    assert steps(store) == [("admitted", 0), ("deferred", 1), ("released", 2), ("claimed", 2), ("delivered", 2)]
    deferred = shown(store).steps[1]
    assert (deferred.code, deferred.enhanced, deferred.worker, deferred.revision) == (451, "4.7.1", "sender-1", 9)
    assert deferred.next_try == NOW + SOON + timedelta(seconds=90)
    assert deferred.bounce_class is BounceClass.GREYLIST
    delivered = shown(store).steps[-1]
    assert (delivered.host, delivered.reply) == ("mx.y.example", "queued as 1")
    assert shown(store).waits == []


def test_the_story_of_a_mail_in_doubt_says_so(store):
    [number] = store.admit_claimed(a_draft(hold=AT_ONCE))
    report(store, number, Deferred(Reply(451, "4.4.2", "lost"), "mx", in_doubt=True))
    assert shown(store).recipients[0].in_doubt
    assert shown(store).steps[-1].detail == "in doubt: the receiver may have taken it"


def test_the_story_of_a_mail_retracted_before_it_arrived(store):
    store.run(recall.retract, Retract(id="order-1"), NOW, 1)
    [step] = shown(store).steps
    assert (step.what, step.detail) == ("retracted", "before it arrived")
    assert (shown(store).recipients, shown(store).waits) == ([], [])


def test_the_story_tells_of_operators(store):
    store.admit(a_draft())
    store.run(recall.release, Release(id="order-1"), NOW + SOON, 7)
    store.run(recall.replace, "order-1", a_draft("order-1", "new@y.example", at=NOW + 2 * SOON), "command 1")
    store.run(recall.retract, Retract(id="order-1"), NOW + 3 * SOON, 7)
    told = [(step.what, step.recipient) for step in shown(store).steps]
    assert ("released by an operator", "ann@y.example") in told
    assert ("replaced", "ann@y.example") in told
    assert told[-1] == ("retracted", "new@y.example")


@pytest.mark.parametrize(
    ("state", "columns", "sentence"),
    [
        (State.HELD, {}, "held until 2026-03-01T12:05:00+00:00 by the setting sending.hold = 5m"),
        (State.RELEASING, {}, "on its way to a sender since 2026-03-01T12:00:00+00:00; if it was lost there, again at"),
        (State.RELEASED, {}, "on its way to a sender since 2026-03-01T12:00:00+00:00"),
        (State.CLAIMED, {"worker": "sender-7", "claimed": NOW}, "sender-7 is sending it since 2026-03-01T12:00:00"),
        (
            State.DEFERRED,
            {"attempt": 2, "code": 451, "enhanced": "4.7.1", "reply": "try\nagain", "host": "mx.y.example"},
            "deferred; mx.y.example said: 451 4.7.1 try again; attempt 2 follows at 2026-03-01T12:05:00+00:00",
        ),
        (State.DEFERRED, {"code": 451, "reply": "no host"}, "the reason was: 451  no host"),
        (State.DEFERRED, {"reply": "not now"}, "set aside until 2026-03-01T12:05:00+00:00: not now"),
        (
            State.DEFERRED,
            {"reply": "the lane is full", "site": "pillarbox.send.1"},
            "set aside until there is room: the lane is full",
        ),
    ],
)
def test_an_open_recipient_says_why_it_waits(store, state, columns, sentence):
    [mail] = store.admit(a_draft()).admitted
    store.put(mail.recipients[0].no, state=int(state), **columns)
    [why] = shown(store).waits
    assert why.startswith("ann@y.example: ")
    assert sentence in why


@pytest.mark.parametrize(
    ("state", "columns", "sentence"),
    [
        (State.HELD, {}, "due since 2026-03-01T12:00:00+00:00: it goes out after mail that was due before it"),
        (State.DEFERRED, {"reply": "the lane is full"}, "set aside and due since 2026-03-01T12:00:00+00:00: the lane"),
        (State.DEFERRED, {"reply": "the lane is full", "site": "pillarbox.send.1"}, "set aside and due since"),
        (State.DEFERRED, {"attempt": 2, "code": 451}, "attempt 2 is due since 2026-03-01T12:00:00+00:00"),
    ],
)
def test_what_is_due_and_still_there_says_so(store, state, columns, sentence):
    [mail] = store.admit(a_draft(hold=0 * SOON)).admitted
    store.put(mail.recipients[0].no, state=int(state), wake=NOW, **columns)
    [why] = shown(store).waits
    assert sentence in why


@pytest.mark.parametrize("state", [State.DELIVERED, State.BOUNCED, State.RETRACTED])
def test_a_final_recipient_waits_for_nothing(store, state):
    [mail] = store.admit(a_draft()).admitted
    store.put(mail.recipients[0].no, state=int(state), wake=None)
    assert shown(store).waits == []
    assert shown(store).recipients[0].state == state.name.lower()


# ---------------------------------------------------------------------------------------------------------
# List and count


def listed(store: OpenStore, **command) -> tuple[list[str], int | None]:
    asked = ListMails(**command)
    lines, following = store.run(inquiry.list_mails, asked)
    return [line.id for line in lines], following


def test_mails_are_listed_newest_first_and_page_by_page(store):
    store.admit(*(a_draft(f"order-{n}", "ann@y.example", "bob@z.example") for n in range(5)))
    assert listed(store) == (["order-4", "order-3", "order-2", "order-1", "order-0"], None)
    first, following = listed(store, limit=2)
    second, after = listed(store, limit=2, before=following)
    third, end = listed(store, limit=2, before=after)
    assert (first, second, third, end) == (["order-4", "order-3"], ["order-2", "order-1"], ["order-0"], None)
    assert listed(store, before=0) == ([], None)
    assert listed(store, before=2**63 - 1, limit=1)[0] == ["order-4"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ({"batch": "march"}, ["m2", "m1"]),
        ({"recipient": "bob@z.example"}, ["a1", "m1"]),
        ({"id": "m1"}, ["m1"]),
        ({"state": "deferred"}, ["m2"]),
        ({"state": "held", "batch": "march"}, ["m1"]),
        ({"submitted_by": "shop"}, ["a1"]),
        ({"submitted_by": "shop", "batch": "march"}, []),
        ({"sender": "ann@x.example"}, ["m2"]),
        ({"sender": ""}, []),
        ({"since": NOW + timedelta(hours=1)}, ["a1"]),
        ({"since": NOW, "until": NOW + timedelta(hours=1)}, ["m2", "m1"]),
        ({"state": "delivered"}, []),
        ({"batch": "may"}, []),
    ],
)
def test_a_list_shows_what_was_asked_for(store, command, expected):
    admission = store.admit(
        a_draft("m1", "ann@y.example", "bob@z.example", batch="march"),
        a_draft("m2", "ann@y.example", batch="march", reverse_path="ann@x.example"),
        a_draft("a1", "bob@z.example", batch="april", submitted_by="shop", at=NOW + timedelta(hours=1)),
    )
    store.put(admission.admitted[1].recipients[0].no, state=int(State.DEFERRED))
    assert listed(store, **command)[0] == expected


def test_a_line_shows_all_recipients_of_its_mail(store):
    store.admit(a_draft("m1", "ann@y.example", "bob@z.example"))
    asked = ListMails(recipient="bob@z.example")
    [line], _ = store.run(inquiry.list_mails, asked)
    assert [each.address for each in line.recipients] == ["ann@y.example", "bob@z.example"]
    assert line.recipients[0].next_try == NOW + timedelta(minutes=5)


def test_open_recipients_are_counted_by_their_state(store):
    admission = store.admit(*(a_draft(f"order-{n}", "ann@y.example", "bob@z.example") for n in range(3)))
    numbers = [to.no for mail in admission.admitted for to in mail.recipients]
    store.put(numbers[0], state=int(State.CLAIMED))
    store.put(numbers[1], state=int(State.DEFERRED))
    store.put(numbers[2], state=int(State.DELIVERED), wake=None)
    counts = {"held": 3, "releasing": 0, "released": 0, "claimed": 1, "deferred": 1, "in_doubt": 0}
    assert store.run(take_census, NOW).states == counts


def test_the_content_is_there_until_it_is_dropped(store):
    store.admit(a_draft(content=b"octets"))
    assert store.run(inquiry.content_part, ShowContent(id="order-1")) == ContentAnswer(content=b"octets", size=6)
    assert store.run(inquiry.content_part, ShowContent(id="order-2")) == ContentAnswer(content=None, size=0)


def test_the_content_is_given_in_parts(store):
    store.admit(a_draft(content=b"octets\0\xff"))
    parts = [store.run(inquiry.content_part, ShowContent(id="order-1", offset=at, limit=3)) for at in (0, 3, 6, 9)]
    assert parts == [ContentAnswer(content=part, size=8) for part in (b"oct", b"ets", b"\0\xff", b"")]


# ---------------------------------------------------------------------------------------------------------
# Settings


def version(revision: int, author: str = "ann") -> SettingsVersion:
    return SettingsVersion(
        revision=revision, time=NOW, author=author, comment="größer", settings={"tls": "none"}, restores=None
    )


def test_each_settings_document_is_kept_once_under_its_revision(store):
    for revision in (0, 1, 3):
        store.run(inquiry.keep_settings, version(revision))
    store.run(inquiry.keep_settings, version(1, author="somebody else"))  # read again at a start
    assert store.run(inquiry.settings_versions, None, 2) == [version(3), version(1)]
    assert store.run(inquiry.settings_versions, 1, 1) == [version(1)]
    assert store.run(inquiry.settings_versions, 2, 1) == []
    assert len(store.run(inquiry.settings_versions, None, 100)) == 3


def test_a_bounced_mail_shows_the_reply_that_bounced_it(store):
    [number] = store.admit_claimed(a_draft(hold=AT_ONCE))
    report(store, number, Bounced(Reply(550, "5.1.1", "no such user"), "mx.y.example"))
    [state] = shown(store).recipients
    assert (state.state, state.code, state.enhanced, state.reply) == ("bounced", 550, "5.1.1", "no such user")
    assert steps(store)[-1] == ("bounced", 1)


def test_a_parked_attempt_is_no_step_of_the_story(store):
    [number] = store.admit_claimed(a_draft(hold=AT_ONCE))
    report(store, number, Parked("the lane is full", 2))
    assert steps(store) == [("admitted", 0)]
