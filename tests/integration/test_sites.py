"""Sites that are down, in the mail store, on SQLite and on PostgreSQL: who probes, who waits, and who goes when."""

import random
from datetime import datetime, timedelta

import pytest

from services.scheduler import inquiry, recall, sites
from services.scheduler import store as transactions
from services.scheduler.outcome_desk import apply_reports
from services.scheduler.outcomes import Change
from shared.contracts.commands import ListSites, Release, Retract
from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.mail_store.claim import claim
from shared.mail_store.states import State
from shared.mail_store.tables import sites as sites_table
from shared.outcomes import Deferred, Delivered, Outcome, Parked
from shared.settings import Retry
from shared.sites import (
    KNOWN_FOR,
    PROBE_LEASE,
    Answer,
    Asked,
    CameUp,
    Closed,
    Left,
    News,
    Open,
    Probe,
    Site,
    SiteState,
    Wait,
    WentDown,
    exchange,
    keep_up,
    read_sites,
)
from shared.smtp_reply import Reply
from tests.support.store import NOW, OpenStore, a_draft

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
RETRY = Retry(jitter=0)
REFUSED = Reply(421, "4.7.0", "come back later")
PAUSED = Parked("it is down", site="mx:y")
OK = Delivered(Reply(250, "2.0.0", "queued"), "mx")


def pause_after(failures: int) -> timedelta:
    return failures * MINUTE


def ask(store: OpenStore, *names: str, worker: str = "sender-1", now: datetime = NOW) -> dict[str, Answer]:
    return store.run(exchange, [], [Asked(name, 3) for name in names], worker, now, pause_after)


def tell(store: OpenStore, news: News, worker: str = "sender-1", now: datetime = NOW) -> None:
    store.run(exchange, [news], [], worker, now, pause_after)


def go_down(store: OpenStore, name: str = "mx:y", now: datetime = NOW) -> None:
    """A probe in vain: until a minute later."""
    assert isinstance(ask(store, name, now=now)[name], Probe)
    tell(store, WentDown(name, REFUSED, "mx [192.0.2.1]:25", 3, now), now=now)


def known(store: OpenStore, name: str = "mx:y") -> Site:
    return store.run(read_sites, [name])[name]


def report(store: OpenStore, outcome: Outcome, *numbers: int, now: datetime = NOW) -> list[Change]:
    said = tuple(RecipientOutcome(number, 1, outcome) for number in numbers)
    return store.run(apply_reports, [OutcomeReport("sender-1", 9, said)], now, RETRY, random.Random(1))


def waiting(store: OpenStore, count: int, now: datetime = NOW) -> list[int]:
    """Mails that wait for a site which is down."""
    drafts = [a_draft(f"order-{n}", hold=timedelta(0)) for n in range(count)]
    numbers = store.admit_released(*drafts)
    assert len(report(store, PAUSED, *numbers, now=now)) == count
    return numbers


def tend(store: OpenStore, now: datetime, revision: int = 3) -> int:
    return store.run(sites.tend, now, revision).released


def taken(store: OpenStore, now: datetime) -> list[int]:
    due = store.run(transactions.take_due, now, 5000)
    return [to.no for leaving in due.leaving for to in leaving.request.envelope.recipients]


# ---------------------------------------------------------------------------------------------------------
# Senders


@pytest.mark.checklist(147)
def test_one_sender_probes_a_site_that_nobody_knows_and_the_others_wait_for_what_it_finds(store: OpenStore):
    assert ask(store, "mx:y", "mx:z") == {"mx:y": Probe(False), "mx:z": Probe(False)}
    assert ask(store, "mx:y", "mx:z", worker="sender-2") == {"mx:y": Wait(), "mx:z": Wait()}
    store.run(exchange, [CameUp("mx:y"), WentDown("mx:z", REFUSED, "", 3, NOW)], [], "sender-1", NOW, pause_after)
    assert ask(store, "mx:y", "mx:z", worker="sender-2") == {"mx:y": Open(), "mx:z": Closed()}


