"""Hosts whose TLS is broken, as far as this sender has seen: for mode enable, which goes on in plaintext."""

from datetime import timedelta

from services.sender.targets import Target

_MOST = 10_000  # hosts; beyond, the one noted first is forgotten, which costs one handshake in vain


class BrokenTls:
    """A memory, so that not every connection to such a host begins with a handshake in vain."""

    def __init__(self) -> None:
        self._noted: dict[Target, float] = {}

    def note(self, target: Target, now: float) -> None:
        """Its TLS failed, and in plaintext it takes mail. `now` in seconds of any one clock."""
        self._noted.pop(target, None)
        self._noted[target] = now
        if len(self._noted) > _MOST:
            del self._noted[next(iter(self._noted))]

    def has(self, target: Target, now: float, lifetime: timedelta) -> bool:
        """Whether that was less than `lifetime` ago; after that, TLS has to be tried anew."""
        noted = self._noted.get(target)
        return noted is not None and now - noted < lifetime.total_seconds()
