"""The books of a soak: what was confirmed, what arrived, what the store says; and what follows from the three.

A mail is its number from 1 on, and some thirty octets here: millions fit. Pure: the judgement is tested by tables.
"""

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from math import inf

from msgspec import Struct

from shared.mail_store.states import State

_FINAL = (State.DELIVERED, State.BOUNCED, State.RETRACTED)
_BACK = 50  # mails that arrive again make a flow: one may have been lucky
BACK_WITHIN_S = 30.0  # the bar


class Arrival(Struct, frozen=True):
    """The sink has taken a mail after its final dot."""

    time: float
    id: str
    told: bool  # its 250 was sent; False: the sink hung up instead
    garbled: bool = False  # it is not what was published


class Ending(Struct, frozen=True):
    """Where the store has a mail in the end."""

    state: State
    in_doubt: bool  # one of its attempts was


class Harm(Struct, frozen=True):
    """What was done, and when."""

    name: str
    begun: float
    ended: float
    failure: str = ""  # why it could not be done as it should
    stood_still: bool = False  # the flow was given up before the next one


class Mail(Struct, frozen=True):
    """All that is known of one mail; times are those of one clock."""

    confirmed: float | None  # None: the broker has promised nothing
    refused: bool  # by the sink, for good
    arrived: float | None  # first
    copies: int
    untold: bool  # of one copy at least, the sink did not say that it had taken it
    ending: Ending | None  # None: the store does not know it
    garbled: bool = False  # one copy at least was not what was published


class Account(Struct):
    """What became of the mails whose fate fell into one harm's time (until the next one began)."""

    harm: str
    times: int = 0
    mails: int = 0
    lost: int = 0  # confirmed, and neither arrived, nor refused, nor known to wait
    duplicated: int = 0  # copies beyond the first, with no doubt to excuse them
    in_doubt: int = 0  # copies beyond the first of mails of which it was doubtful whether they had arrived
    answered: int = 0  # of these, the ones of mails for which the sink had sent all its answers
    unexpected: int = 0  # never published, with another content, unknown to the store, bounced without a refusal
    waiting: int = 0
    recovered: int = 0  # under way when the harm began, and arrived
    recovery_s: list[float] = []  # from the end of each harm until mails published after it arrive again
    not_back: int = 0  # harms after which such mails did not arrive again within `BACK_WITHIN_S`
    unmeasured: int = 0  # harms so shortly before the end of publishing that nobody can say
    slowest_s: float = 0.0  # from the confirm to the arrival
    suspects: list[str] = []  # ids of mails that were lost, duplicated or unexpected

    @property
    def clean(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.duplicated or self.unexpected or self.waiting or self.not_back)


def id_of(number: int) -> str:
    """The id of the mail of a number."""
    return f"m{number}"


