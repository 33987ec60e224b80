"""DMARC: the record that counts for the domain, and whether what is authenticated is aligned with it."""

from collections.abc import Collection

import msgspec

from cli.dmarc import Walk, tags_of, walk
from cli.doctor_rows import NAME_SERVERS, Result, Row, failed, ok, skipped
from shared.dns_questions import Ask, Temporary

_STRICT = {"s": True, "r": False}  # adkim and aspf; relaxed is the default
_POLICIES = ("none", "quarantine", "reject")


class Signer(msgspec.Struct, frozen=True):
    """The domain whose keys sign, and within which domain it is aligned with others."""

    domain: str
    organisational: str


async def dmarc_rows(
    domain: str, spf: Collection[Row], signer: str | None, dkim: Collection[Row], ask: Ask
) -> list[Row]:
    """The record, and the alignment by it."""
    try:
        found = await walk(domain, ask)
        by = Signer(signer, (await walk(signer, ask)).organisational) if signer is not None else None
    except Temporary as error:
        unknown = skipped(f"DMARC alignment of {domain}", "the record is not known")
        return [failed(f"DMARC of {domain}", str(error), NAME_SERVERS), unknown]
    return [dmarc_row(found), alignment_row(found, spf, by, dkim)]


def dmarc_row(found: Walk) -> Row:
    """The judgement on the record that counts."""
    domain, name, records = found.domain, found.counting, found.records
    check = f"DMARC of {domain}"
    if not records:
        record = f'_dmarc.{domain}. IN TXT "v=DMARC1; p=none; rua=mailto:postmaster@{domain}"'
        return failed(check, "no record; large receivers ask for one", f"publish: {record}")
    where, tags = f"at _dmarc.{name}", tags_of(records[0])
    policy = (tags.get("sp") if name != domain else None) or tags.get("p", "")
    if len(records) > 1 or policy not in _POLICIES:
        advice = "publish one record, with p=none, quarantine or reject"
        return failed(check, f"{'; '.join(records)} {where}", advice)
    for tag in ("adkim", "aspf"):
        if tags.get(tag, "r") not in _STRICT:
            return failed(check, f"{tag}={tags[tag]} {where}", f"let {tag} be r (relaxed) or s (strict)")
    return ok(check, f"p={policy}, {where}")


def alignment_row(found: Walk, spf: Collection[Row], signer: Signer | None, dkim: Collection[Row]) -> Row:
    """Whether what is authenticated is the domain in From: SPF by the reverse-path, or DKIM (RFC 9989 section 4.4).

    `spf` and `signer` with `dkim`: what was judged for a reverse-path in the very domain, and for its keys.
    """
    check, tags = f"DMARC alignment of {found.domain}", tags_of(found.records[0]) if found.records else {}
    strict = {tag: _STRICT.get(tags.get(tag, "r"), False) for tag in ("adkim", "aspf")}
    by, against = [], []
    if _all_well(spf):
        path = f"at {found.domain} itself (aspf=s)" if strict["aspf"] else f"at {found.domain}"
        by.append(f"SPF, for mail whose reverse-path is {path}")
    if signer is not None and _all_well(dkim):
        said = f"DKIM, with d={signer.domain}"
        if strict["adkim"] and signer.domain != found.domain:
            against.append(f"{said}: the record has adkim=s, which takes d={found.domain} alone")
        elif signer.organisational != found.organisational:
            against.append(f"{said}: another organisational domain than {found.organisational}")
        else:
            by.append(said)
    if by:
        return ok(check, "; not ".join([" and ".join(by), *against]))
    if against:
        return failed(check, f"not {against[0]}", f"sign with keys of {found.domain}: an entry of its own in dkim")
    if not spf or all(row.result is Result.SKIPPED for row in spf):
        return skipped(check, "SPF could not be checked, and no DKIM key is in order")
    advice = "mend the rows above: one of the two has to pass"
    return failed(check, "neither SPF nor DKIM vouches for the domain", advice)


def _all_well(rows: Collection[Row]) -> bool:
    return bool(rows) and all(row.result is Result.OK for row in rows)
