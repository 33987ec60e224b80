"""A client of twenty lines, with pika and JSON alone, publishes a mail and learns that it was delivered."""

import json

import pika

from tests.support.pipeline import Pipeline
from tests.support.sinks import RecordingSink


def test_a_client_of_twenty_lines_publishes_a_mail_and_reads_its_delivered_event(
    pipeline: Pipeline, inbox: RecordingSink
):
    connection = pika.BlockingConnection(pika.URLParameters(pipeline.amqp_url))
    channel = connection.channel()
    channel.confirm_delivery()
    events = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(events, "pillarbox.events", "delivered.*.example")
    mail = {"from": "me@sender.example", "to": "Ann <ann@mx.example>", "subject": "Hello", "text": "Good morning, Ann."}
    channel.basic_publish(
        "pillarbox.submit",
        "",
        json.dumps(mail),
        pika.BasicProperties(message_id="hello-1", content_type="application/json", delivery_mode=2),
        mandatory=True,
    )
    for _method, _properties, body in channel.consume(events, auto_ack=True, inactivity_timeout=30):
        [event] = map(json.loads, body.splitlines())
        break
    connection.close()

    [arrived] = inbox.mails
    assert event["event"] == "delivered"
    assert event["mail"] == "hello-1"
    assert event["recipient"] == "ann@mx.example"
    assert (event["attempt"], event["revision"], event["code"]) == (1, 0, 250)
    assert event["reply"] == "taken as 1"
    assert event["host"] == f"[127.0.0.1]:{inbox.port}"
    assert (arrived.sender, arrived.recipients) == ("me@sender.example", ("ann@mx.example",))
    assert arrived.message["To"] == "Ann <ann@mx.example>"
    assert arrived.message["Subject"] == "Hello"
    assert arrived.message.get_content() == "Good morning, Ann.\r\n"
