"""A case: who takes turns, with how much, and what it comes to."""

import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from bench.results import Finding, Goal, Measurement, Pair, Plan, Round, medians_of, ratio_name, ratio_of, ratios_of
from bench.show import shown

Tell = Callable[[str], None]


Run = Callable[[Plan], Measurement]


def _nothing_is_missing() -> str:
    return ""


class Contender(Struct, frozen=True, kw_only=True):
    """One of those that take turns."""

    name: str
    run: Run
    beside: tuple[str, ...] = ()  # in times of whose rate its own is told
    peer: bool = False  # no Pillarbox: left out of the quick runs
    missing: Callable[[], str] = _nothing_is_missing  # why it can not run on this machine; "" where it can
    settings: Mapping[str, str] = {}  # beyond its defaults
    senders: int = 0  # where those that take turns differ in them


class Case(Struct, frozen=True, kw_only=True):
    """One benchmark."""

    name: str
    what: str  # in a sentence, without its full stop
    usual: Plan
    contenders: Callable[[Plan], Sequence[Contender]]
    quick: Plan | None = None  # absent: not among the quick ones
    goals: Mapping[str, Goal] = {}  # by the name that a figure, a ratio or a process has in the tables


def investigate(case: Case, plan: Plan, tell: Tell, *, peers: bool = True) -> Finding:
    """Let them take turns for all rounds. Raises Failed."""
    wanted = [each for each in case.contenders(plan) if peers or not each.peer]
    reasons = {each.name: each.missing() for each in wanted}
    present = [each for each in wanted if not reasons[each.name]]
    notes = [f"without {name}: {reason}" for name, reason in reasons.items() if reason]
    for note in notes:
        tell(f"{case.name}: {note}")
    pairs, started = _pairs_of(present), time.monotonic()
    rounds = [_round(case.name, plan, number, present, pairs, tell) for number in range(1, plan.rounds + 1)]
    return Finding(
        case=case.name,
        what=case.what,
        plan=plan,
        took_s=round(time.monotonic() - started, 1),
        rounds=rounds,
        medians=medians_of(rounds),
        ratios=ratios_of(rounds, pairs),
        goals=dict(case.goals),
        senders={each.name: each.senders for each in present if each.senders},
        settings={each.name: dict(each.settings) for each in present if each.settings},
        notes=notes,
    )


def _pairs_of(present: Sequence[Contender]) -> list[Pair]:
    names = {each.name for each in present}
    return [(each.name, other) for each in present for other in each.beside if other in names]


def _round(
    case: str, plan: Plan, number: int, present: Sequence[Contender], pairs: Sequence[Pair], tell: Tell
) -> Round:
    measured: Round = {}
    for each in present:
        where = f"{case}: round {number} of {plan.rounds}: {each.name}"
        tell(where)
        measured[each.name] = each.run(plan)
        tell(f"{where}: " + "; ".join(f"{name}: {shown(value)}" for name, value in measured[each.name].figures.items()))
    for pair in pairs:
        tell(f"{case}: round {number} of {plan.rounds}: {ratio_name(pair)}: {ratio_of(measured, pair):.2f}")
    return measured
