"""Names and addresses: DNS, egress addresses and their reverse DNS, the HELO name, SPF, the DKIM keys."""

import asyncio
import ipaddress
import os
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

from cli.dmarc import tags_of
from cli.doctor_rows import NAME_SERVERS, Row, failed, ok, skipped, warning
from cli.spf import SpfResult, check_spf
from services.sender.helo import HeloNames
from services.sender.signing import configured
from shared.dkim_key import SigningKey, UnfitKey, parse_key, record_name, zone_line
from shared.dns_questions import Ask, Temporary
from shared.host_names import address_literal
from shared.reverse_dns import Confirmed, Finding, Unconfirmed, Unknown, confirm, leads_to
from shared.settings import DkimKey, KeyReference, Settings


async def dns_row(settings: Settings, ask: Ask) -> Row:
    """Whether the name servers answer: the root zone has name servers, whoever is asked."""
    asked = ", ".join(settings.dns.servers) or "the system's name servers"
    try:
        await ask(".", "NS")
    except Temporary as error:
        if "REFUSED" in str(error):  # it is there, and serves its own zones alone
            return warning("DNS", f"{asked}: answer, but not for the whole of DNS", NAME_SERVERS)
        return failed("DNS", f"{asked}: {error}", NAME_SERVERS)
    return ok("DNS", f"{asked}: answer")


async def egress_rows(settings: Settings, addresses: Sequence[str], named: bool, ask: Ask) -> list[Row]:
    """Each egress address, its name in reverse DNS, and what is said in EHLO from there."""
    if not addresses:
        return [failed("egress", "there is no way out of this machine", "give it a route to the network")]
    rows = []
    for address, finding in zip(addresses, await asyncio.gather(*(confirm(a, ask) for a in addresses)), strict=True):
        rows += [reverse_row(address, finding, settings, named), await helo_row(address, finding, settings, ask)]
    return rows


def reverse_row(address: str, finding: Finding, settings: Settings, named: bool) -> Row:
    """The judgement on forward-confirmed reverse DNS; behind a relay it is the relay's that counts.

    `named`: the operator says that this is the address which the world sees.
    """
    check = f"reverse DNS of {address}"
    match finding:
        case Confirmed(name):
            return ok(check, f"{name}, and it leads back")
        case Unknown(why):
            return failed(check, f"not to be found out now: {why}", NAME_SERVERS)
        case Unconfirmed(_, why) if not named and ipaddress.ip_address(address).is_private:
            words = "the address is a private one: the world sees another (NAT)"
            return skipped(check, f"{words}; {why}", "name the address that the world sees: --egress ADDRESS")
        case Unconfirmed(_, why):
            advice = "ask who gave you the address for a PTR record, and give its name this address"
            return (failed if settings.delivery.mode == "direct" else warning)(check, why, advice)


async def helo_row(address: str, finding: Finding, settings: Settings, ask: Ask) -> Row:
    """The judgement on what the senders say in EHLO from this address."""
    check, identity = f"HELO from {address}", settings.identity
    if identity.helo_name == "auto":
        if isinstance(finding, Confirmed):
            return ok(check, f"{finding.name}, found by reverse DNS")
        said = identity.helo_fallback or address_literal(address)
        advice = f"set identity.helo_name to a name that leads to {address}"
        return warning(check, f"auto found no name ({finding.why}): senders say {said}", advice)
    if identity.helo_name.startswith("["):
        return warning(check, identity.helo_name, "some receivers refuse an address: set identity.helo_name to a name")
    try:
        leads = await leads_to(identity.helo_name, address, ask)
    except Temporary as error:
        return failed(check, f"{identity.helo_name}: {error}", NAME_SERVERS)
    if leads:
        return ok(check, f"{identity.helo_name}, as set, and it leads here")
    advice = f"give {identity.helo_name} an A or AAAA record with the address that the world sees"
    return warning(check, f"{identity.helo_name}, as set, does not lead to {address}", advice)


