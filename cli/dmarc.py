"""Which DMARC record counts for a domain, and which its organisational domain is (RFC 9989 section 4.10).

By the tree walk, which needs no list of public suffixes. Receivers that still go by RFC 7489 and such a list find the
same, unless the record lies between the domain and the one that was registered: those see no record there.
"""

import re
from collections.abc import Sequence

import msgspec

from shared.dns_questions import Ask

_MOST_LABELS = 8  # a longer name goes up to seven labels in one step
_VERSION = re.compile(r"v\s*=\s*DMARC1\s*(;|$)")


class Walk(msgspec.Struct, frozen=True):
    """What was found on the way up from a domain."""

    domain: str
    found: dict[str, tuple[str, ...]]  # the records at each name that has some, the domain's own first

    @property
    def organisational(self) -> str:
        """The domain within which names count as aligned."""
        tags = {name: tags_of(record) for name, record in self._valid().items()}
        for name, of in tags.items():
            if of.get("psd") == "n":
                return name
            if of.get("psd") == "y" and name != self.domain:
                return ".".join(self.domain.split(".")[-name.count(".") - 2 :])  # one label more
        return min(tags, key=lambda name: name.count("."), default=self.domain)

    @property
    def counting(self) -> str:
        """Where the record lies that counts: at the domain, else at the organisational one, else at its registry's."""
        valid = self._valid()
        if self.domain in self.found or not valid:
            return self.domain
        return self.organisational if self.organisational in valid else min(valid, key=lambda name: name.count("."))

    @property
    def records(self) -> Sequence[str]:
        """What lies there: none, one, or several, of which receivers take none."""
        return self.found.get(self.counting, ())

    def _valid(self) -> dict[str, str]:
        return {name: records[0] for name, records in self.found.items() if len(records) == 1}


async def walk(domain: str, ask: Ask) -> Walk:
    """Look from the domain upwards. Raises Temporary."""
    found: dict[str, tuple[str, ...]] = {}
    labels = domain.split(".")
    while labels:
        name = ".".join(labels)
        if records := tuple(text for text in await ask(f"_dmarc.{name}", "TXT") if _VERSION.match(text)):
            found[name] = records
        if len(records) == 1 and tags_of(records[0]).get("psd") in ("y", "n"):
            break
        labels = labels[1:] if len(labels) < _MOST_LABELS else labels[1 - _MOST_LABELS :]
    return Walk(domain, found)


def tags_of(record: str) -> dict[str, str]:
    """`v=DMARC1; p=none` as a dictionary; white space within values is no part of them (RFC 6376 section 3.2)."""
    pairs = (part.partition("=") for part in record.split(";") if "=" in part)
    return {name.strip(): re.sub(r"\s", "", value) for name, _, value in pairs}
