"""What an outcome changes: decided here, purely; written by `store`."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, assert_never

import msgspec

from services.scheduler.retry import Again, GiveUp, next_try, suited
from shared.addresses import domain_of
from shared.classify import classify
from shared.contracts.events import BouncedEvent, DeferredEvent, DeliveredEvent, Event, Expired, InDoubtEvent
from shared.contracts.words import BounceClass
from shared.durations import Duration
from shared.mail_store.states import AWAITING_OUTCOME, CLAIMABLE, State
from shared.outcomes import Bounced, Deferred, Delivered, Outcome, Parked
from shared.settings import Retry
from shared.sites import Site, SiteState
from shared.smtp_reply import Reply, own_verdict
from shared.topology import lane_queue

_AT_ONCE = Duration(seconds=1)  # by then a sender asks anew whether a site is still down
# What waits for its site or lane: RFC 5321 section 4.5.4.1 has mail tried every two to three hours.
_LOOK_AGAIN = Duration(hours=2)
_LONGEST_KEY = 255  # octets, AMQP 0-9-1 section 4.2.5.3; a domain alone may have 253
PARKED_AFTER = 3  # claims in a row whose sender died; then it waits for an operator, whatever `retry.in_doubt` says
_LONGEST_REPLY = 2000  # characters kept of a reply: a server may send sixty-four kilobytes of text


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient that an outcome is for, as the store has it."""

    number: int
    mail_no: int
    mail: str
    batch: str
    address: str
    state: State
    attempt: int
    worker: str
    admitted: datetime
    give_up: datetime
    released: datetime | None = None  # when this attempt was
    claimed: datetime | None = None
    site: str | None = None  # what kept it from being sent, since its last attempt
    in_doubt: bool = False  # an earlier attempt may have delivered it
    lapses: int = 0  # claims in a row whose sender died


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a recipient's row."""

    pending: Pending  # as it was
    state: State
    time: datetime
    wake: datetime | None  # None: final
    attempt: int
    worker: str
    revision: int
    host: str
    reply: Reply
    bounce_class: BounceClass | None  # None: nothing failed
    in_doubt: bool
    ends_attempt: bool  # False: nothing was tried
    last: Reply | None = None  # where the reply says that it was given up: what the last attempt ended with
    site: str | None = None  # that it waits for; or the queue of a lane
    next_probe: datetime | None = None  # of that site, where it has just begun to wait for it
    lapses: int = 0


def decide(
    pending: Pending,
    outcome: Outcome,
    *,
    worker: str,
    revision: int,
    now: datetime,
    retry: Retry,
    chance: random.Random,
    sites: Mapping[str, Site] = {},
) -> Change:
    """What an outcome means for a recipient; `sites` has those for which mail was parked."""
    lapses = _lapses(pending, outcome)

    def change(
        state: State,
        reply: Reply,
        host: str,
        *,
        wake: datetime | None = None,
        attempt: int = 0,
        in_doubt: bool = False,
        site: str | None = None,
        next_probe: datetime | None = None,
        last: Reply | None = None,
    ) -> Change:
        return Change(
            pending=pending,
            state=state,
            time=now,
            wake=wake,
            attempt=attempt or pending.attempt,
            worker=worker,
            revision=revision,
            host=host,
            reply=_short(reply),
            bounce_class=None if state is State.DELIVERED or not reply.code else classify(last or reply),
            in_doubt=in_doubt or (pending.in_doubt and state is not State.DELIVERED),
            ends_attempt=not isinstance(outcome, Parked) or wake is None,
            last=None if last is None else _short(last),
            site=site,
            next_probe=next_probe,
            lapses=lapses,
        )

    match outcome:
        case Delivered(reply, host):
            return change(State.DELIVERED, reply, host)
        case Bounced(reply, host):
            return change(State.BOUNCED, reply, host)
        case Parked(site=name) if (site := sites.get(name)) is not None and site.state is SiteState.DOWN:
            # Let out for a probe, it may have met a sender that did not know it yet. Any other goes out now and then,
            # to have its route looked up: its domain's MX hosts may be others by now.
            wait = _LOOK_AGAIN if site.called is None or site.probed_by(now) else _AT_ONCE
            rule = msgspec.structs.replace(retry, schedule=(wait,))
            match next_try(1, pending.admitted, pending.give_up, now, rule, chance):
                case Again(at):
                    told = pending.site == site.name
                    probe = None if told else _next_probe(site, now, at)
                    return change(State.DEFERRED, site.said, site.host, wake=at, site=site.name, next_probe=probe)
                case GiveUp():
                    return change(State.BOUNCED, _expired(pending, site.said, now), site.host, last=site.said)
                case never:
                    assert_never(never)
        case Parked(reason, lane=int(lane)):
            wake = now + _LOOK_AGAIN
            return change(State.DEFERRED, own_verdict(0, "", reason), "", wake=wake, site=lane_queue(lane))
        case Parked(reason, pause_s, name):
            again = now + (_AT_ONCE if name else timedelta(seconds=pause_s))
            return change(State.DEFERRED, own_verdict(0, "", reason), "", wake=again)
        case Deferred(reply, host, in_doubt):
            waits = suited(retry, classify(reply))
            match next_try(pending.attempt, pending.admitted, pending.give_up, now, waits, chance):
                case Again() if in_doubt and (retry.in_doubt == "park" or lapses >= PARKED_AFTER):
                    return change(State.IN_DOUBT, reply, host, wake=pending.give_up, in_doubt=True)
                case Again(at):
                    attempt = pending.attempt + 1
                    return change(State.DEFERRED, reply, host, wake=at, attempt=attempt, in_doubt=in_doubt)
                case GiveUp():
                    return change(State.BOUNCED, _expired(pending, reply, now), host, in_doubt=in_doubt, last=reply)
                case never:
                    assert_never(never)
        case never:
            assert_never(never)


