"""The judgement of a soak: every way in which the promise can be broken is seen, and no other."""

import pytest

from shared.mail_store.states import State
from soak.ledger import Account, Arrival, Ending, Harm, Ledger, Mail, enter, enter_recovery, total

DELIVERED = Ending(State.DELIVERED, False)
DOUBTED = Ending(State.DELIVERED, True)


def a_mail(
    *,
    copies: int = 0,
    ending: Ending | None = DELIVERED,
    untold: bool = False,
    refused: bool = False,
    garbled: bool = False,
    confirmed: float | None = 10.0,
) -> Mail:
    return Mail(confirmed, refused, 11.0 if copies else None, copies, untold, ending, garbled)


@pytest.mark.parametrize(
    ("mail", "counted"),
    [
        (a_mail(copies=1), {}),
        (a_mail(ending=Ending(State.BOUNCED, False), refused=True), {}),
        (a_mail(ending=None), {"lost": 1}),  # the store has never heard of it
        (a_mail(), {"lost": 1}),  # the store says that it is delivered, and nobody has it
        (a_mail(refused=True), {"lost": 1}),  # even if it was refused
        (a_mail(ending=Ending(State.BOUNCED, False)), {"unexpected": 1}),  # nobody had refused it
        (a_mail(ending=Ending(State.RETRACTED, False)), {"waiting": 1}),  # a soak retracts nothing
        (a_mail(ending=Ending(State.DEFERRED, False)), {"waiting": 1}),
        (a_mail(copies=1, ending=Ending(State.CLAIMED, False)), {"waiting": 1}),
        (a_mail(copies=1, ending=Ending(State.BOUNCED, False)), {"unexpected": 1}),  # its sender was told a lie
        (a_mail(copies=1, ending=None), {"unexpected": 1}),  # or nothing
        (a_mail(copies=1, garbled=True), {"unexpected": 1}),  # that is not what was published
        (a_mail(copies=1, garbled=True, ending=None), {"unexpected": 1}),
        (a_mail(copies=3), {"duplicated": 2}),
        (a_mail(copies=2, untold=True), {"in_doubt": 1}),
        (a_mail(copies=2, ending=DOUBTED), {"in_doubt": 1, "answered": 1}),  # a sender may have known
        # Published and never confirmed: it may arrive or not.
        (a_mail(copies=1, confirmed=None), {}),
        (a_mail(ending=None, confirmed=None), {"mails": 0}),
    ],
)
def test_each_breach_is_counted_as_what_it_is(mail: Mail, counted: dict[str, int]):
    account = Account("kill", suspects=[])

    enter(account, "m1", mail)

    arrived = 1.0 if mail.copies and mail.confirmed else 0.0
    breaches = counted.keys() & {"lost", "duplicated", "unexpected"}
    expected = Account("kill", slowest_s=arrived, suspects=["m1"] if breaches else [])
    assert account == Account("kill", **{"mails": 1, **counted}, slowest_s=arrived, suspects=expected.suspects)
    assert account.clean == (not breaches and "waiting" not in counted)


def a_ledger(arrivals: dict[str, list[float]], *harms: Harm) -> Ledger:
    """Mails m1, m2, … that the broker confirmed a second before they first arrived."""
    ledger = Ledger()
    for id, times in arrivals.items():
        number = ledger.publish()
        assert id == f"m{number}"
        ledger.confirm(number, times[0] - 1)
        for time in times:
            ledger.take(Arrival(time, id, told=True))
        ledger.end(id, DELIVERED)
    ledger.harms += harms
    return ledger


def test_a_mail_counts_for_the_harm_in_whose_time_it_first_arrived():
    ledger = a_ledger(
        {"m1": [12], "m2": [45, 20.5], "m3": [50], "m4": [70]},
        Harm("kill", 20, 25),
        Harm("cut", 40, 41),
        Harm("kill", 60, 61),
    )
    ledger.confirm(2, 19.0)
    ledger.ended = 71.0

    before, kill, cut = ledger.close()

    assert (before.mails, kill.mails, cut.mails) == (1, 2, 1)
    assert (kill.times, kill.duplicated, kill.suspects, kill.recovered) == (2, 1, ["m2"], 1)
    assert total([before, kill, cut]).mails == 4


