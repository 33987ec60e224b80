"""`delivery.mode = "direct"`: straight to the recipients' MX hosts, found by a real name server."""

from collections import Counter

from tests.e2e.conftest import StartSink
from tests.support.dns import nsd
from tests.support.pipeline import Pipeline, a_mail, direct_by, subjects
from tests.support.ports import free_port

_TWO_HOSTS = "@ MX 10 first\n@ MX 20 second\nfirst A 127.0.0.11\nsecond A 127.0.0.12"


def test_when_the_first_mx_host_is_down_the_second_gets_the_mail(pipeline: Pipeline, start_sink: StartSink):
    port = free_port()
    second = start_sink(address="127.0.0.12", port=port)
    with nsd({"mx.example": _TWO_HOSTS}) as dns:
        pipeline.change(**direct_by(dns.server, port))
        ids = pipeline.submit_many(100)
        pipeline.wait_for_each_once(second, ids)

    events = pipeline.wait_for_events(100, "delivered")
    assert {event["attempt"] for event in events} == {1}
    assert {event["host"] for event in events} == {f"second.mx.example [127.0.0.12]:{port}"}


def test_the_preferred_host_gets_everything_once_it_is_up(pipeline: Pipeline, start_sink: StartSink):
    port = free_port()
    first, second = (start_sink(address=address, port=port) for address in ("127.0.0.11", "127.0.0.12"))
    with nsd({"mx.example": _TWO_HOSTS}) as dns:
        pipeline.change(**direct_by(dns.server, port))
        pipeline.wait_for_each_once(first, pipeline.submit_many(100))

    assert not second.mails


def test_recipients_of_several_domains_each_get_their_copy_from_their_own_hosts(
    pipeline: Pipeline, start_sink: StartSink
):
    port = free_port()
    one, other = (start_sink(address=address, port=port) for address in ("127.0.0.13", "127.0.0.14"))
    zones = {
        "one.example": "@ MX 10 mx\nmx A 127.0.0.13",
        "twin.example": "@ MX 10 mx.one.example.",
        "other.example": "@ A 127.0.0.14",
        "none.example": "@ MX 0 .",
    }
    with nsd({"other.example": "@ A 127.0.0.14", **zones}) as dns:
        pipeline.change(**direct_by(dns.server, port))
        to = ["a@one.example", "b@twin.example", "c@other.example", "d@none.example", "e@no-such.one.example"]
        mail = pipeline.submit(a_mail("for five", to=to))
        pipeline.wait_for_events(3, "delivered", mail)
        bounced = pipeline.wait_for_events(2, "bounced", mail)

    # One transaction for both domains of a site; the domain without MX is its own host; the null MX takes no mail.
    assert [sorted(mail.recipients) for mail in one.mails] == [["a@one.example", "b@twin.example"]]
    assert [mail.recipients for mail in other.mails] == [("c@other.example",)]
    assert Counter((event["recipient"], event["enhanced"]) for event in bounced) == {
        ("d@none.example", "5.1.10"): 1,
        ("e@no-such.one.example", "5.1.2"): 1,
    }
    assert subjects([*one.mails, *other.mails]) == {"for five": 2}


def test_a_name_server_that_fails_defers_until_it_answers(pipeline: Pipeline, start_sink: StartSink):
    port = free_port()
    sink = start_sink(address="127.0.0.15", port=port)
    with nsd({"mx.example": None}) as broken:
        pipeline.change(**direct_by(broken.server, port, retry={"schedule": ["1h"]}))
        mail = pipeline.submit(a_mail("patient"))
        deferred = pipeline.wait_for_event("deferred", mail)
    with nsd({"mx.example": "@ MX 10 mx\nmx A 127.0.0.15"}) as repaired:
        pipeline.change(dns={"servers": [repaired.server]})
        pipeline.control("release", id=mail)
        pipeline.wait_for_each_once(sink, ["patient"])

    assert (deferred["code"] // 100, deferred["enhanced"]) == (4, "4.4.3")
