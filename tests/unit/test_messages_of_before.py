"""What the first release left in the queues between workers and in journals, in plain values: each release reads it.

Never change a value here. What a message gains later comes behind these, with a default.
"""

import msgspec

from services.sender.journal_file import Noted, Record
from shared.contracts.work import Envelope, Host, OutcomeReport, Recipient, Route, RouteRequests, SendRequests, TlsMode
from shared.outcomes import Bounced, Deferred, Delivered, Parked
from shared.smtp_reply import Reply

ENVELOPE = ["order-1", "shop@x.example", [[7, "ann@y.example"]], 1234, False, True, "never", "hdrs"]
CREDENTIALS = {"user": "robot", "password": {"file": "/run/secrets/relay"}, "mechanisms": ["PLAIN"]}
HOSTS = [["mx1.y.example", 25, ["192.0.2.1"]]]
ROUTE = ["mx:mx1.y.example", HOSTS, "require", CREDENTIALS, 3, True, "/etc/ca.pem", False]
OUTCOMES = [
    [7, 1, {"type": "delivered", "reply": [250, "2.0.0", "Ok", True], "host": "mx1.y.example [192.0.2.1]"}],
    [8, 2, {"type": "deferred", "reply": [451, "4.3.0", "later", True], "host": "", "in_doubt": True}],
    [9, 1, {"type": "bounced", "reply": [550, "5.1.1", "no", True], "host": ""}],
    [10, 1, {"type": "parked", "reason": "the lane is full", "pause_s": 10.0, "site": ""}],
]


def read(values, as_):
    return msgspec.msgpack.decode(msgspec.msgpack.encode(values), type=as_)


def test_a_request_for_routes():
    [request] = read([[[ENVELOPE, 2]]], RouteRequests).requests
    assert request.attempt == 2
    assert request.envelope == Envelope(
        "order-1", "shop@x.example", (Recipient(7, "ann@y.example"),), 1234, False, True, "never", "hdrs"
    )


def test_work_for_a_sender():
    work = read([ROUTE, [[ENVELOPE, 1]]], SendRequests)
    assert [(request.envelope.mail, request.attempt) for request in work.requests] == [("order-1", 1)]
    route = work.route
    assert route.credentials is not None
    assert route.credentials.password is not None
    assert route == Route(
        "mx:mx1.y.example",
        (Host("mx1.y.example", 25, ("192.0.2.1",)),),
        TlsMode.REQUIRE,
        route.credentials,
        3,
        ca_file="/etc/ca.pem",
    )
    assert (route.credentials.user, route.credentials.password.file) == ("robot", "/run/secrets/relay")


def test_outcomes():
    report = read(["sender-1", 3, OUTCOMES], OutcomeReport)
    assert [each.outcome for each in report.outcomes] == [
        Delivered(Reply(250, "2.0.0", "Ok"), "mx1.y.example [192.0.2.1]"),
        Deferred(Reply(451, "4.3.0", "later"), in_doubt=True),
        Bounced(Reply(550, "5.1.1", "no")),
        Parked("the lane is full", 10.0),
    ]


def test_a_record_of_a_journal():
    record = read(["sender-1", 3, [["order-1", OUTCOMES[:1]]]], Record)
    [noted] = record.mails
    assert isinstance(noted, Noted)
    assert (record.worker, noted.mail, noted.outcomes[0].recipient) == ("sender-1", "order-1", 7)