def test_news_count_before_the_questions_that_come_with_them(store: OpenStore):
    ask(store, "mx:y")
    answers = store.run(exchange, [CameUp("mx:y")], [Asked("mx:y", 3)], "sender-1", NOW, pause_after)
    assert answers == {"mx:y": Open()}


@pytest.mark.checklist(144, 147)
def test_a_site_that_is_down_is_probed_at_growing_intervals_by_one_sender_alone(store: OpenStore):
    now, pauses = NOW, []
    go_down(store)
    for _ in range(3):
        assert ask(store, "mx:y", worker="sender-2", now=now + SECOND) == {"mx:y": Closed()}
        until = known(store).until
        assert until is not None
        pauses.append(until - now)
        now = until
        assert ask(store, "mx:y", now=now) == {"mx:y": Probe(True)}
        assert ask(store, "mx:y", worker="sender-2", now=now) == {"mx:y": Closed()}
        tell(store, WentDown("mx:y", REFUSED, "", 3, now), now=now)
    assert pauses == [MINUTE, 2 * MINUTE, 3 * MINUTE]
    assert known(store).since == NOW


def test_the_lease_of_a_sender_that_died_runs_out_and_that_of_a_living_one_does_not(store: OpenStore):
    ask(store, "mx:y", "mx:z")
    later = NOW + PROBE_LEASE
    store.run(keep_up, [], ["mx:y"], [], "sender-1", later - SECOND)
    assert ask(store, "mx:y", "mx:z", worker="sender-2", now=later) == {"mx:y": Wait(), "mx:z": Probe(False)}
    store.run(keep_up, [], ["mx:z"], [], "sender-1", later)  # it was only slow; the lease is another's now
    assert known(store, "mx:z").prober == "sender-2"


def test_a_site_in_use_stays_known_and_one_that_is_not_used_is_forgotten(store: OpenStore):
    for name in ("mx:y", "mx:z"):
        ask(store, name)
        tell(store, CameUp(name))
    later = NOW + KNOWN_FOR
    assert store.run(keep_up, ["mx:y"], [], ["mx:y"], "sender-1", later) == set()
    assert ask(store, "mx:y", "mx:z", now=later) == {"mx:y": Open(), "mx:z": Probe(False)}


def test_a_sender_learns_which_of_the_sites_it_uses_have_gone_down(store: OpenStore):
    go_down(store)
    ask(store, "mx:z")
    assert store.run(keep_up, ["mx:y", "mx:z", "mx:never-heard-of"], [], ["mx:y"], "sender-2", NOW) == {"mx:y"}
    assert known(store).worked is None  # what is down does not work


def test_many_sites_are_asked_for_at_once(store: OpenStore):
    names = [f"mx:{n}" for n in range(1500)]
    assert set(ask(store, *names).values()) == {Probe(False)}
    assert set(ask(store, *names, worker="sender-2").values()) == {Wait()}


# ---------------------------------------------------------------------------------------------------------
# Mail


@pytest.mark.checklist(147)
def test_a_thousand_mails_of_a_site_that_is_down_wait_for_one_probe_and_all_go_when_it_is_up(store: OpenStore):
    go_down(store)
    numbers = waiting(store, 1000)
    assert {row.attempt for row in store.rows("order-7")} == {1}
    assert (tend(store, NOW + SECOND), taken(store, NOW + SECOND)) == (0, [])

    now = known(store).until
    assert now is not None
    assert tend(store, now) == 1
    [probing] = taken(store, now)
    assert (tend(store, now), taken(store, now)) == (0, [])  # it is on its way
    assert ask(store, "mx:y", now=now) == {"mx:y": Probe(True)}
    assert tend(store, now) == 0  # a sender has it

    tell(store, CameUp("mx:y"), now=now)
    assert tend(store, now) == 999
    assert tend(store, now) == 0
    assert {probing, *taken(store, now)} == set(numbers)
    assert not known(store).lets_go


