"""Whatever servers, name servers and other workers say is understood or worth nothing, and quickly judged."""

import asyncio
import contextlib
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.dmarc import walk
from cli.doctor_dmarc import dmarc_row
from cli.spf import check_spf
from services.resolver.answers import Failed, Found, Looped, Missing, MxRecord
from services.resolver.plan import LONGEST_SITE, MailHosts, Plan, mail_hosts_of, plan_of
from services.sender.auth import challenge_in
from services.sender.extensions import read_extensions
from services.sender.journal_file import Record, read, written
from services.sender.login import Login
from services.sender.reply_parser import MAX_REPLY, BadReply, ReplyParser
from services.sender.scram import BadChallenge, Scram
from shared.classify import classify
from shared.contracts.work import (
    Envelope,
    OutcomeReport,
    Recipient,
    RecipientOutcome,
    Route,
    RouteRequest,
    RouteRequests,
    SendRequest,
    SendRequests,
    TlsMode,
)
from shared.outcomes import Bounced, Deferred, Delivered
from shared.refusals import UNREADABLE
from shared.reverse_dns import confirm
from shared.smtp_reply import Reply
from tests.support.fuzz import awkward_text, damaged, rounds

PIECES = [
    b"250 ok\r\n", b"250-a\r\n", b"550 5.1.1 no\r\n", b"421\r\n", b"250-PIPELINING\r\n", b"250 AUTH=PLAIN\n",
    b"250-SIZE x\r\n", b"250 LIMITS RCPTMAX=1 RCPTMAX=\r\n", b"250-LIMITS MAILMAX=99999999\r\n", b"334 cj1h\r\n",
    b"\0", b"\xff\r\n", b"2", b"\n",
]  # fmt: skip
ENVELOPE = Envelope("order-1", "a@x.example", (Recipient(1, "b@y.example"),), 100, False, False)
REPLY = Reply(550, "5.1.1", "no")
MESSAGES = [
    RouteRequests((RouteRequest(ENVELOPE, 1),)),
    SendRequests(Route("relay:x:25", (), TlsMode.ENABLE, None, 1), (SendRequest(ENVELOPE, 1),)),
    OutcomeReport("w", 1, (RecipientOutcome(1, 1, Bounced(REPLY)), RecipientOutcome(2, 1, Delivered(REPLY, "mx")))),
]


def replies(portions: list[bytes]) -> tuple[list[Reply], str]:
    """What a parser makes of them, up to its complaint."""
    parser, found = ReplyParser(), []
    try:
        for portion in portions:
            found.extend(parser.feed(portion))
    except BadReply as bad:
        return found, str(bad)
    return found, ""


@pytest.mark.checklist(44, 46, 50, 52)
@rounds
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=12), st.integers(1, 9))
def test_replies_do_not_depend_on_how_they_come(pieces, portion):
    octets = b"".join(pieces)
    whole = replies([octets])
    assert replies([octets[start : start + portion] for start in range(0, len(octets), portion)]) == whole
    for reply in whole[0]:
        assert 200 <= reply.code < 600
        assert all(line.isprintable() for line in reply.text.split("\n"))
        assert len(reply.text) <= 4 * MAX_REPLY
        read_extensions(reply)
        classify(reply)


@rounds
@given(st.sampled_from([421, 450, 452, 550, 552, 554]), st.sampled_from(["", "5.1.1", "4.2.2", "5.7.1"]), awkward_text)
def test_any_text_of_a_reply_has_a_class(code, enhanced, text):
    assert classify(Reply(code, enhanced, text))


@pytest.mark.parametrize(
    "piece",
    ["a", "a ", "a@", "@", "<", "0", "a0", "a-", "a.", "not ", "user ", "mailbox ", "5.1.1 ", "spam ", "blocked ", "-"],
)
def test_no_text_of_a_reply_takes_long_to_be_judged(piece):
    start = time.process_time()
    for number in range(20):
        classify(Reply(550, "", f"{chr(97 + number)}{piece * 4000}!"))
    assert time.process_time() - start < 20  # a few milliseconds each


