"""The books of a soak: what was confirmed, what arrived, what the store says; and what follows from the three.

Pure: the judgement is tested by tables.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from shared.mail_store import State


class Arrival(Struct, frozen=True):
    """The sink has taken a mail after its final dot."""

    time: float
    id: str
    connection: int
    told: bool  # its 250 was sent; False: the sink hung up instead


class Ending(Struct, frozen=True):
    """Where the store has a mail in the end."""

    state: State
    in_doubt: bool  # one of its attempts was


class Harm(Struct, frozen=True):
    """What was done, and when."""

    name: str
    begun: float
    ended: float


class Books(Struct, frozen=True):
    """Everything there is to judge by; times are those of one clock."""

    published: frozenset[str]  # confirmed or not
    confirmed: Mapping[str, float]
    refused: frozenset[str]  # the sink has refused these for good
    arrivals: Sequence[Arrival]
    endings: Mapping[str, Ending]
    harms: Sequence[Harm]


class Verdict(Struct):
    """What became of the mails whose fate fell into one harm's time (until the next one began)."""

    harm: str
    times: int = 0
    mails: int = 0
    lost: int = 0  # confirmed, and neither arrived, nor refused, nor known to wait
    duplicated: int = 0  # copies beyond the first, with no doubt to excuse them
    in_doubt: int = 0  # copies beyond the first of mails of which it was doubtful whether they had arrived
    unexpected: int = 0  # arrived without having been published, or bounced without having been refused
    waiting: int = 0
    recovered: int = 0  # under way when the harm began, and arrived
    recovery_s: list[float] = []  # from the end of each harm to the first arrival of a mail published after it

    @property
    def clean(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.duplicated or self.unexpected or self.waiting)


def judge(books: Books) -> list[Verdict]:
    """A verdict for each kind of harm, in the order of their first appearance; and one for the time before any."""
    by_id: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in books.arrivals:
        by_id[arrival.id].append(arrival)
    verdicts = {"none yet": Verdict("none yet", times=1)}
    for harm in books.harms:
        verdicts.setdefault(harm.name, Verdict(harm.name, recovery_s=[])).times += 1
    for id in books.published | by_id.keys():
        arrivals = sorted(by_id.get(id, ()), key=lambda arrival: arrival.time)
        moment = arrivals[0].time if arrivals else books.confirmed.get(id, 0.0)
        _enter(verdicts[_harm_at(books.harms, moment)], id, arrivals, books)
    for harm in books.harms:
        _recovery(verdicts[harm.name], harm, books.confirmed, by_id)
    return list(verdicts.values())


def total(verdicts: Iterable[Verdict]) -> Verdict:
    """All of them together."""
    sums: Counter[str] = Counter()
    recovery_s: list[float] = []
    for verdict in verdicts:
        recovery_s += verdict.recovery_s
        sums.update(
            {name: value for name in Verdict.__struct_fields__ if isinstance(value := getattr(verdict, name), int)}
        )
    return Verdict("all", **sums, recovery_s=recovery_s)


def _enter(verdict: Verdict, id: str, arrivals: Sequence[Arrival], books: Books) -> None:
    if id not in books.confirmed and not arrivals:
        return  # nobody promised anything
    verdict.mails += 1
    ending = books.endings.get(id)
    if id not in books.published:
        verdict.unexpected += 1
    elif arrivals:
        doubtful = any(not arrival.told for arrival in arrivals) or (ending is not None and ending.in_doubt)
        extra = len(arrivals) - 1
        verdict.in_doubt += extra if doubtful else 0
        verdict.duplicated += 0 if doubtful else extra
        verdict.waiting += ending is None or _is_open(ending)
        verdict.unexpected += ending is not None and ending.state is State.BOUNCED
    elif ending is None or ending.state is State.DELIVERED:
        verdict.lost += 1  # the store does not know it, or takes it for delivered
    elif ending.state is State.BOUNCED:
        verdict.unexpected += id not in books.refused
    else:
        verdict.waiting += 1


def _is_open(ending: Ending) -> bool:
    return ending.state not in (State.DELIVERED, State.BOUNCED, State.RETRACTED)


def _harm_at(harms: Sequence[Harm], moment: float) -> str:
    name = "none yet"
    for harm in harms:
        if harm.begun <= moment:
            name = harm.name
    return name


def _recovery(
    verdict: Verdict, harm: Harm, confirmed: Mapping[str, float], by_id: Mapping[str, Sequence[Arrival]]
) -> None:
    firsts = {id: min(arrival.time for arrival in by_id[id]) for id in confirmed if id in by_id}
    verdict.recovered += sum(confirmed[id] < harm.begun <= first for id, first in firsts.items())
    later = [first for id, first in firsts.items() if confirmed[id] > harm.ended]
    if later:
        verdict.recovery_s.append(max(0.0, min(later) - harm.ended))
