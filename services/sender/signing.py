"""Which mail is signed with which keys: the setting `dkim`, keys read where it says, verdicts where they fail."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from services.sender.dkim import Signer, author_domain, sign
from services.sender.envelope import OutgoingMail
from shared.dkim_key import SigningKey, UnfitKey, parse_key
from shared.settings import DkimKey, KeyReference
from shared.smtp_reply import Reply, own_verdict
from shared.trouble import what_failed

log = structlog.get_logger()

Domains = Mapping[str, tuple[DkimKey, ...]]
_Stamp = tuple[int, int, int]  # of a file: when it was written, its size, its number


class Unsigned(msgspec.Struct, frozen=True):
    """A mail that should be signed and can not be: it does not go."""

    mail: OutgoingMail
    reason: Reply


class Signing:
    """Signs what is to be signed. Keys are read once, and again when their file has changed."""

    def __init__(self, domains: Domains) -> None:
        self.domains = domains
        self._files: dict[str, tuple[_Stamp, SigningKey]] = {}

    async def sign(self, mails: Sequence[OutgoingMail]) -> list[OutgoingMail | Unsigned]:
        """Each mail as it is to go, or why it is not. Without the setting it costs nothing.

        It runs in a thread: a batch takes up to 0.1 s, in which the connections would stand still; the signatures
        themselves are made without Python's lock.
        """
        if not self.domains or not mails:
            return list(mails)
        return await asyncio.to_thread(self._sign_all, mails, self.domains)

    def _sign_all(self, mails: Sequence[OutgoingMail], domains: Domains) -> list[OutgoingMail | Unsigned]:
        signers: dict[str, list[Signer] | Reply] = {}  # by configured domain, for this batch
        return [self._sign_or_defer(mail, domains, signers) for mail in mails]

    def _sign_or_defer(
        self, mail: OutgoingMail, domains: Domains, signers: dict[str, list[Signer] | Reply]
    ) -> OutgoingMail | Unsigned:
        try:
            return self._sign_one(mail, domains, signers)
        except Exception as error:
            # Nobody planned for this. It concerns one mail of a batch, and the others are claimed, too.
            log.error("not_signed", mail=mail.id, reason=what_failed(error), next="deferred")
            return Unsigned(mail, own_verdict(451, "4.3.0", f"no DKIM signature: {what_failed(error)}"))

    def _sign_one(
        self, mail: OutgoingMail, domains: Domains, signers: dict[str, list[Signer] | Reply]
    ) -> OutgoingMail | Unsigned:
        domain = configured(author_domain(mail.content), domains)
        if domain is None or not domains[domain]:
            return mail
        if domain not in signers:
            signers[domain] = self._signers(domain, domains[domain])
        match signers[domain]:
            case Reply() as reason:
                return Unsigned(mail, reason)
            case found:
                return msgspec.structs.replace(mail, content=sign(mail.content, found, int(time.time())))

    def _signers(self, domain: str, keys: Sequence[DkimKey]) -> list[Signer] | Reply:
        """All keys of a domain, or the verdict on its mails."""
        found: list[Signer] = []
        for key in keys:
            try:
                found.append(Signer(domain, key.selector, self._read(key.key)))
            except (OSError, KeyError, UnfitKey) as error:
                reason = _why(error)
                place = _place(key.key)
                log.error("dkim_key", domain=domain, selector=key.selector, place=place, reason=reason, next="deferred")
                return own_verdict(
                    451, "4.3.5", f"no DKIM signature for {domain}: key {key.selector} in the {place}: {reason}"
                )
        return found

    def _read(self, reference: KeyReference) -> SigningKey:
        """Raises OSError, KeyError or UnfitKey."""
        if reference.env is not None:
            return parse_key(os.environ[reference.env].encode("utf-8", "surrogateescape"))
        path = reference.file or ""
        status = os.stat(path)
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._files.get(path)
        if known is None or known[0] != stamp:
            self._files[path] = known = (stamp, parse_key(Path(path).read_bytes()))
        return known[1]


def configured(domain: str, domains: Domains) -> str | None:
    """The domain whose keys sign for `domain`: itself, or the nearest above it that has an entry."""
    while domain and domain not in domains:
        domain = domain.partition(".")[2]
    return domain or None


def _place(reference: KeyReference) -> str:
    return f"environment variable {reference.env}" if reference.env is not None else f"file {reference.file}"


def _why(error: Exception) -> str:
    match error:
        case OSError():
            return str(error.strerror)
        case KeyError():
            return "it is not set"
        case _:
            return str(error)