async def spf_rows(domain: str, addresses: Sequence[str], names: HeloNames, ask: Ask) -> list[Row]:
    """Whether the domain's SPF record lets each address send."""
    if not addresses:
        why = "which addresses go out is not known: behind a relay they are the relay's"
        return [skipped("SPF", why, "name them: --egress ADDRESS")]
    sender = f"postmaster@{domain}"
    helo = [await names.argument(address) for address in addresses]
    results = await asyncio.gather(*(check_spf(*of, ask) for of in zip(addresses, repeat(sender), helo, strict=False)))
    return [spf_row(domain, address, result) for address, result in zip(addresses, results, strict=True)]


def spf_row(domain: str, address: str, found: SpfResult) -> Row:
    """The judgement on one result."""
    check, words = f"SPF of {domain} for {address}", f"{found.result}: {found.why}"
    mechanism = f"ip{'6' if ':' in address else '4'}:{address}"
    match found.result:
        case "pass":
            return ok(check, words)
        case "none":
            return failed(check, words, f'publish: {domain}. IN TXT "v=spf1 {mechanism} -all"')
        case "temperror":
            return failed(check, words, NAME_SERVERS)
        case "permerror":
            return failed(check, words, f"mend the record of {domain}; receivers ignore it")
        case _:
            return failed(check, words, f"add {mechanism} to the record of {domain}")


def keys_of(domain: str, settings: Settings) -> tuple[str | None, tuple[DkimKey, ...]]:
    """The domain whose keys sign for this one: itself, or the nearest above it that has an entry."""
    name = configured(domain, settings.dkim)
    return (name, settings.dkim[name]) if name else (None, ())


async def dkim_rows(domain: str, settings: Settings, ask: Ask) -> list[Row]:
    """Each key that signs the domain's mail, against what DNS has of it."""
    signer, keys = keys_of(domain, settings)
    if signer is None or not keys:
        advice = "make a key with `pillarbox dkim keygen` and set it: large receivers ask for a signature"
        return [warning(f"DKIM of {domain}", "no key is set: its mail is not signed", advice)]
    return [await _dkim_row(signer, key, ask) for key in keys]


async def _dkim_row(domain: str, key: DkimKey, ask: Ask) -> Row:
    name = record_name(domain, key.selector)
    try:
        private = await asyncio.to_thread(_read, key.key)
    except (OSError, KeyError, UnfitKey) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return failed(f"DKIM {name}", f"the private key can not be read here: {why}", "put it where the settings say")
    try:
        return dkim_judged(domain, key.selector, private, await ask(name, "TXT"))
    except Temporary as error:
        return failed(f"DKIM {name}", str(error), NAME_SERVERS)


def dkim_judged(domain: str, selector: str, private: SigningKey, found: Sequence[str]) -> Row:
    """The judgement on the records found under a selector."""
    check = f"DKIM {record_name(domain, selector)}"
    publish = f"publish: {zone_line(domain, selector, private.record())}"
    if not found:
        return failed(check, "no record in DNS", publish)
    if len(found) > 1:
        return failed(check, f"{len(found)} records in DNS; takes one", publish)
    theirs, ours = tags_of(found[0]), tags_of(private.record())
    if not theirs.get("p"):
        return failed(check, "the key is revoked, or the record has none", publish)
    if (theirs.get("k", "rsa"), theirs["p"]) != (ours["k"], ours["p"]):
        return failed(check, "DNS has another key than the one that signs", publish)
    if "y" in theirs.get("t", "").split(":"):
        return warning(check, "the record says that the domain is testing (t=y)", "take t=y out of the record")
    return ok(check, f"{private.algorithm}, the same in DNS")


def _read(reference: KeyReference) -> SigningKey:
    """Raises OSError, KeyError or UnfitKey."""
    if reference.env is not None:
        return parse_key(os.environ[reference.env].encode("utf-8", "surrogateescape"))
    return parse_key(Path(reference.file or "").read_bytes())
