"""Which addresses of a route are tried, and what it means when none of them can be used. Pure."""

from collections.abc import Sequence

import msgspec

from services.sender.opening import Stage
from shared.outcomes import Bounced, Deferred
from shared.smtp_reply import Reply, Severity, own_verdict, severity

MAX_TARGETS = 5  # addresses tried in one attempt; RFC 5321 section 5.1 wants two at least


class Target(msgspec.Struct, frozen=True):
    """One address of one host."""

    host: str
    address: str
    port: int

    def __str__(self) -> str:
        """`mx1.example.net [192.0.2.1]:25`"""
        name = "" if self.host in (self.address, f"[{self.address}]") else f"{self.host} "
        return f"{name}[{self.address}]:{self.port}"


class Failure(msgspec.Struct, frozen=True):
    """Why a target can not be used."""

    target: Target
    stage: Stage
    reply: Reply

    @property
    def ends_the_search(self) -> bool:
        """Whether no other address can do better."""
        # Another host gets the same password; to try it everywhere only locks the account.
        signed_in_vainly = self.stage is Stage.AUTH and severity(self.reply) is Severity.PERMANENT
        return signed_in_vainly or self.stage is Stage.LOOP


def choose(targets: Sequence[Target], most: int = MAX_TARGETS) -> list[Target]:
    """The first `most` of them, in order; of both address families, where there are both (RFC 5321 section 5.2)."""
    chosen = list(targets[:most])
    families = {is_ipv6(target) for target in chosen}
    other = next((target for target in targets[most:] if is_ipv6(target) not in families), None)
    return chosen if other is None else [*chosen[:-1], other]


def verdict(failures: Sequence[Failure], every_host_tried: bool) -> Deferred | Bounced:
    """What a mail gets that could go nowhere. Only hosts that all say so themselves make it permanent (RFC 7504)."""
    if not failures:
        return Deferred(own_verdict(451, "4.4.4", "the route has no host with an address"))
    last = failures[-1]
    if last.stage is Stage.LOOP and all(_says_no_for_good(failure) for failure in failures):
        # Were a host before it out of reach for now, that one takes the mail when it is back.
        return Bounced(last.reply, str(last.target))
    if every_host_tried and all(_greets_nobody(failure) for failure in failures):
        return Bounced(last.reply, str(last.target))
    # What a server said tells more than a connection that did not come about, and that more than a missing route.
    others = [failure for failure in failures if failure.stage is not Stage.LOOP]
    there = [failure for failure in others if failure.stage is not Stage.NO_ROUTE]
    heard = [failure for failure in others if failure.reply.remote]
    telling = [others[-1], *there[-1:], *heard[-1:]][-1]
    return Deferred(telling.reply, str(telling.target))


def _says_no_for_good(failure: Failure) -> bool:
    return failure.stage is Stage.LOOP or _greets_nobody(failure)


def _greets_nobody(failure: Failure) -> bool:
    return failure.stage is Stage.GREETING and severity(failure.reply) is Severity.PERMANENT


def is_ipv6(target: Target) -> bool:
    """Whether its address is one of IPv6."""
    return ":" in target.address
