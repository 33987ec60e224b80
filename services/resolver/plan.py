"""What DNS answers mean for a domain's mail (RFC 5321 section 5.1, RFC 7505): pure."""

import ipaddress
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import blake2b
from itertools import chain, groupby, zip_longest

import msgspec
from msgspec import Struct

from services.resolver.answers import Answer, Failed, Found, Looped, Missing, MxRecord
from services.resolver.domains import is_host_name, no_such_domain
from shared.contracts.work import Host
from shared.outcomes import Bounced, Deferred
from shared.smtp_reply import own_verdict

LONGEST_SITE = 200  # characters of a site's name: it stands in every work message, log line and list

_MAX_HOSTS = 32  # of one MX set; each costs two questions, and real sets stay below 20

# How long answers hold, in seconds, whatever their TTL says.
_SHORTEST_S = 1  # TTL 0 forbids keeping; but a burst of mails to one domain is one question
_LONGEST_S = 3600
_LONGEST_MISSING_S = 300  # a new domain or a repaired record is found soon (RFC 2308 section 5 allows hours)
_FAILED_S = 5  # so that a burst of mails does not wait for a dead name server one by one
PARTLY_FAILED_S = 60  # where a part is known and serves meanwhile


class MxHosts(Struct, frozen=True):
    """Where a domain's mail goes."""

    hosts: tuple[Host, ...]  # in the order to try
    site: str
    names: tuple[str, ...]  # the whole MX set, sorted; by these a site's limits are set


class Plan(Struct, frozen=True):
    """What stays the same from one route to the next: hosts by preference, equals together."""

    groups: tuple[tuple[Host, ...], ...]
    site: str
    names: tuple[str, ...]

    def arranged(self, max_addresses: int) -> MxHosts:
        """The hosts in the order to try this time: equals are shuffled anew (RFC 5321 section 5.1)."""
        hosts = tuple(
            chain.from_iterable(random.sample(group, len(group)) if len(group) > 1 else group for group in self.groups)
        )
        return MxHosts(capped(hosts, max_addresses), self.site, self.names)


class MailHosts(Struct, frozen=True):
    """The hosts whose addresses are wanted, in ascending preference."""

    records: tuple[MxRecord, ...]
    names: tuple[str, ...]  # the whole set, sorted, hosts beyond the limit too: it makes the site
    implicit: bool  # the domain itself, which has no MX


def mail_hosts_of(domain: str, answer: Answer[MxRecord], own_names: Collection[str]) -> MailHosts | Deferred | Bounced:
    """What the answer to the question for MX means."""
    match answer:
        case Failed(reason):
            return _dns_failed(domain, reason)
        case Looped():
            return no_route(f"the CNAMEs of {domain} lead in a circle")
        case Missing(exists=False):
            return no_such_domain(f"{domain} does not exist")
        case Missing(name=name):
            return _contactable(domain, [MxRecord(0, name)], own_names, implicit=True)
        case Found(records):
            named = [record for record in records if record.host != "."]
            if not named:
                return Bounced(own_verdict(556, "5.1.10", f"{domain} accepts no mail: it has a null MX"))
            return _contactable(domain, named, own_names, implicit=False)


def _contactable(
    domain: str, records: list[MxRecord], own_names: Collection[str], *, implicit: bool
) -> MailHosts | Bounced:
    best: dict[str, MxRecord] = {}
    for record in sorted(records, key=lambda record: record.preference):
        best.setdefault(record.host, record)
    # An address in text form is no host name (RFC 5321 section 5.1); as one it could only be found by mischief.
    named = [record for record in best.values() if is_host_name(record.host)]
    if not named:
        return no_route(f"no MX of {domain} names a host")
    nearer = min((record.preference for record in named if record.host in own_names), default=None)
    # Hosts no nearer to the mailbox than this one would hand the mail back (RFC 5321 section 5.1).
    left = [record for record in named if nearer is None or record.preference < nearer]
    if not left:
        return Bounced(own_verdict(554, "5.4.6", f"mail for {domain} would come back: its MX is this system"))
    names = tuple(sorted(record.host for record in left))
    return MailHosts(tuple(left[:_MAX_HOSTS]), names, implicit)


def without_own(mail_hosts: MailHosts, answers: Mapping[str, Answer[str]], own_addresses: Collection[str]) -> MailHosts:
    """Without what stands behind a host that is this system by its address; the host itself is refused later."""
    nearer = min((r.preference for r in mail_hosts.records if _has_one(answers[r.host], own_addresses)), default=None)
    if nearer is None:
        return mail_hosts
    left = tuple(r for r in mail_hosts.records if r.preference < nearer or _has_one(answers[r.host], own_addresses))
    return msgspec.structs.replace(mail_hosts, records=left)


def _has_one(answer: Answer[str], own_addresses: Collection[str]) -> bool:
    return isinstance(answer, Found) and any(address in own_addresses for address in answer.values)


