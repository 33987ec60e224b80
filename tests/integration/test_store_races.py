"""Several hands reach for the same recipients at once: each ends in exactly one of them."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from services.scheduler import recall, sites
from services.scheduler import store as transactions
from services.scheduler.outcome_desk import apply_reports, settle_and_tell
from services.scheduler.outcomes import Change
from services.scheduler.reporting import Report
from shared.contracts.answers import ReplaceResult, RetractResult
from shared.contracts.commands import Retract
from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.mail_store.claim import claim
from shared.mail_store.states import State
from shared.outcomes import Bounced, Delivered, Parked
from shared.settings import Retry, Settings
from shared.sites import Asked, CameUp, WentDown, exchange
from shared.smtp_reply import Reply
from tests.support.store import NOW, OpenStore, a_draft

AT_ONCE = timedelta(0)
ROUNDS = 40


@pytest.fixture
def hands(store: OpenStore) -> Iterator[Callable[..., list[Any]]]:
    """Runs functions at the same moment, each in a thread with a store of its own; gives their results."""
    stores = [OpenStore(store.url) for _ in range(3)]
    with ThreadPoolExecutor(len(stores)) as threads:

        def together(*functions: Callable[[OpenStore], Any]) -> list[Any]:
            start = threading.Barrier(len(functions))

            def run(function: Callable[[OpenStore], Any], own: OpenStore) -> Any:
                start.wait()
                return function(own)

            tasks = [threads.submit(run, function, own) for function, own in zip(functions, stores, strict=False)]
            return [task.result() for task in tasks]

        yield together
    for one in stores:
        one.close()


def released(store: OpenStore, round_: int, count: int = 8) -> tuple[list[str], list[int]]:
    ids = [f"order-{round_}-{n}" for n in range(count)]
    return ids, store.admit_released(*(a_draft(id, f"{id}@y.example", hold=AT_ONCE) for id in ids))


def report(store: OpenStore, outcomes: list[RecipientOutcome]) -> list[Change]:
    reports = [OutcomeReport("sender-1", 1, tuple(outcomes))]
    return store.run(apply_reports, reports, NOW, Retry(), random.Random(1))


def test_every_recipient_is_either_claimed_or_retracted(store, hands):
    claimed = retracted = 0
    for round_ in range(ROUNDS):
        ids, numbers = released(store, round_)
        order = random.Random(round_).sample(ids, len(ids))

        def retract_each(own: OpenStore, order=order) -> dict[str, RetractResult]:
            return {id: own.run(recall.retract, Retract(id=id), NOW, 1).mails[0].result for id in order}

        def claim_each(own: OpenStore, numbers=numbers) -> set[int]:
            return {number for some in (numbers[:4], numbers[4:]) for number in own.run(claim, some, "sender-1", NOW)}

        if round_ % 2:  # else the hand that is quicker by nature could win every round
            store.run(recall.retract, Retract(id=order[0]), NOW, 1)
        answers, claims = hands(retract_each, claim_each)
        for id, number in zip(ids, numbers, strict=True):
            [state] = store.states(id)
            assert state is (State.CLAIMED if number in claims else State.RETRACTED)
            assert answers[id] is (RetractResult.IN_FLIGHT if number in claims else RetractResult.RETRACTED)
        claimed += len(claims)
        retracted += len(numbers) - len(claims)
    assert claimed
    assert retracted


def test_two_senders_never_claim_the_same_recipient(store, hands):
    for round_ in range(ROUNDS):
        _, numbers = released(store, round_)
        first, second = hands(
            lambda own, numbers=numbers: own.run(claim, numbers, "sender-1", NOW),
            lambda own, numbers=numbers: own.run(claim, numbers[::-1], "sender-2", NOW),
        )
        assert first.keys() | second.keys() == set(numbers)
        assert not first.keys() & second.keys()


@pytest.mark.checklist(151)
def test_two_schedulers_that_hear_of_one_refusal_report_it_once(store, hands):
    for round_ in range(ROUNDS // 4):
        ids, numbers = released(store, round_)
        refused = [RecipientOutcome(number, 1, Bounced(Reply(550, "5.1.1", "nobody"), "mx")) for number in numbers]

        def settle(own: OpenStore, refused=refused) -> list[Report]:
            reports = [OutcomeReport("sender-1", 1, tuple(refused))]
            return own.run(settle_and_tell, reports, NOW, Settings(), 1, random.Random(1))[1]

        told = [report for some in hands(settle, settle) for report in some]
        assert sorted(report.about for report in told) == ids
        assert len({report.draft.id for report in told}) == len(ids)


def test_a_replaced_mail_is_claimed_with_the_content_it_had_or_not_at_all(store, hands):
    for round_ in range(ROUNDS):
        [id], [number] = released(store, round_, 1)
        new = a_draft(id, f"{id}@new.example", content=b"new")
        replacement, claims = hands(
            lambda own, id=id, new=new: own.run(recall.replace, id, new, "command 1"),
            lambda own, number=number: own.run(claim, [number], "sender-1", NOW),
        )
        if claims:
            assert replacement.result is ReplaceResult.IN_FLIGHT
            assert claims[number].content == a_draft().composed.content
            assert store.states(id) == [State.CLAIMED]
        else:
            assert replacement.result is ReplaceResult.REPLACED
            [row] = store.rows(id)
            assert (row.address, row.state) == (f"{id}@new.example", State.HELD)
            assert row.no != number


def test_a_mail_submitted_twice_at_once_is_one_mail(store, hands):
    for round_ in range(ROUNDS // 2):
        drafts = [a_draft(f"order-{round_}-{n}") for n in range(20)]
        first, second = hands(
            lambda own, drafts=drafts: own.admit(*drafts), lambda own, drafts=drafts: own.admit(*drafts)
        )
        admitted = [mail.draft.id for admission in (first, second) for mail in admission.admitted]
        assert sorted(admitted) == sorted(draft.id for draft in drafts)
        assert len(first.duplicates) + len(second.duplicates) == len(drafts)
        assert all(store.states(draft.id) == [State.HELD] for draft in drafts)


def test_a_retract_that_meets_the_arrival_of_its_mail_wins_or_comes_before_it(store, hands):
    for round_ in range(ROUNDS):
        id = f"order-{round_}"
        admission, retraction = hands(
            lambda own, id=id: own.admit(a_draft(id)),
            lambda own, id=id: own.run(recall.retract, Retract(id=id), NOW, 1),
        )
        [answer] = retraction.mails
        if admission.admitted:
            assert (answer.result, store.states(id)) == (RetractResult.RETRACTED, [State.RETRACTED])
        else:
            assert (answer.result, store.states(id)) == (RetractResult.UNKNOWN, [])
            assert [draft.id for draft in admission.retracted] == [id]


def test_a_release_and_a_retract_leave_it_in_one_state(store, hands):
    for round_ in range(ROUNDS):
        id = f"order-{round_}"
        store.admit(a_draft(id, hold=timedelta(seconds=1)))
        due, retraction = hands(
            lambda own: own.run(transactions.take_due, NOW + timedelta(seconds=1), 10),
            lambda own, id=id: own.run(recall.retract, Retract(id=id), NOW, 1),
        )
        assert retraction.mails[0].result is RetractResult.RETRACTED
        assert store.states(id) == [State.RETRACTED]
        numbers = [to.no for leaving in due.leaving for to in leaving.request.envelope.recipients]
        store.run(transactions.mark_released, numbers, NOW)
        store.run(transactions.put_back, numbers, NOW)
        assert store.run(claim, numbers, "sender-1", NOW) == {}  # though its work message may be out
        assert store.states(id) == [State.RETRACTED]


def test_two_outcomes_at_once_are_one_change(store, hands):
    for round_ in range(ROUNDS):
        numbers = store.admit_claimed(a_draft(f"order-{round_}", "a@y.example", "b@y.example", hold=AT_ONCE))
        outcomes = [RecipientOutcome(number, 1, Delivered(Reply(250, "", "ok"), "mx")) for number in numbers]

        changes = hands(
            lambda own, outcomes=outcomes: report(own, outcomes),
            lambda own, outcomes=outcomes: report(own, outcomes[::-1]),
        )
        assert sorted(change.pending.number for some in changes for change in some) == sorted(numbers)


def test_large_batches_in_any_order_do_not_bring_each_other_down(store, hands):
    for round_ in range(3):
        id = f"order-{round_}"
        numbers = store.admit_released(a_draft(id, *(f"r{n}@y.example" for n in range(1500)), hold=AT_ONCE))
        shuffled = random.Random(round_).sample(numbers, len(numbers))
        claims, _, retraction = hands(
            lambda own, shuffled=shuffled: own.run(claim, shuffled, "sender-1", NOW),
            lambda own, numbers=numbers: own.run(transactions.mark_released, numbers[::-1], NOW),
            lambda own, id=id: own.run(recall.retract, Retract(id=id), NOW, 1),
        )
        assert len(claims) + len(retraction.taken_back) == len(numbers)


def test_of_several_senders_that_ask_for_a_site_at_once_one_probes(store, hands):
    for round_ in range(ROUNDS):
        name = f"mx:{round_}"

        def asks(worker: str, name: str = name) -> Callable[[OpenStore], Any]:
            question = [Asked(name, 1), Asked("mx:all", 1)]
            return lambda own: own.run(exchange, [], question, worker, NOW, lambda _: AT_ONCE)[name]

        answers = hands(asks("sender-1"), asks("sender-2"), asks("sender-3"))
        assert sorted(type(answer).__name__ for answer in answers) == ["Probe", "Wait", "Wait"]


def test_of_several_schedulers_one_lets_a_mail_out_for_the_probe(store, hands):
    def tend(own: OpenStore) -> int:
        return own.run(sites.tend, NOW, 1).released

    for round_ in range(ROUNDS):
        name = f"mx:{round_}"
        down = WentDown(name, Reply(421, "", "busy"), "mx", 1, NOW)
        _, numbers = released(store, round_)
        for news, asked in (([], [Asked(name, 1)]), ([down], [])):
            store.run(exchange, news, asked, "sender-1", NOW, lambda _: AT_ONCE)
        report(store, [RecipientOutcome(number, 1, Parked("down", site=name)) for number in numbers])
        assert sum(hands(tend, tend, tend)) == 1


def test_mail_that_comes_to_wait_while_its_site_comes_up_is_let_go(store, hands):
    for round_ in range(ROUNDS):
        name = f"mx:{round_}"
        _, numbers = released(store, round_)
        down = WentDown(name, Reply(421, "", "busy"), "mx", 1, NOW)
        for news, asked in (([], [Asked(name, 1)]), ([down], []), ([], [Asked(name, 1)])):
            store.run(exchange, news, asked, "sender-1", NOW, lambda _: AT_ONCE)
        parked = [RecipientOutcome(number, 1, Parked("down", site=name)) for number in numbers]

        def park(own: OpenStore, parked=parked) -> None:
            report(own, parked)

        def come_up(own: OpenStore, name=name) -> None:
            own.run(exchange, [CameUp(name)], [], "sender-1", NOW, lambda _: AT_ONCE)

        def tend(own: OpenStore) -> None:
            own.run(sites.tend, NOW, 1)

        hands(park, come_up, tend)
        tend(store)
        soon = NOW + timedelta(seconds=1)
        assert {row.wake <= soon for number in range(8) for row in store.rows(f"order-{round_}-{number}")} == {True}
