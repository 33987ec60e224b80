"""Hosts that refused on policy over IPv4 or over IPv6, and are tried over the other next time.

Receivers ask more of one than of the other: a name in reverse DNS, a reputation. What over the one is refused for
good may pass over the other. Each sender remembers for itself; a greylisting is no refusal, and to change the address
would only start it anew.
"""

import re
import time
from collections.abc import Callable, Sequence

from services.sender.session_mails import MailResult, Sent
from services.sender.targets import Target, is_ipv6
from shared.outcomes import Bounced, Deferred
from shared.smtp_reply import Reply

_REMEMBERED_S = 6 * 3600.0
_MOST_HOSTS = 10_000
_OF_POLICY = re.compile(r"[45]\.7\.(?!(?:3|4|5|6|7|8|9|10|11|12|13|14|15)$)[0-9]+")  # those are of TLS, AUTH, crypto
_GREYLISTS = re.compile(r"gr[ae]y.?list|try again later", re.IGNORECASE)


class Families:
    """Which family each host is tried over last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused: dict[str, tuple[bool, float]] = {}  # by host: whether over IPv6, and when

    def note(self, target: Target, reply: Reply) -> None:
        """The target gave this reply, other than 2yz and 3yz, to something of ours."""
        if is_policy(reply):
            self._refused.pop(target.host, None)
            self._refused[target.host] = is_ipv6(target), self._clock()
            if len(self._refused) > _MOST_HOSTS:
                del self._refused[next(iter(self._refused))]

    def note_results(self, target: Target, results: Sequence[MailResult]) -> None:
        """What became of mails at the target."""
        for result in results:
            if isinstance(result, Sent):
                for outcome in result.outcomes:
                    if isinstance(outcome, Bounced | Deferred):
                        self.note(target, outcome.reply)

    def arranged(self, targets: Sequence[Target]) -> list[Target]:
        """The targets with each host's addresses in the order to try this time; hosts keep their places."""
        if not self._refused:
            return list(targets)
        places: dict[str, list[int]] = {}
        for place, target in enumerate(targets):
            places.setdefault(target.host, []).append(place)
        arranged = list(targets)
        for host, of_host in places.items():
            over_ipv6, since = self._refused.get(host, (False, float("-inf")))
            if self._clock() - since < _REMEMBERED_S:
                ordered = sorted((targets[place] for place in of_host), key=lambda t: is_ipv6(t) is over_ipv6)
                for place, target in zip(of_host, ordered, strict=True):
                    arranged[place] = target
        return arranged


def is_policy(reply: Reply) -> bool:
    """Whether a server refuses us by its policy (RFC 3463 X.7.z), and not the content of our settings."""
    refuses = reply.remote and _OF_POLICY.fullmatch(reply.enhanced) is not None
    return refuses and _GREYLISTS.search(reply.text) is None