def addresses_of(ipv4: Answer[str], ipv6: Answer[str]) -> Answer[str]:
    """A host's addresses from its A and AAAA records, in turns, IPv4 first.

    In turns, so that the second address tried is of the other family; IPv4 first, because receivers ask more of
    IPv6 senders (a PTR record, at least) than many networks give.
    """
    match ipv4, ipv6:
        case Found(), Found():
            turns = chain.from_iterable(zip_longest(ipv4.values, ipv6.values))
            values = tuple(address for address in turns if address is not None)
            return Found(values, ipv4.name, min(ipv4.ttl_s, ipv6.ttl_s))
        case (Found() as found, other) | (other, Found() as found):
            ttl_s = min(found.ttl_s, PARTLY_FAILED_S) if isinstance(other, Failed) else found.ttl_s
            return Found(found.values, found.name, ttl_s)
        case (Failed() as failed, _) | (_, Failed() as failed):
            return failed
        case (Missing(exists=True) as missing, _) | (_, Missing(exists=True) as missing):
            return missing
        case _:
            return ipv4


def plan_of(
    domain: str,
    mail_hosts: MailHosts,
    answers: Mapping[str, Answer[str]],
    port: int,
    refused: Callable[[str], bool],
) -> Plan | Deferred | Bounced:
    """The plan for a domain from the addresses of its mail hosts."""
    ranked: list[tuple[tuple[int, bool], Host]] = []
    dropped: list[str] = []
    for record in mail_hosts.records:
        answer = answers[record.host]
        if not isinstance(answer, Found):
            continue
        addresses = tuple(address for address in answer.values if not refused(address))
        dropped += [address for address in answer.values if address not in addresses]
        if addresses:
            # An MX must not name an alias (RFC 2181 section 10.3): it serves, after its clean equals.
            rank = (record.preference, answer.name != record.host)
            ranked.append((rank, Host(record.host, port, addresses)))
    if not ranked:
        return _no_addresses(domain, mail_hosts, answers, dropped)
    ranked.sort(key=lambda entry: entry[0])
    groups = groupby(ranked, key=lambda entry: entry[0])
    by_rank = tuple(tuple(host for _, host in group) for _, group in groups)
    return Plan(by_rank, site_of(mail_hosts.names), mail_hosts.names)


def _no_addresses(
    domain: str, mail_hosts: MailHosts, answers: Mapping[str, Answer[str]], dropped: list[str]
) -> Deferred | Bounced:
    for host, answer in answers.items():
        if isinstance(answer, Failed):
            return _dns_failed(host, answer.reason)
    if dropped:
        return no_route(f"the MX hosts of {domain} have addresses of this machine only: {', '.join(dropped)}")
    if mail_hosts.implicit and any(isinstance(a, Missing) and not a.exists for a in answers.values()):
        return no_such_domain(f"{mail_hosts.records[0].host}, the mail host of {domain}, does not exist")
    if mail_hosts.implicit:
        return no_route(f"{domain} has no MX and no address")
    return no_route(f"no MX host of {domain} has an address")


def site_of(names: Sequence[str]) -> str:
    """The site of an MX set (names sorted); a long one ends in a hash of the whole."""
    site = "mx:" + ",".join(names)
    if len(site) <= LONGEST_SITE:
        return site
    digest = blake2b(site.encode(), digest_size=8).hexdigest()
    return f"{site[: LONGEST_SITE - 1 - len(digest)]}#{digest}"


def capped(hosts: tuple[Host, ...], limit: int) -> tuple[Host, ...]:
    """The hosts with their first `limit` addresses (two at least); of each family that there is, one stays."""
    if sum(len(host.addresses) for host in hosts) <= limit:
        return hosts
    every = [(host, address) for host in hosts for address in host.addresses]
    chosen = every[:limit]
    for is_ipv6 in (False, True):
        family = [entry for entry in every if (":" in entry[1]) == is_ipv6]
        if family and not any(entry in chosen for entry in family):
            chosen[-1] = family[0]
    left = {host: tuple(address for _, address in group) for host, group in groupby(chosen, key=lambda entry: entry[0])}
    return tuple(Host(host.name, host.port, addresses) for host, addresses in left.items())


def holds_for(answer: Answer[MxRecord] | Answer[str]) -> float:
    """Seconds for which an answer may be kept."""
    match answer:
        case Found():
            return min(max(answer.ttl_s, _SHORTEST_S), _LONGEST_S)
        case Missing():
            return min(max(answer.ttl_s, _SHORTEST_S), _LONGEST_MISSING_S)
        case Looped():
            return _LONGEST_MISSING_S
        case Failed():
            return _FAILED_S


def refusal_of(own_addresses: Collection[str], *, allow_loopback: bool = False) -> Callable[[str], bool]:
    """Which addresses are not dialled: loopback, unspecified and our own, as IPv6 too (RFC 4291 section 2.5.5)."""
    own = {ipaddress.ip_address(address) for address in own_addresses}
    this_network = ipaddress.ip_network("0.0.0.0/8")

    def refused(address: str) -> bool:
        ip = ipaddress.ip_address(address)
        ip = getattr(ip, "ipv4_mapped", None) or ip
        ours = ip.is_loopback or ip.is_unspecified or ip in this_network
        return ip in own or (ours and not allow_loopback)

    return refused


def no_route(text: str) -> Bounced:
    """The verdict where the domain is one, and no host of it can be reached (RFC 3463 X.4.4)."""
    return Bounced(own_verdict(550, "5.4.4", text))


def _dns_failed(name: str, reason: str) -> Deferred:
    return Deferred(own_verdict(451, "4.4.3", f"DNS gives no answer for {name} for now: {reason}"))