def _lapses(pending: Pending, outcome: Outcome) -> int:
    """A sender that tells what came of a try has outlived it; one that gave the mail back untried shows nothing."""
    if pending.state is not State.CLAIMED or isinstance(outcome, Parked):
        return pending.lapses
    lapsed = isinstance(outcome, Deferred) and outcome.in_doubt and outcome == lapsed_claim(pending)
    return pending.lapses + 1 if lapsed else 0


def _next_probe(site: Site, now: datetime, wake: datetime) -> datetime:
    return min(max(site.until or now, now), wake)


def is_news(pending: Pending, attempt: int, outcome: Outcome, worker: str) -> bool:
    """Whether an outcome changes anything: a second one of an attempt does not, nor a late one of an earlier attempt.

    But a late `Delivered` does while the next attempt is not under way: it saves the receiver a second copy, or ends a
    doubt. (What is held can have been delivered where the store was restored since.) Of a claimed recipient only the
    claimer tells: another worker had a second copy of the work, and sends nothing.
    """
    if pending.state is State.CLAIMED and pending.worker != worker:
        return False
    if pending.attempt == attempt and pending.state in AWAITING_OUTCOME:
        return True
    if pending.attempt == attempt and pending.state is State.IN_DOUBT and not _is_doubtful(outcome):
        return True
    ends_a_doubt = pending.in_doubt and pending.state in (State.IN_DOUBT, State.BOUNCED, State.RETRACTED)
    waits = pending.state in (State.HELD, State.DEFERRED, *CLAIMABLE)
    return isinstance(outcome, Delivered) and (ends_a_doubt or waits)


def _is_doubtful(outcome: Outcome) -> bool:
    return isinstance(outcome, Parked) or (isinstance(outcome, Deferred) and outcome.in_doubt)


def lapsed_claim(pending: Pending) -> Deferred:
    """The outcome of a claim that its sender no longer renews: the sender died, perhaps after the final dot."""
    died, count = f"the sender {pending.worker} died with the mail in its hands", pending.lapses + 1
    if count >= PARKED_AFTER:
        died = f"{count} senders in a row died with the mail in their hands, {pending.worker} the last of them"
    return Deferred(own_verdict(451, "4.3.0", died), in_doubt=True)


def overdue() -> Deferred:
    """The outcome of what nobody has sent again or closed until its give-up time. The doubt stays."""
    return Deferred(own_verdict(451, "4.4.2", "the receiver's answer was lost, and nobody has cleared it up since"))


def event_of(change: Change) -> Event | None:
    """The event that tells of a change; None for what is no outcome."""
    if not change.ends_attempt and change.next_probe is None:
        return None
    pending, reply = change.pending, change.reply
    said: dict[str, Any] = {
        "mail": pending.mail,
        "batch": pending.batch,
        "time": change.time,
        "revision": change.revision,
        "recipient": pending.address,
        "attempt": pending.attempt,
        "host": change.host,
        "code": reply.code,
        "enhanced": reply.enhanced,
        "reply": reply.text,
    }
    if change.bounce_class is not None:
        said["bounce_class"] = change.bounce_class
    match change.state:
        case State.DELIVERED:
            return DeliveredEvent(**said)
        case State.IN_DOUBT:
            assert change.wake is not None
            return InDoubtEvent(**said, until=change.wake)
        case State.BOUNCED:
            ours = reply.enhanced == EXPIRED and not reply.remote  # a receiver may say 4.4.7 of its own
            return (Expired if ours else BouncedEvent)(**said)
        case _:
            assert change.wake is not None
            return DeferredEvent(**said, next_try=change.next_probe or change.wake, in_doubt=change.in_doubt)


EXPIRED = "4.4.7"  # RFC 3463 section 3.5: delivery time expired


def _expired(pending: Pending, last: Reply, now: datetime) -> Reply:
    waited = now - pending.admitted
    days = f"{waited.days} days" if waited.days > 1 else f"{waited.total_seconds() / 3600:.1f} hours"
    return own_verdict(451, EXPIRED, f"not delivered in {days}; the last reply was: {last}")


def _short(reply: Reply) -> Reply:
    if len(reply.text) <= _LONGEST_REPLY:
        return reply
    return Reply(reply.code, reply.enhanced, reply.text[:_LONGEST_REPLY] + "…", reply.remote)


def key_of(kind: str, address: str = "") -> str:
    """The routing key of an event: `delivered.example.net`, or just `rejected` where there is no recipient."""
    key = f"{kind}.{domain_of(address)}" if address else kind
    return key.encode()[:_LONGEST_KEY].decode(errors="ignore")