def test_a_mail_that_comes_back_after_its_site_came_up_goes_again_at_once(store: OpenStore):
    go_down(store)
    numbers = store.admit_released(a_draft(hold=timedelta(0)))
    ask(store, "mx:y", now=NOW + MINUTE)
    tell(store, CameUp("mx:y"), now=NOW + MINUTE)
    [change] = report(store, PAUSED, *numbers, now=NOW + MINUTE)
    assert (change.site, change.wake) == (None, NOW + MINUTE + SECOND)
    assert taken(store, NOW + MINUTE + SECOND) == numbers


def test_a_mail_for_the_probe_that_never_arrives_is_followed_by_another(store: OpenStore):
    go_down(store)
    first, second, _ = waiting(store, 3)
    assert [tend(store, NOW + MINUTE), taken(store, NOW + MINUTE)] == [1, [first]]
    store.run(recall.retract, Retract(id="order-0"), NOW + MINUTE, 3)
    assert tend(store, NOW + 2 * MINUTE) == 0
    assert [tend(store, NOW + 3 * MINUTE), taken(store, NOW + 3 * MINUTE)] == [1, [second]]


def test_a_new_settings_revision_probes_at_once_and_the_same_one_does_not(store: OpenStore):
    go_down(store)
    [number] = waiting(store, 1)
    assert tend(store, NOW + SECOND, revision=3) == 0
    assert [tend(store, NOW + SECOND, revision=4), taken(store, NOW + SECOND)] == [1, [number]]
    assert ask(store, "mx:y", now=NOW + SECOND) == {
        "mx:y": Probe(True)
    }  # routed under revision 3: let out all the same


def test_a_release_by_an_operator_probes_at_once(store: OpenStore):
    go_down(store)
    first, *_ = waiting(store, 3)
    assert store.run(recall.release, Release(id="order-0"), NOW + SECOND, 3).released == 1
    assert taken(store, NOW + SECOND) == [first]
    assert ask(store, "mx:y", now=NOW + SECOND) == {"mx:y": Probe(True)}


def test_a_mail_that_waits_for_its_site_is_retracted_as_any_other(store: OpenStore):
    go_down(store)
    waiting(store, 2)
    [answer] = store.run(recall.retract, Retract(id="order-0"), NOW, 3).mails
    assert answer.result.value == "retracted"
    tell(store, CameUp("mx:y"))
    ask(store, "mx:y", now=NOW + MINUTE)
    tell(store, CameUp("mx:y"), now=NOW + MINUTE)
    assert tend(store, NOW + MINUTE) == 1
    assert store.states("order-0") == [State.RETRACTED]


@pytest.mark.checklist(150)
def test_a_mail_whose_time_is_over_while_its_site_is_down_expires_with_the_sites_last_reply(store: OpenStore):
    go_down(store)
    numbers = store.admit_released(a_draft(hold=timedelta(0), give_up=NOW + MINUTE / 2))
    report(store, PAUSED, *numbers)
    end = NOW + MINUTE / 2
    assert taken(store, end) == numbers  # a last look: its route may be another one by now
    [change] = report(store, PAUSED, *numbers, now=end)
    assert (change.state, change.reply.enhanced, change.host) == (State.BOUNCED, "4.4.7", "mx [192.0.2.1]:25")
    assert change.reply.text.endswith("the last reply was: 421 4.7.0 come back later")


@pytest.mark.checklist(25)
def test_the_route_of_waiting_mail_is_looked_up_again_every_few_hours(store: OpenStore):
    go_down(store)
    numbers = waiting(store, 2)
    assert taken(store, NOW + timedelta(hours=2)) == numbers


