"""The judgement of a soak: every way in which the promise can be broken is seen, and no other."""

import pytest

from shared.mail_store import State
from soak.ledger import Arrival, Books, Ending, Harm, Verdict, judge, total

DELIVERED = Ending(State.DELIVERED, False)


def taken(time: float, id: str = "m1", *, told: bool = True) -> Arrival:
    return Arrival(time, id, 1, told)


def books(
    *arrivals: Arrival,
    ending: Ending | None = DELIVERED,
    confirmed: dict[str, float] | None = None,
    published: set[str] | None = None,
    refused: set[str] | None = None,
    harms: list[Harm] | None = None,
) -> Books:
    confirmed = {"m1": 10.0} if confirmed is None else confirmed
    return Books(
        published=frozenset(confirmed if published is None else published),
        confirmed=confirmed,
        refused=frozenset(refused or ()),
        arrivals=arrivals,
        endings={"m1": ending} if ending else {},
        harms=harms or [],
    )


@pytest.mark.parametrize(
    ("account", "counted"),
    [
        (books(taken(11)), {}),
        (books(ending=Ending(State.BOUNCED, False), refused={"m1"}), {}),
        (books(ending=Ending(State.RETRACTED, False)), {"waiting": 1}),  # a soak retracts nothing
        (books(ending=None), {"lost": 1}),  # the store has never heard of it
        (books(ending=Ending(State.DELIVERED, False)), {"lost": 1}),  # it says so, and nobody has it
        (books(ending=Ending(State.BOUNCED, False)), {"unexpected": 1}),  # nobody had refused it
        (books(ending=Ending(State.DEFERRED, False)), {"waiting": 1}),
        (books(taken(11), ending=Ending(State.CLAIMED, False)), {"waiting": 1}),
        (books(taken(11), ending=Ending(State.BOUNCED, False)), {"unexpected": 1}),  # its sender was told a lie
        (books(taken(11), taken(12), taken(13)), {"duplicated": 2}),
        (books(taken(11, told=False), taken(12)), {"in_doubt": 1}),
        (books(taken(11), taken(12), ending=Ending(State.DELIVERED, True)), {"in_doubt": 1}),
        (books(taken(11, "m2"), taken(11)), {"unexpected": 1, "mails": 2}),  # nobody has published m2
        # Published and never confirmed: it may arrive or not.
        (books(taken(11), confirmed={}, published={"m1"}), {}),
        (books(ending=None, confirmed={}, published={"m1"}), {"mails": 0}),
    ],
)
def test_each_breach_is_counted_as_what_it_is(account: Books, counted: dict[str, int]):
    [verdict] = judge(account)
    assert verdict == Verdict("none yet", **{"times": 1, "mails": 1, **counted})
    assert verdict.clean == (not counted.keys() & {"lost", "duplicated", "unexpected", "waiting"})


def test_a_mail_counts_for_the_harm_in_whose_time_it_first_arrived():
    harms = [Harm("kill", 20, 25), Harm("cut", 40, 41), Harm("kill", 60, 61)]
    arrivals = [taken(12, "a"), taken(21, "b"), taken(45, "b"), taken(50, "c"), taken(70, "d")]
    confirmed = {"a": 10.0, "b": 19.0, "c": 45.0, "d": 62.0}
    endings = {id: Ending(State.DELIVERED, False) for id in confirmed}
    account = Books(frozenset(confirmed), confirmed, frozenset(), arrivals, endings, harms)

    before, kill, cut = judge(account)

    assert (before.mails, kill.mails, cut.mails) == (1, 2, 1)
    assert (kill.times, kill.duplicated, kill.recovered) == (2, 1, 1)
    assert kill.recovery_s == [25.0, 9.0]  # c after the first, d after the second
    assert total([before, kill, cut]).mails == 4


def test_what_never_arrived_counts_for_the_harm_in_whose_time_it_was_confirmed():
    account = books(ending=None, harms=[Harm("kill", 5, 6), Harm("cut", 20, 21)])
    assert {verdict.harm: verdict.lost for verdict in judge(account)} == {"none yet": 0, "kill": 1, "cut": 0}
