"""Connections under the settings in force, and what is remembered from one to the next."""

from collections.abc import Mapping
from datetime import UTC, datetime

from services.sender.broken_tls import BrokenTls
from services.sender.connection import Connection, Note, Unreachable, connect
from services.sender.families import Families
from services.sender.helo import HeloNames
from services.sender.login import Logins
from services.sender.signing import Signing
from shared.contracts.work import Route
from shared.settings import Settings, may_pipeline
from shared.settings_feed import InForce


class Dialler:
    """Opens connections under the settings in force."""

    def __init__(self, settings: Settings, note: Note | None = None) -> None:
        """`note` gets what servers say of mails, as soon as they do."""
        self._note = note
        self._names = self._names_of(settings)
        self._of = settings
        self.signing = Signing(settings.dkim)
        self._broken_tls = BrokenTls()
        self._logins = Logins()
        self._families = Families()

    @property
    def greetings(self) -> Mapping[str, str]:
        """What was said in EHLO under the settings in force, by our address."""
        return self._names.said

    def on_change(self, accepted: InForce) -> None:
        """Another HELO name, other name servers to ask for it, or other keys to sign with."""
        now, former = accepted.settings, self._of
        if _asked_for(now) != _asked_for(former):
            self._names = self._names_of(now)
        self._of = now
        self.signing.domains = now.dkim

    async def connect(self, route: Route) -> Connection | Unreachable:
        """Open a connection to the first host of the route that can be used."""
        return await connect(
            route,
            helo=self._names,
            timeouts=self._of.timeouts,
            may_pipeline=lambda host: may_pipeline(self._of, host, datetime.now(UTC)),
            fallback=self._of.fallback,
            broken_tls=self._broken_tls,
            logins=self._logins,
            families=self._families,
            most_addresses=self._of.limits.addresses,
            note=self._note,
        )

    @staticmethod
    def _names_of(settings: Settings) -> HeloNames:
        identity = settings.identity
        return HeloNames(identity.helo_name, settings.dns.servers, fallback=identity.helo_fallback)


def _asked_for(settings: Settings) -> tuple[object, ...]:
    return settings.identity.helo_name, settings.identity.helo_fallback, settings.dns