def test_when_the_mail_for_the_probe_was_delivered_elsewhere_the_others_look_for_themselves(store: OpenStore):
    go_down(store)
    first, *others = waiting(store, 3)
    tend(store, NOW + MINUTE)
    taken(store, NOW + MINUTE)
    store.run(claim, [first], "sender-1", NOW + MINUTE + SECOND)
    report(store, OK, first, now=NOW + MINUTE + SECOND)
    assert tend(store, NOW + MINUTE + SECOND) == 2
    assert taken(store, NOW + MINUTE + SECOND) == others
    assert ask(store, "mx:y", now=NOW + MINUTE + SECOND) == {"mx:y": Probe(False)}


def test_mail_that_was_under_way_when_its_site_went_down_ends_no_pause(store: OpenStore):
    go_down(store)
    first, *_ = waiting(store, 3)
    store.put(first, state=int(State.CLAIMED), worker="sender-1", claimed=NOW)
    report(store, OK, first, now=NOW + SECOND)
    assert (known(store).state, tend(store, NOW + SECOND)) == (SiteState.DOWN, 0)


@pytest.mark.checklist(149)
def test_a_reply_to_one_mail_says_nothing_of_its_site(store: OpenStore):
    ask(store, "mx:y")
    tell(store, CameUp("mx:y"))
    [number] = store.admit_claimed(a_draft(hold=timedelta(0)))
    report(store, Deferred(Reply(451, "4.7.1", "greylisted"), "mx"), number)
    assert (known(store).state, store.rows()[0].site) == (SiteState.UP, None)


# ---------------------------------------------------------------------------------------------------------
# What is told


def test_the_sites_that_are_down_are_listed_with_how_many_wait(store: OpenStore):
    go_down(store)
    go_down(store, "mx:z")
    tell(store, CameUp("mx:works"))
    waiting(store, 3)
    first, second = store.run(sites.list_sites, NOW, ListSites())
    assert (first.site, first.waiting, second.site, second.waiting) == ("mx:y", 3, "mx:z", 0)
    assert (first.since, first.next_probe, first.failures) == (NOW, NOW + MINUTE, 1)
    assert (first.host, first.code, first.reply) == ("mx [192.0.2.1]:25", 421, "come back later")
    assert store.run(sites.tend, NOW, 3).down == 2


def test_all_sites_are_listed_those_that_are_down_first_then_those_that_worked_last(store: OpenStore):
    tell(store, CameUp("mx:first"))
    tell(store, CameUp("mx:last"), now=NOW + MINUTE)
    ask(store, "mx:new")
    go_down(store)
    listed = store.run(sites.list_sites, NOW, ListSites(all=True))
    assert [(site.site, site.state, site.worked) for site in listed] == [
        ("mx:y", "down", None),
        ("mx:last", "up", NOW + MINUTE),
        ("mx:first", "up", NOW),
        ("mx:new", "unknown", None),
    ]
    assert len(store.run(sites.list_sites, NOW, ListSites(all=True, limit=2))) == 2


def test_show_says_which_site_is_waited_for_and_why(store: OpenStore):
    go_down(store)
    waiting(store, 1)
    story = store.run(inquiry.show, "order-0", NOW)
    assert story is not None
    [sentence] = story.waits
    assert "its site mx:y has been down since 2026-03-01T12:00:00+00:00" in sentence
    assert "421 4.7.0 come back later; next probe at 2026-03-01T12:01:00+00:00" in sentence
    [step] = [step for step in story.steps if step.what == "deferred"]
    assert (step.next_try, step.detail) == (NOW + MINUTE, "mx:y is down: no attempt is counted")


def test_sites_that_nobody_uses_or_waits_for_are_forgotten(store: OpenStore):
    go_down(store)
    waiting(store, 1)
    go_down(store, "mx:deserted")
    ask(store, "mx:idle")
    tell(store, CameUp("mx:idle"))
    tell(store, Left("mx:idle"))
    store.run(sites.forget_sites, NOW + timedelta(minutes=59))
    assert store.count(sites_table) == 3
    store.run(sites.forget_sites, NOW + timedelta(minutes=62))
    assert store.run(read_sites, ["mx:y", "mx:deserted", "mx:idle"]).keys() == {"mx:y"}
