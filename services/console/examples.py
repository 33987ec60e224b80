"""Examples for the OpenAPI document; a test reads each as the type it is an example of."""

from typing import Any

_TIME, _LATER = "2026-11-23T21:04:11Z", "2026-11-23T21:09:11Z"
_ID = "order-4711"

SUBMISSION: dict[str, Any] = {
    "from": "Shop <orders@shop.example>",
    "to": ["Ann <ann@example.net>"],
    "subject": "Your order",
    "text": "On its way.",
    "hold": "5m",
    "batch": "orders-2026-11",
}
SUBMITTED = {"id": _ID, "href": f"/api/v1/mails/{_ID}"}
FINISHED = "From: Shop <orders@shop.example>\r\nTo: Ann <ann@example.net>\r\nSubject: Your order\r\n\r\nOn its way.\r\n"
BATCH = (
    '{"id": "order-4711", "from": "orders@shop.example", "to": "ann@example.net", "subject": "Order", "text": "…"}\n'
    '{"id": "order-4712", "from": "orders@shop.example", "to": "bob@", "subject": "Your order", "text": "…"}\n'
)
_PROBLEM = {
    "type": "urn:pillarbox:problem:invalid",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "'bob@' is no e-mail address: There must be something after the @-sign.",
    "field": "to",
}
PROBLEM = _PROBLEM
BATCH_ANSWER = (
    '{"line":2,"status":422,"problem":{"type":"urn:pillarbox:problem:invalid","title":"Unprocessable Entity",'
    '"status":422,"detail":"\'bob@\' is no e-mail address: …","field":"to"}}\n'
    '{"line":1,"status":202,"id":"order-4711"}\n'
)
_RECIPIENT = {"address": "ann@example.net", "state": "held", "since": _TIME, "attempt": 1, "next_try": _LATER}
_DELIVERED = {
    "address": "ann@example.net",
    "state": "delivered",
    "since": _TIME,
    "attempt": 1,
    "worker": "sender-1",
    "host": "mx1.example.net [192.0.2.1]:25",
    "code": 250,
    "enhanced": "2.0.0",
    "reply": "Ok",
}
MAILS = {
    "answer": "list",
    "mails": [
        {
            "id": _ID,
            "batch": "orders-2026-11",
            "sender": "orders@shop.example",
            "subject": "Your order",
            "size": 1204,
            "admitted": _TIME,
            "recipients": [_RECIPIENT],
        }
    ],
    "next": None,
}
STORY = {
    "id": _ID,
    "batch": "orders-2026-11",
    "sender": "orders@shop.example",
    "subject": "Your order",
    "size": 1204,
    "priority": "normal",
    "submitted_by": "",
    "admitted": _TIME,
    "give_up": "2026-11-28T21:09:11Z",
    "recipients": [_RECIPIENT],
    "waits": [f"ann@example.net: held until {_LATER} by the mail's own hold"],
    "steps": [{"time": _TIME, "what": "admitted", "revision": 3, "detail": "held by the mail's own hold"}],
    "about": "",
    "reports": [],
}
REPLACED = {
    "answer": "replace",
    "id": _ID,
    "result": "replaced",
    "detail": "the new content stands in its place",
}
SELECTOR = {"batch": "orders-2026-11"}
RETRACTED = {
    "answer": "retract",
    "counts": {"retracted": 41, "too_late": 1},
    "mails": [
        {
            "id": _ID,
            "result": "too_late",
            "detail": f"delivered at {_TIME}, mx1.example.net [192.0.2.1]:25 said: 250 2.0.0 Ok",
            "recipients": [_DELIVERED],
        }
    ],
}
RELEASED = {"answer": "release", "mails": [{"id": _ID, "released": 1, "detail": "it goes now"}], "released": 1}
RESENT = {"answer": "resend", "mails": [{"id": _ID, "recipients": 1, "detail": "it goes again now"}], "resent": 1}
CLOSED = {"answer": "close", "mails": [{"id": _ID, "recipients": 1, "detail": "it counts as delivered"}], "closed": 1}
STATS = {
    "time": _TIME,
    "queues": {"pillarbox.submit": 0, "pillarbox.dead": 0},
    "states": {"held": 12, "releasing": 0, "released": 3, "claimed": 4, "deferred": 2, "in_doubt": 0},
    "overdue": {"held": 1},
    "totals": {"admitted": 10_000, "delivered": 9_979},
    "revision": 3,
    "rates": {"admitted": 212.5, "delivered": 209.0},
    "times": [{"stage": "claim", "median": 0.012, "most": 0.05, "mails": 60}],
    "scheduler": True,
}
SITES = {
    "answer": "sites",
    "sites": [
        {
            "site": "mx:mx1.example.net",
            "since": _TIME,
            "next_probe": _LATER,
            "failures": 2,
            "waiting": 17,
            "host": "mx1.example.net [192.0.2.1]:25",
            "code": 451,
            "enhanced": "4.4.1",
            "reply": "no connection: refused",
        }
    ],
}
SENDERS = {
    "answer": "senders",
    "senders": [
        {
            "name": "sender-1",
            "machine": "shop1",
            "started": _TIME,
            "seen": _LATER,
            "revision": 3,
            "lanes": 4,
            "connections": 2,
            "claimed": 9_981,
            "helo": {"192.0.2.17": "mail.shop.example"},
        }
    ],
}
_VERSION: dict[str, Any] = {
    "revision": 3,
    "time": _TIME,
    "author": "ada",
    "comment": "more time to think",
    "settings": {"sending": {"hold": "10m"}},
}
SETTINGS = {"answer": "settings", "current": _VERSION, "history": [], "next_revision": 4}
HISTORY = {"history": [_VERSION]}
NEW_SETTINGS = {"settings": {"sending": {"hold": "10m"}}, "comment": "more time to think", "next_revision": 4}
CHANGED_FIELDS = {"changes": {"sending.hold": "10m", "tls": "require"}, "comment": "more time to think"}
SETTINGS_CHANGED = {"version": _VERSION, "changes": [{"key": "sending.hold", "old": "5m", "new": "10m"}]}
SUPPRESSIONS = {
    "answer": "suppression_list",
    "entries": [{"address": "ann@example.net", "since": _TIME, "author": "ada", "reply": "asked us to"}],
    "next": None,
}
NEW_SUPPRESSIONS = {"entries": [{"address": "ann@example.net", "reason": "asked us to"}]}
ADDED = {"answer": "suppression_add", "added": 1, "refused": []}
REMOVED = {"answer": "suppression_remove", "removed": 1, "unknown": []}
DEAD_LETTERS = {
    "total": 1,
    "letters": [
        {
            "number": 1,
            "mark": "1f0c22ab",
            "message_id": _ID,
            "exchange": "pillarbox.submit",
            "key": "",
            "reason": "to[1]: 'ann@' is no e-mail address",
            "died": None,
            "content_type": "application/json",
            "headers": {},
            "size": 2,
            "body": "e30=",
        }
    ],
}
REDRIVEN = {"redriven": ["1f0c22ab"], "failed": []}
EVENT = {
    "id": "4711",
    "event": "delivered",
    "data": '{"event":"delivered","mail":"order-4711","batch":"orders-2026-11",'
    f'"time":"{_TIME}","revision":3,"recipient":"ann@example.net","attempt":1,"host":"mx1.example.net [192.0.2.1]:25",'
    '"code":250,"enhanced":"2.0.0","reply":"Ok"}',
}
