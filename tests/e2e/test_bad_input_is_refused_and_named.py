"""Whatever is wrong with an input, an event names the field, the original is kept, and the pipeline goes on."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pika
import pytest

from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.outcomes import Bounced
from shared.smtp_reply import Reply
from tests.support.pipeline import Pipeline, a_mail, merged
from tests.support.sinks import RecordingSink

SETTINGS = {"sending": {"max_size": 10_000}}
_FINISHED = b"From: a@sender.example\r\nTo: b@mx.example\r\nSubject: x\r\n\r\nbody\r\n"


def _ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).isoformat()


_JSON: list[tuple[str, str | dict[str, Any], str]] = [
    ("not JSON", "{", ""),
    ("not JSON either", "hello", ""),
    ("not UTF-8", "\udcff\udcfe", ""),
    ("a list instead of an object", "[]", ""),
    ("nested without end", "[" * 100_000, ""),
    ("an unknown field", a_mail(subjct="x"), "subjct"),
    ("an unknown field of an attachment", a_mail(attachments=[{"filename": "a", "data": ""}]), "attachments[0].data"),
    ("no sender", {"to": "b@mx.example"}, "from"),
    ("two senders", a_mail(from_="a@sender.example, b@sender.example"), "from"),
    ("no recipient", a_mail(to=[]), "to"),
    ("no recipient, but commas", a_mail(to=" "), "to"),
    ("an address without a domain", a_mail(to=["b"]), "to[0]"),
    ("an address that leaves its brackets", a_mail(to=["b@mx.example>\r\nDATA"]), "to[0]"),
    ("an address with a parameter", a_mail(to=["<b@mx.example> NOTIFY=NEVER"]), "to[0]"),
    ("a return path that leaves its brackets", a_mail(return_path="a@sender.example> SIZE=1"), "return_path"),
    ("a subject of two lines", a_mail("hello\r\nBcc: c@mx.example"), "subject"),
    ("a header with a line feed", a_mail(headers={"X-A": "1\nBcc: c@mx.example"}), 'headers."X-A"'),
    ("a header with a carriage return", a_mail(headers={"X-A": "1\rX-B: 2"}), 'headers."X-A"'),
    ("a header name with a colon", a_mail(headers={"X-A:": "1"}), 'headers."X-A:"'),
    ("a display name of two lines", a_mail(to=["B\r\nX: y <b@mx.example>"]), "to[0]"),
    ("a mail over max_size", a_mail(text="x" * 20_000), "content"),
    ("a send_at in the past", a_mail(send_at=_ago(hours=2)), "send_at"),
    ("a send_at that is no time", a_mail(send_at="tomorrow"), "send_at"),
    ("a send_at without an offset", a_mail(send_at="2099-01-01T00:00:00"), "send_at"),
    ("a hold that is no duration", a_mail(hold="ten minutes"), "hold"),
    ("a negative hold", a_mail(hold=-1), "hold"),
    ("a priority there is not", a_mail(priority="highest"), "priority"),
    ("a number for a text", a_mail(text=1), "text"),
]


def _judge(pipeline: Pipeline, inbox: RecordingSink, body: bytes, field: str, **properties: Any) -> None:
    """Publish it; it must be refused for the field, lie in the dead letters, and leave the pipeline working."""
    mail = pipeline.client.submit(body, **properties)
    rejected = pipeline.wait_for_event("rejected", mail)
    [(original, reason)] = pipeline.client.dead_letters(1)
    after = pipeline.submit(a_mail())
    pipeline.wait_for_event("delivered", after)

    assert rejected["field"] == field
    assert rejected["reason"]
    assert original == body
    assert reason == (f"{field}: {rejected['reason']}" if field else rejected["reason"])
    assert inbox.mails[-1].message["Subject"] == "hello"
    assert pipeline.open_recipients() == 0


@pytest.mark.parametrize(("mail", "field"), [pytest.param(mail, field, id=name) for name, mail, field in _JSON])
def test_a_json_submission_with(pipeline: Pipeline, inbox: RecordingSink, mail: str | dict[str, Any], field: str):
    body = json.dumps(mail) if isinstance(mail, dict) else mail
    _judge(pipeline, inbox, body.encode(errors="surrogateescape"), field, content_type="application/json")


@pytest.mark.parametrize(
    ("properties", "field"),
    [
        pytest.param({"content_type": "text/plain"}, "content_type", id="an unknown content type"),
        pytest.param({"content_type": "application/msgpack"}, "", id="a content type that is not its own"),
        pytest.param({"id": "with a space", "content_type": "application/json"}, "message_id", id="an id with a space"),
        pytest.param({"id": "x" * 201, "content_type": "application/json"}, "message_id", id="an id that is too long"),
    ],
)
def test_a_submission_with(pipeline: Pipeline, inbox: RecordingSink, properties: dict[str, Any], field: str):
    _judge(pipeline, inbox, json.dumps(a_mail()).encode(), field, **properties)


@pytest.mark.parametrize(
    ("message", "headers", "field"),
    [
        pytest.param(b"no header at all", {"rcpt-to": "b@mx.example"}, "content", id="no header"),
        pytest.param(b"To: b@mx.example\r\n\r\nbody\r\n", {}, "From", id="no From"),
        pytest.param(b"From: a@sender.example\r\n\r\nbody\r\n", {}, "to", id="no recipient"),
        pytest.param(_FINISHED, {"rcpt-to": ""}, "to", id="an empty recipient list"),
        pytest.param(_FINISHED, {"rcpt-to": "b@mx.example> X=Y"}, "rcpt-to", id="a recipient that leaves its brackets"),
        pytest.param(_FINISHED, {"rcpt-to": 5}, "rcpt-to", id="a recipient that is a number"),
        pytest.param(_FINISHED, {"mail-from": "a\r\nb@sender.example"}, "mail-from", id="a sender of two lines"),
        pytest.param(_FINISHED, {"hold": "ten minutes"}, "hold", id="a hold that is no duration"),
        pytest.param(_FINISHED, {"send_at": "2020-01-01T00:00:00Z"}, "send_at", id="a send_at in the past"),
        pytest.param(_FINISHED, {"priority": "highest"}, "priority", id="a priority there is not"),
        pytest.param(b"DKIM-Signature: v=1\r\n" + _FINISHED + b"x" * 999, {}, "content", id="a long line, signed"),
        pytest.param(_FINISHED + b"\0\r\n", {}, "content", id="a NUL"),
        pytest.param(_FINISHED + b"x\r\n" * 5_000, {}, "content", id="more than max_size"),
    ],
)
def test_a_finished_message_with(
    pipeline: Pipeline, inbox: RecordingSink, message: bytes, headers: Mapping[str, Any], field: str
):
    _judge(pipeline, inbox, message, field, content_type="message/rfc822", headers=headers)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sending": {"hlod": "5m"}}, "sending.hlod"),
        ({"sending": {"hold": "five minutes"}}, "sending.hold"),
        ({"sending": {"max_per_connection": 0}}, "sending.max_per_connection"),
        ({"tls": "maybe"}, "tls"),
        ({"relay": {"port": 70000}}, "relay.port"),
        ({"relay": {"auth": {"user": "u", "password": "hunter2"}}}, "relay.auth.password"),
        ({"routes": {"a.example": {"hots": "b"}}}, 'routes."a.example".hots'),
    ],
)
def test_a_settings_document_with_a_mistake_changes_nothing_and_is_answered(
    pipeline: Pipeline, inbox: RecordingSink, changes: dict[str, Any], field: str
):
    before = pipeline.control("settings")["current"]
    document = {"settings": merged(pipeline.settings, changes), "author": "ann"}
    revision = pipeline.publish_document(json.dumps(document).encode())

    rejected = pipeline.wait_for_event("settings_rejected")
    assert (rejected["revision"], rejected["field"], rejected["author"]) == (revision, field, "ann")
    assert "hunter2" not in rejected["reason"]
    after = pipeline.submit(a_mail())
    pipeline.wait_for_event("delivered", after)
    assert pipeline.control("settings")["current"] == before


def test_a_settings_message_that_is_no_document_is_answered(pipeline: Pipeline):
    pipeline.publish_document(b"{")

    assert pipeline.wait_for_event("settings_rejected")["reason"]
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail()))


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (b"{", ""),
        (b"{}", "command"),
        (b'{"command": "retrct", "id": "x"}', "command"),
        (b'{"command": "retract"}', ""),
        (b'{"command": "retract", "idd": "x"}', "idd"),
        (b'{"command": "retract", "recipient": "nobody"}', "recipient"),
        (b'{"command": "replace", "id": "x", "submission": {"from": "a"}}', "submission.from"),
        (b'{"command": "list", "limit": 100000}', "limit"),
    ],
)
def test_a_command_that_is_not_understood_is_answered_with_the_field(pipeline: Pipeline, command: bytes, field: str):
    answer = pipeline.client.ask(command)

    assert answer["answer"] == "refused"
    assert answer["field"] == field
    assert answer["reason"]
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail()))


def test_an_answer_never_goes_to_a_queue_of_pillarboxs_own(pipeline: Pipeline):
    [scheduler] = pipeline.of("scheduler")
    properties = pika.BasicProperties(reply_to="pillarbox.submit", correlation_id="1")
    pipeline.client.publish("pillarbox.control", b'{"command": "stats"}', properties)

    scheduler.wait_for_log("answer_not_delivered")
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail()))
    assert pipeline.events("rejected") == []


@pytest.mark.parametrize("exchange", ["pillarbox.resolve", "pillarbox.outcome"])
def test_a_message_between_workers_that_is_not_understood_is_put_aside(pipeline: Pipeline, exchange: str):
    pipeline.client.publish(exchange, b"\xc1nonsense", pika.BasicProperties(content_type="application/msgpack"))

    [(original, reason)] = pipeline.client.dead_letters(1)
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail()))
    assert original == b"\xc1nonsense"
    assert reason


def test_an_outcome_that_can_not_be_written_down_is_put_aside_without_those_that_came_along(pipeline: Pipeline):
    bounced = Bounced(Reply(550, "5.1.1", "nobody here"))
    outcomes = tuple(RecipientOutcome(number, 1, bounced) for number in (2**64 - 1, 2**40))  # a store counts to 2**63
    report = msgspec.msgpack.encode(OutcomeReport("a stranger", 1, outcomes))
    pipeline.client.publish("pillarbox.outcome", report, pika.BasicProperties(content_type="application/msgpack"))

    [(original, reason)] = pipeline.client.dead_letters(1)
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail()))
    assert msgspec.msgpack.decode(original, type=OutcomeReport).outcomes == outcomes[:1]
    assert reason.startswith("it made a worker fail: ")
