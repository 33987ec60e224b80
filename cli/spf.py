"""Whether a domain's SPF record lets an address send for it (RFC 7208), as a receiver would find.

Covers every mechanism but `ptr`, which counts as no match (section 5.5 asks not to use it), `redirect`, macros but
`%{p}`, the limits of ten look-ups and two empty ones. Explanations (`exp`) are not fetched.
"""

import ipaddress
import re
from typing import Literal

import msgspec

from shared.dns_questions import Ask, Temporary

Word = Literal["pass", "fail", "softfail", "neutral", "none", "permerror", "temperror"]

_RESULTS: dict[str, Word] = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_MOST_LOOKUPS, _MOST_EMPTY = 10, 2  # section 4.6.4
_MODIFIER = re.compile(r"([a-z][a-z0-9._-]*)=(.*)", re.IGNORECASE)
_MECHANISM = re.compile(
    r"([+?~-]?)([a-z][a-z0-9]*)(?::([^/]*(?:/[^/0-9][^/]*)*))?(?:/(\d+))?(?://(\d+))?", re.IGNORECASE
)
_ADDRESSES = re.compile(r"([+?~-]?)(ip4|ip6):([^/]+)(?:/(\d+))?", re.IGNORECASE)
_MACRO = re.compile(r"%(?:\{([slodiphv])(\d*)(r?)([.+,/_=-]*)\}|([%_-]))", re.IGNORECASE)

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class SpfResult(msgspec.Struct, frozen=True):
    """The result by its name in RFC 7208 section 2.6, and what brought it about."""

    result: Word
    why: str


class _Wrong(Exception):
    """A record that can not be followed: permerror."""


async def check_spf(address: str, sender: str, helo: str, ask: Ask) -> SpfResult:
    """Judge mail with this reverse-path from this address."""
    check = _Check(ipaddress.ip_address(address), sender, helo, ask)
    try:
        return await check.of(sender.rpartition("@")[2])
    except Temporary as error:
        return SpfResult("temperror", str(error))
    except _Wrong as error:
        return SpfResult("permerror", str(error))


class _Check:
    """One evaluation, with its budget of look-ups."""

    def __init__(self, address: _Address, sender: str, helo: str, ask: Ask) -> None:
        self._address = address
        self._sender = sender
        self._helo = helo
        self._ask = ask
        self._lookups = self._empty = 0

    async def of(self, domain: str) -> SpfResult:
        """Follow the record of a domain."""
        records = [text for text in await self._ask(domain, "TXT") if re.match(r"v=spf1(?: |$)", text, re.IGNORECASE)]
        if not records:
            return SpfResult("none", f"{domain} has no SPF record")
        if len(records) > 1:
            raise _Wrong(f"{domain} has {len(records)} SPF records; takes one")
        redirect = ""
        for term in records[0].split()[1:]:
            if modifier := _MODIFIER.fullmatch(term):
                redirect = modifier[2] if modifier[1].lower() == "redirect" else redirect
            elif result := await self._term(term, domain):
                return SpfResult(result, f"{term} in the record of {domain}")
        if not redirect:
            return SpfResult("neutral", f"no term of the record of {domain} matches")
        self._count()
        found = await self.of(self._expanded(redirect, domain))
        if found.result == "none":
            raise _Wrong(f"redirect={redirect} leads to no record")
        return found

    async def _term(self, term: str, domain: str) -> Word | None:
        """The result of a mechanism that matches."""
        if listed := _ADDRESSES.fullmatch(term):
            sign, kind, text, length = listed.groups()
            return _RESULTS[sign or "+"] if self._within(kind.lower(), text, length) else None
        found = _MECHANISM.fullmatch(term)
        if found is None:
            raise _Wrong(f"{term} in the record of {domain} is no mechanism")
        sign, name, argument, four, six = found.groups()
        target = self._expanded(argument, domain) if argument else domain
        return _RESULTS[sign or "+"] if await self._matches(name.lower(), target, four, six) else None

    async def _matches(self, name: str, target: str, four: str | None, six: str | None) -> bool:
        if name == "all":
            return True
        if name not in ("a", "mx", "include", "exists", "ptr"):
            raise _Wrong(f"{name} is no mechanism of SPF")
        self._count()
        match name:
            case "include":
                inner = await self.of(target)
                if inner.result == "none":
                    raise _Wrong(f"include:{target}: {inner.why}")
                return inner.result == "pass"
            case "exists":
                return bool(await self._looked_up(target, "A"))
            case "a":
                return await self._has(target, four, six)
            case "mx":
                hosts = [text.split()[-1].rstrip(".") for text in await self._looked_up(target, "MX")]
                if len(hosts) > _MOST_LOOKUPS:
                    raise _Wrong(f"{target} has more than {_MOST_LOOKUPS} MX hosts")
                return any([await self._has(host, four, six) for host in hosts if host])
            case _:
                return False

    async def _has(self, host: str, four: str | None, six: str | None) -> bool:
        kind, length = ("A", four or "32") if self._address.version == 4 else ("AAAA", six or "128")
        return any(self._in(text, length) for text in await self._looked_up(host, kind))

    def _within(self, kind: str, text: str, length: str | None) -> bool:
        if (kind == "ip4") != (self._address.version == 4):
            return False
        return self._in(text, length or ("32" if kind == "ip4" else "128"))

    def _in(self, text: str, length: str) -> bool:
        try:
            return self._address in ipaddress.ip_network(f"{text}/{length}", strict=False)
        except ValueError as error:
            raise _Wrong(f"{text}/{length} is no network") from error

    async def _looked_up(self, name: str, kind: str) -> list[str]:
        found = await self._ask(name, kind)
        if not found:
            self._empty += 1
            if self._empty > _MOST_EMPTY:
                raise _Wrong(f"more than {_MOST_EMPTY} names without records, the last of them {name}")
        return found

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > _MOST_LOOKUPS:
            raise _Wrong(f"more than {_MOST_LOOKUPS} look-ups are needed")

    def _expanded(self, text: str, domain: str) -> str:
        """Section 7.3."""

        def value(found: re.Match[str]) -> str:
            letter, digits, reverse, delimiters, plain = found.groups()
            if plain:
                return {"%": "%", "_": " ", "-": "%20"}[plain]
            parts = re.split(f"[{re.escape(delimiters or '.')}]", self._letter(letter.lower(), domain))
            parts = parts[::-1] if reverse else parts
            return ".".join(parts[-int(digits) :] if digits else parts)

        return _MACRO.sub(value, text)

    def _letter(self, letter: str, domain: str) -> str:
        local, _, sender_domain = self._sender.rpartition("@")
        match letter:
            case "s":
                return self._sender
            case "l":
                return local
            case "o":
                return sender_domain
            case "d":
                return domain
            case "h":
                return self._helo
            case "v":
                return "in-addr" if self._address.version == 4 else "ip6"
            case "i" if self._address.version == 4:
                return str(self._address)
            case "i":
                return ".".join(self._address.exploded.replace(":", ""))
            case _:
                raise _Wrong("the macro %{p} is not followed here")