def test_the_flow_is_back_when_fifty_mails_that_were_published_after_the_harm_have_arrived():
    arrivals = {f"m{number}": [100.0 + number] for number in range(1, 201)}
    arrivals["m20"] = [500.0]  # one that waits for its lease is no standstill
    ledger = a_ledger(arrivals, Harm("kill", 90, 109))
    ledger.confirm(20, 119.0)

    [_, kill] = ledger.close()

    assert kill.recovery_s == [161.0 - 109.0]  # m11 to m61 without m20
    assert kill.slowest_s == 500.0 - 119.0


FLOW = [(101.0 + turn, 102.0 + turn) for turn in range(50)]  # confirmed and arrived


@pytest.mark.parametrize(
    ("later", "stood_still", "publishing_ended", "back", "unmeasured"),
    [
        (FLOW, False, 200.0, True, 0),
        (FLOW[:49], False, 200.0, False, 0),  # a flow that stops is none
        ([], False, 200.0, False, 0),
        (FLOW[:49], False, 150.0, None, 1),  # no more were published: nobody knows
        (FLOW[:49], False, 151.5, False, 0),
        ([], True, 150.0, False, 0),
        (FLOW, True, 200.0, False, 0),
        ([(confirmed, arrived + 0.5) for confirmed, arrived in FLOW], False, 200.0, False, 0),
    ],
)
def test_a_harm_is_over_when_the_flow_is_back_within_thirty_seconds(
    later: list[tuple[float, float]], stood_still: bool, publishing_ended: float, back: bool | None, unmeasured: int
):
    account = Account("kill", recovery_s=[], suspects=[])

    enter_recovery(account, Harm("kill", 90.0, 121.0, stood_still=stood_still), later, publishing_ended)

    assert (account.not_back, account.unmeasured) == (int(back is False), unmeasured)
    assert account.clean == (back is not False)


def test_a_mail_is_sunk_once_whatever_comes_after():
    ledger = a_ledger({"m1": [12, 13], "m2": [14]})
    ledger.refuse("m1")
    assert ledger.sunk == 2
    ledger.refuse(f"m{ledger.publish()}")
    ledger.take(Arrival(15, "m3", told=True))
    assert ledger.sunk == 3


def test_what_never_arrived_counts_for_the_harm_in_whose_time_it_was_confirmed():
    ledger = a_ledger({}, Harm("kill", 5, 6), Harm("cut", 20, 21))
    ledger.confirm(ledger.publish(), 10.0)
    assert {account.harm: account.lost for account in ledger.close()} == {"none yet": 0, "kill": 1, "cut": 0}


@pytest.mark.parametrize("id", ["m2", "m0", "", "1", "m", "x1", "m-1", "mm1"])
def test_what_nobody_has_published_is_unexpected(id: str):
    ledger = a_ledger({"m1": [12]})

    ledger.take(Arrival(13, id, told=True))

    [account] = ledger.close()
    assert (account.mails, account.unexpected, account.suspects) == (2, 1, [id])


def test_an_answer_that_was_not_given_excuses_the_copies_of_its_mail_alone():
    ledger = a_ledger({"m1": [12, 14], "m2": [12, 14]})
    ledger.take(Arrival(13, "m1", told=False))
    assert [(one.in_doubt, one.duplicated) for one in ledger.close()] == [(2, 1)]


def test_a_million_mails_take_some_forty_megabytes():
    ledger = Ledger()
    for _ in range(1000):
        ledger.publish()
    columns = [value for value in vars(ledger).values() if isinstance(value, bytearray) or hasattr(value, "itemsize")]
    assert sum(getattr(column, "itemsize", 1) for column in columns) <= 40
