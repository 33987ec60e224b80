"""Whatever octets a name server sends, a question gets one of its answers, in time."""

import asyncio
import socket
from datetime import timedelta

import dns.flags
import dns.message
import dns.rrset
from hypothesis import given
from hypothesis import strategies as st

from services.resolver.answers import Answer, Failed, Found, Looped, Missing, MxRecord
from services.resolver.lookup import Lookup, NameServers
from services.resolver.plan import mail_hosts_of
from tests.support.fuzz import damaged, rounds

RECORDS = [
    "MX 10 mx.y.example.", "MX 0 .", "MX 65535 \\000\\255\\..y.example.", "A 192.0.2.1", "CNAME y.example.",
    "CNAME z.example.", "SOA y.example. y.example. 1 2 3 4 5", "TXT \"\"", "AAAA 2001:db8::1",
]  # fmt: skip
OWNERS = ["y.example.", "z.example.", "."]

rrsets = st.builds(
    lambda owner, ttl, record: dns.rrset.from_text(owner, ttl, "IN", *record.split(" ", 1)),
    st.sampled_from(OWNERS),
    st.sampled_from([0, 1, 2**31 - 1]),
    st.sampled_from(RECORDS),
)


async def _asked(octets: bytes, patience_s: float) -> Answer[MxRecord]:
    """What a name server means that says the same to everybody, with the id of the question."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))

        def reply() -> None:
            question, client = listener.recvfrom(512)
            listener.sendto(question[:2] + octets, client)

        loop = asyncio.get_running_loop()
        loop.add_reader(listener, reply)
        try:
            server = f"127.0.0.1#{listener.getsockname()[1]}"
            return await Lookup(NameServers([server]), timedelta(seconds=patience_s)).mx("y.example")
        finally:
            loop.remove_reader(listener)


def _response(*records: dns.rrset.RRset) -> dns.message.Message:
    response = dns.message.make_response(dns.message.make_query("y.example.", "MX"))
    response.answer = list(records)
    return response


def test_what_is_right_is_found():
    octets = _response(dns.rrset.from_text("y.example.", 60, "IN", "MX", "10 mx.y.example.")).to_wire()[2:]
    assert asyncio.run(_asked(octets, 10)) == Found((MxRecord(10, "mx.y.example"),), "y.example", 60)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """A response to the question for the MX of y.example, its id left out."""
    response = _response(*draw(st.lists(rrsets, max_size=3)))
    response.set_rcode(draw(st.sampled_from([0, 0, 0, 2, 3, 5, 16])))
    response.flags |= draw(st.sampled_from([0, 0, dns.flags.TC, dns.flags.AA]))
    response.authority = draw(st.lists(rrsets, max_size=1))
    return response.to_wire()[2:]


@rounds
@given(responses() | damaged(responses()) | st.binary(max_size=60))
def test_any_response_is_an_answer(octets):
    answer = asyncio.run(_asked(octets, 0.05))
    assert isinstance(answer, Found | Missing | Looped | Failed)
    mail_hosts_of("y.example", answer, set())
