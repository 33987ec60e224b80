"""Who takes turns, and what becomes of those that can not."""

from bench.case import Case, Contender, investigate
from bench.results import RATE, Finding, Measurement, Plan

_PLAN = Plan(mails=10, rounds=2, senders=1)


class _Turns:
    """Remembers who took a turn."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def contender(self, name: str, rate: float, reason: str = "", *, peer: bool = False) -> Contender:
        def run(_plan: Plan) -> Measurement:
            self.taken.append(name)
            return Measurement(figures={RATE: rate}, others=0.0)

        return Contender(
            name=name, run=run, beside=() if peer else ("Postfix", "Haraka"), peer=peer, missing=lambda: reason
        )


def _found(*contenders: Contender, peers: bool = True) -> Finding:
    case = Case(name="case", what="what", usual=_PLAN, contenders=lambda _plan: contenders)
    return investigate(case, _PLAN, lambda _said: None, peers=peers)


def test_all_take_turns_in_each_round() -> None:
    turns = _Turns()
    found = _found(turns.contender("Pillarbox", 100.0), turns.contender("Postfix", 20.0, peer=True))

    assert turns.taken == ["Pillarbox", "Postfix"] * 2
    assert found.ratios == {"Pillarbox / Postfix": 5.0}


def test_a_peer_that_is_not_here_is_left_out_and_named() -> None:
    turns = _Turns()
    found = _found(
        turns.contender("Pillarbox", 100.0),
        turns.contender("Postfix", 20.0, peer=True),
        turns.contender("Haraka", 10.0, "there is no npm", peer=True),
    )

    assert "Haraka" not in turns.taken
    assert found.ratios == {"Pillarbox / Postfix": 5.0}
    assert found.notes == ["without Haraka: there is no npm"]


def test_without_the_peers_nobody_asks_whether_they_are_here() -> None:
    turns = _Turns()
    found = _found(turns.contender("Pillarbox", 100.0), turns.contender("Postfix", 20.0, "no", peer=True), peers=False)

    assert turns.taken == ["Pillarbox"] * 2
    assert (found.ratios, found.notes) == ({}, [])
