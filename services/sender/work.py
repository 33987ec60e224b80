"""One piece of work: a mail that a message of a lane asks for."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec
import structlog

from services.sender.envelope import OutgoingMail
from services.sender.room import LARGE
from shared.broker import Consumer, Delivery
from shared.contracts.work import Route, SendRequest, SendRequests
from shared.mail_store.claim import Claim

log = structlog.get_logger()


class Errand(msgspec.Struct, eq=False):
    """A message of a lane: it is acknowledged when the last of its work is done."""

    delivery: Delivery
    consumer: Consumer  # that gave the delivery, and takes its ack
    left: int  # pieces of work

    def one_is_done(self) -> None:
        """Take it off the lane if that was the last."""
        self.left -= 1
        if not self.left:
            self.consumer.ack([self.delivery])


class Work(msgspec.Struct, frozen=True, eq=False):
    """What a lane hands to the worker of a site."""

    request: SendRequest
    route: Route
    errand: Errand

    @property
    def numbers(self) -> list[int]:
        """The recipients it is for."""
        return [recipient.no for recipient in self.request.envelope.recipients]

    @property
    def size(self) -> int:
        """Octets of its mail's content."""
        return self.request.envelope.size

    @property
    def alone(self) -> bool:
        """Whether nothing else may be in this sender's hands meanwhile."""
        return self.request.envelope.alone

    def done(self) -> None:
        """It is reported, or there is nothing to do: once for each work."""
        self.errand.one_is_done()


def work_of(requests: SendRequests, delivery: Delivery, consumer: Consumer) -> list[Work]:
    """The work that one message asks for."""
    errand = Errand(delivery, consumer, len(requests.requests))
    return [Work(request, requests.route, errand) for request in requests.requests]


class ClaimedWork(msgspec.Struct, frozen=True, eq=False):
    """Work that this sender has claimed, for those of its recipients that could be: the `key` of a mail under way."""

    work: Work
    numbers: tuple[int, ...]  # recipients, in the order of the mail's
    attempts: tuple[int, ...]


def first_of(waiting: Iterable[Work], most: int, enough: int) -> list[Work]:
    """The first work to be claimed at once: small mails until they have enough octets, or one that goes by itself."""
    batch: list[Work] = []
    octets = 0
    for work in itertools.islice(waiting, max(most, 0)):
        by_itself = work.size > LARGE or work.alone
        if octets >= enough or (by_itself and batch):
            break
        batch.append(work)
        octets += work.size
        if by_itself:
            break
    return batch


def claimed_mail(work: Work, claims: dict[int, Claim], is_ours: Callable[[Sequence[int]], bool]) -> OutgoingMail | None:
    """The mail for those recipients that could be claimed; work of which none could is done.

    It takes its claims out: a second copy of the work may stand in the same batch. `is_ours` tells whether recipients
    are claimed still.
    """
    envelope = work.request.envelope
    recipients = [recipient for recipient in envelope.recipients if recipient.no in claims]
    taken = [claims.pop(recipient.no) for recipient in recipients]
    if not recipients:
        work.done()
        log.info("not_claimed", mail=envelope.mail, attempt=work.request.attempt, next="none")
        return None
    numbers = tuple(recipient.no for recipient in recipients)
    return OutgoingMail(
        envelope.reverse_path,
        tuple(recipient.address for recipient in recipients),
        taken[0].content,
        envelope.eight_bit,
        envelope.smtputf8,
        ClaimedWork(work, numbers, tuple(claim.attempt for claim in taken)),
        envelope.mail,
        envelope.notify,
        envelope.ret,
        partial(is_ours, numbers),
    )