@rounds
@given(damaged(st.just(b"r=abc,s=QSXCR+Q6sek8bf92,i=4096")) | st.binary(max_size=40))
def test_a_challenge_is_answered_or_refused(challenge):
    with contextlib.suppress(BadChallenge):
        challenge_in(Reply(334, "", challenge.decode("latin-1")))
    scram = Scram("SCRAM-SHA-256", Login(b"user", b"pencil", False), None)
    first = scram.first().partition(b"r=")[2]
    with contextlib.suppress(BadChallenge):
        scram.final(challenge.replace(b"abc", first + b"abc"))
        scram.verify(challenge)


hosts = st.sampled_from(
    ["mx.example", ".", "localhost", "192.0.2.1", "a..b", "x" * 300, "\\000.example", "mx2.example"]
)
hosts |= awkward_text.filter(bool)
ips = st.sampled_from(["192.0.2.1", "127.0.0.1", "::1", "2001:db8::1", "::ffff:127.0.0.1"])
address_answers = (
    st.builds(Found, st.lists(ips, min_size=1, max_size=3).map(tuple), hosts, st.integers(0, 2**31 - 1))
    | st.builds(Missing, hosts, exists=st.booleans(), ttl_s=st.integers(0, 99))
    | st.builds(Failed, awkward_text)
    | st.just(Looped())
)
records = st.lists(st.builds(MxRecord, st.integers(0, 65535), hosts), min_size=1, max_size=60).map(tuple)


@rounds
@given(st.builds(Found, records, hosts, st.integers(0, 99)) | address_answers, st.data())
def test_mx_records_lead_somewhere_or_to_a_verdict(answer, data):
    if isinstance(answer, Found) and isinstance(answer.values[0], str):
        return
    found = mail_hosts_of("y.example", answer, {"mx2.example"})
    if not isinstance(found, MailHosts):
        assert isinstance(found, Deferred | Bounced)
        return
    answers = {record.host: data.draw(address_answers) for record in found.records}
    plan = plan_of("y.example", found, answers, 25, lambda address: address.startswith("127."))
    if not isinstance(plan, Plan):
        assert isinstance(plan, Deferred | Bounced)
        return
    arranged = plan.arranged(5)
    assert len(arranged.site) <= LONGEST_SITE
    assert 1 <= sum(len(host.addresses) for host in arranged.hosts) <= 5
    assert not any(address.startswith("127.") for host in arranged.hosts for address in host.addresses)


TXT = [
    "v=spf1 ", "include:y.example ", "a ", "mx/24 ", "ip4:192.0.2.0/99 ", "ip6:::1 ", "redirect=y.example ",
    "exists:%{ir}.x ", "%{", "all", "-", "a:/", "//", "v=DMARC1; ", "p=", "pct=999",
]  # fmt: skip


@rounds
@given(
    st.lists(st.lists(st.sampled_from(TXT) | awkward_text, max_size=6).map("".join), max_size=2), st.lists(hosts | ips)
)
def test_records_of_any_text_are_judged(texts, names):
    async def ask(_: str, kind: str) -> list[str]:
        match kind:
            case "TXT":
                return texts
            case "A":
                return ["192.0.2.1"]
            case "AAAA":
                return ["2001:db8::1"]
            case _:
                return names

    assert asyncio.run(check_spf("192.0.2.1", "a@y.example", "mx.example", ask)).result
    assert dmarc_row(asyncio.run(walk("y.example", ask)))
    asyncio.run(confirm("192.0.2.1", ask))


@rounds
@given(
    st.sampled_from(MESSAGES).flatmap(
        lambda good: st.tuples(st.just(good), damaged(st.just(msgspec.msgpack.encode(good))))
    )
)
def test_messages_between_workers_are_read_or_not(case):
    good, octets = case
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(good), type=type(good)) == good
    with contextlib.suppress(*UNREADABLE):
        msgspec.msgpack.encode(msgspec.msgpack.decode(octets, type=type(good)))


@rounds
@given(damaged(st.just(b"".join(written(Record("w", number, ())) for number in range(4)))) | st.binary(max_size=60))
def test_a_damaged_journal_loses_what_is_damaged(octets):
    records, lost = read(octets)
    assert 0 <= lost <= len(octets)
    assert all(isinstance(record, Record) for record in records)