class Ledger:
    """Takes what is known, in any order, and closes the books."""

    def __init__(self) -> None:
        self.harms: list[Harm] = []
        self.confirmed = 0
        self.sunk = 0  # mails that the sink has taken or refused for good, each counted once
        self.ended = inf  # when publishing was over
        self.strangers: list[Arrival] = []  # nobody has published these
        self._published = 0
        self._confirmed = array("d", [0.0])
        self._arrived = array("d", [0.0])
        self._copies = array("H", [0])
        self._untold = bytearray(1)
        self._refused = bytearray(1)
        self._garbled = bytearray(1)
        self._state = bytearray(1)
        self._doubted = bytearray(1)

    @property
    def published(self) -> int:
        """The highest number so far; all below were published too."""
        return self._published

    def publish(self) -> int:
        """The number of the next mail."""
        self._published += 1
        for column in (self._confirmed, self._arrived, self._copies):
            column.append(0)
        for flags in (self._untold, self._refused, self._garbled, self._state, self._doubted):
            flags.append(0)
        return self._published

    def confirm(self, number: int, time: float) -> None:
        """The broker has the mail."""
        self.confirmed += not self._confirmed[number]
        self._confirmed[number] = time

    def take(self, arrival: Arrival) -> None:
        """The sink has a mail."""
        number = self._number(arrival.id)
        if number is None:
            self.strangers.append(arrival)
            return
        self.sunk += not self._sunk(number)
        self._arrived[number] = min(arrival.time, self._arrived[number] or arrival.time)
        self._copies[number] += 1
        self._untold[number] |= not arrival.told
        self._garbled[number] |= arrival.garbled

    def refuse(self, id: str) -> None:
        """The sink has refused a mail for good."""
        if (number := self._number(id)) is not None:
            self.sunk += not self._sunk(number)
            self._refused[number] = 1

    def end(self, id: str, ending: Ending) -> None:
        """Where the store has a mail."""
        if (number := self._number(id)) is not None:
            self._state[number] = int(ending.state)
            self._doubted[number] = ending.in_doubt

    def flows_since(self, number: int) -> bool:
        """Whether mails that were published after this one arrive."""
        return sum(map(bool, self._copies[number + 1 :])) >= _BACK

    def mail(self, number: int) -> Mail:
        """What is known of one."""
        state = self._state[number]
        return Mail(
            confirmed=self._confirmed[number] or None,
            refused=bool(self._refused[number]),
            arrived=self._arrived[number] or None,
            copies=self._copies[number],
            untold=bool(self._untold[number]),
            ending=Ending(State(state), bool(self._doubted[number])) if state else None,
            garbled=bool(self._garbled[number]),
        )

    def close(self) -> list[Account]:
        """An account for each kind of harm, in the order of their first appearance; and one for the time before any."""
        accounts = {"none yet": Account("none yet", times=1, recovery_s=[], suspects=[])}
        for harm in self.harms:
            new = Account(harm.name, recovery_s=[], suspects=[])
            accounts.setdefault(harm.name, new).times += 1
        begun = [harm.begun for harm in self.harms]
        names = ["none yet", *(harm.name for harm in self.harms)]
        for number in range(1, self._published + 1):
            mail = self.mail(number)
            when = bisect_right(begun, mail.arrived or mail.confirmed or 0.0)
            enter(accounts[names[when]], id_of(number), mail)
            if mail.confirmed and mail.arrived:
                for harm in self.harms[bisect_right(begun, mail.confirmed) : when]:
                    accounts[harm.name].recovered += 1
        for stranger in self.strangers:
            account = accounts[names[bisect_right(begun, stranger.time)]]
            account.mails += 1
            account.unexpected += 1
            account.suspects.append(stranger.id)
        for harm, later in zip(self.harms, self._confirmed_after_harms(), strict=True):
            enter_recovery(accounts[harm.name], harm, later, self.ended)
        return list(accounts.values())

    def _confirmed_after_harms(self) -> list[Sequence[tuple[float, float]]]:
        """For each harm, when the next mails were confirmed and have arrived, of those that have."""
        pairs = sorted(
            (confirmed, arrived)
            for confirmed, arrived in zip(self._confirmed, self._arrived, strict=True)
            if confirmed and arrived
        )
        times = array("d", (confirmed for confirmed, _ in pairs))
        starts = (bisect_right(times, harm.ended) for harm in self.harms)
        return [pairs[start : start + 4 * _BACK] for start in starts]

    def _sunk(self, number: int) -> bool:
        return bool(self._copies[number] or self._refused[number])

    def _number(self, id: str) -> int | None:
        digits = id.removeprefix("m")
        number = int(digits) if digits.isdecimal() and digits != id else 0
        return number if 0 < number <= self._published else None


def enter(account: Account, id: str, mail: Mail) -> None:
    """Count a mail as what became of it."""
    if mail.confirmed is None and not mail.copies:
        return  # nobody promised anything
    account.mails += 1
    before = (account.lost, account.duplicated, account.unexpected)
    ending = mail.ending
    if mail.copies:
        _enter_arrived(account, mail)
    elif ending is None or ending.state is State.DELIVERED:
        account.lost += 1  # the store does not know it, or takes it for delivered
    elif ending.state is State.BOUNCED:
        account.unexpected += not mail.refused
    else:
        account.waiting += 1  # or retracted: a soak retracts nothing
    if before != (account.lost, account.duplicated, account.unexpected):
        account.suspects.append(id)


def enter_recovery(account: Account, harm: Harm, later: Sequence[tuple[float, float]], publishing_ended: float) -> None:
    """Count how a harm ended, from (confirmed, arrived) of the mails that came after it."""
    arrivals = sorted(arrived for _, arrived in later)
    if len(arrivals) >= _BACK:
        seconds = arrivals[_BACK - 1] - harm.ended
        account.recovery_s.append(seconds)
        account.not_back += seconds > BACK_WITHIN_S or harm.stood_still
    elif harm.stood_still or publishing_ended - harm.ended > BACK_WITHIN_S:
        account.not_back += 1
    else:
        account.unmeasured += 1


def _enter_arrived(account: Account, mail: Mail) -> None:
    ending, extra = mail.ending, mail.copies - 1
    if mail.untold or (ending is not None and ending.in_doubt):
        account.in_doubt += extra
        account.answered += 0 if mail.untold else extra
    else:
        account.duplicated += extra
    # Its sender is told a lie, or nothing.
    lied = ending is None or ending.state in (State.BOUNCED, State.RETRACTED)
    account.unexpected += lied or mail.garbled
    account.waiting += ending is not None and ending.state not in _FINAL
    if mail.confirmed and mail.arrived:
        account.slowest_s = max(account.slowest_s, mail.arrived - mail.confirmed)


def total(accounts: Iterable[Account]) -> Account:
    """All of them together."""
    sums: Counter[str] = Counter()
    whole = Account("all", recovery_s=[], suspects=[])
    for account in accounts:
        whole.recovery_s += account.recovery_s
        whole.suspects += account.suspects
        whole.slowest_s = max(whole.slowest_s, account.slowest_s)
        sums.update(
            {name: value for name in Account.__struct_fields__ if isinstance(value := getattr(account, name), int)}
        )
    for name, value in sums.items():
        setattr(whole, name, value)
    return whole
