"""Every worker's metrics tell of the mails that went through its hands, and a collector gets their traces."""

import json
import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.node import PrivateNode
from tests.support.certificates import Authority
from tests.support.collector import Collector
from tests.support.console import Console
from tests.support.gateway import Gateway, variables_for
from tests.support.pipeline import Pipeline, a_mail, relay_to
from tests.support.rabbitmq import delete_vhost, new_vhost
from tests.support.sinks import RecordingSink

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=7"}
UNSAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-00"}


class Scene(msgspec.Struct):
    """What each test here uses."""

    pipeline: Pipeline
    sink: RecordingSink
    collector: Collector
    gateway: Gateway  # not started yet


@pytest.fixture(scope="module")
def scene(rabbitmq: PrivateNode, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder, url = tmp_path_factory.mktemp("pipeline"), new_vhost(rabbitmq)
    with RecordingSink() as sink, Collector() as collector:
        variables = {
            **variables_for(folder, authority),
            "PILLARBOX_METRICS_PORT": "0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        with Pipeline(url, f"sqlite:///{folder}/mail.db", folder, relay_to(sink), environment=variables) as pipeline:
            yield Scene(pipeline, sink, collector, Gateway(pipeline, variables, authority))
    delete_vhost(rabbitmq, url)


def counted(pipeline: Pipeline, role: str) -> dict[tuple[str, ...], float]:
    """The samples of a worker, by name and values of labels, those in the order of the labels' names."""
    [worker] = pipeline.of(role)
    [ready] = worker.logged("ready")
    port = re.findall(r"metrics_port=(\d+)", ready)[0]
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_each_stage_is_counted_and_timed(scene: Scene):
    pipeline, sink = scene.pipeline, scene.sink
    sink.answer("RCPT", "nobody@mx.example", "550 5.1.1 nobody of this name")
    held = pipeline.submit(a_mail(hold="1h"))
    pipeline.wait_for_event("held", held)
    assert pipeline.control("retract", id=held)["counts"] == {"retracted": 1}
    pipeline.wait_for_events(2, "delivered", pipeline.submit(a_mail(to=["a@mx.example", "b@mx.example"])))
    pipeline.wait_for_event("bounced", pipeline.submit(a_mail(to=["nobody@mx.example"])))

    scheduler, resolver, sender = (counted(pipeline, role) for role in ("scheduler", "resolver", "sender"))
    assert scheduler["pillarbox_mails_admitted_total",] == 3
    assert scheduler["pillarbox_admission_seconds_count",] >= 1
    assert scheduler["pillarbox_recipients_retracted_total",] == 1
    assert scheduler["pillarbox_outcomes_total", "delivered"] == 2
    assert scheduler["pillarbox_failures_total", "bad_mailbox", "bounced"] == 1
    assert scheduler["pillarbox_transit_seconds_count",] == 2
    assert scheduler["pillarbox_attempt_seconds_count",] == 3
    assert 0 < scheduler["pillarbox_transit_seconds_sum",] < 60
    assert scheduler["pillarbox_recipients_waiting", "in_doubt"] == 0
    assert scheduler["pillarbox_queue_messages", "pillarbox.send.0"] >= 0
    assert resolver["pillarbox_recipients_routed_total",] == 3
    assert resolver["pillarbox_route_seconds_count",] >= 2
    assert sender["pillarbox_claim_seconds_count",] >= 1
    assert sender["pillarbox_smtp_connect_seconds_count", "connected"] >= 1
    assert sender["pillarbox_delivered_bytes_total",] == sum(len(mail.content) for mail in sink.mails)
    assert sender["pillarbox_journal_written_bytes_total",] > 0
    assert sender["pillarbox_journal_off",] == 0
    for page in (scheduler, resolver, sender):
        assert page["pillarbox_broker_connected", "publish"] == page["pillarbox_broker_connected", "consume"] == 1
        assert page["pillarbox_settings_revision",] == pipeline.revision


def test_the_trace_of_a_submission_leads_to_its_attempt(scene: Scene):
    mail = scene.pipeline.client.submit(a_mail(to=["a@mx.example", "b@mx.example"]), headers=SAMPLED)
    found = scene.collector.wait_for(mail, admit=1, resolve=1, send=1)
    [admit], [resolve], [send] = (found[f"pillarbox.{name}"] for name in ("admit", "resolve", "send"))
    assert (admit.service, admit.trace, admit.parent) == ("pillarbox-scheduler", TRACE, CALLER)
    assert (resolve.service, resolve.trace, resolve.parent) == ("pillarbox-resolver", TRACE, admit.span)
    assert (send.service, send.trace, send.parent) == ("pillarbox-sender", TRACE, admit.span)
    assert admit.attributes["pillarbox.recipients"] == 2
    assert (send.attributes["pillarbox.outcome"], send.attributes["pillarbox.reply"]) == ("delivered", "250 2.0.0")
    assert (send.attributes["pillarbox.attempt"], send.failure) == (1, "")


def test_a_held_mail_keeps_its_trace_and_each_of_its_attempts_is_in_it(scene: Scene):
    scene.sink.answer("RCPT", "busy@mx.example", "451 4.3.0 not now", times=1)
    finished = b"From: robot@sender.example\r\nTo: busy@mx.example\r\nSubject: held\r\n\r\nHello\r\n"
    mail = scene.pipeline.client.submit(finished, headers={**SAMPLED, "hold": "1s"})
    scene.pipeline.wait_for_event("delivered", mail)
    found = scene.collector.wait_for(mail, admit=1, hold=1, resolve=2, send=2)
    [admit], [hold], sends = (found[f"pillarbox.{name}"] for name in ("admit", "hold", "send"))
    assert (hold.trace, hold.parent) == (TRACE, admit.span)
    assert hold.seconds >= 1
    assert [(send.attributes["pillarbox.attempt"], send.failure) for send in sends] == [
        (1, "deferred: 451 4.3.0"),
        (2, ""),
    ]


def test_a_submission_that_brings_none_begins_a_trace(scene: Scene):
    mail = scene.pipeline.submit(a_mail())
    found = scene.collector.wait_for(mail, admit=1, resolve=1, send=1)
    [admit] = found["pillarbox.admit"]
    assert admit.parent == ""
    assert {span.trace for spans in found.values() for span in spans} == {admit.trace} != {TRACE}


def test_what_its_client_does_not_sample_is_not_recorded(scene: Scene):
    unsampled = scene.pipeline.client.submit(a_mail(), headers=UNSAMPLED)
    scene.pipeline.wait_for_event("delivered", unsampled)
    scene.collector.wait_for(scene.pipeline.submit(a_mail()), admit=1, resolve=1, send=1)
    assert scene.collector.of(unsampled) == {}


def test_a_batch_over_http_is_in_the_trace_of_its_request(scene: Scene, tmp_path: Path):
    lines = "".join(json.dumps({"id": mail, **a_mail()}) + "\n" for mail in ("batch-1", "batch-2"))
    with Console(scene.pipeline.amqp_url, tmp_path) as console, console.api() as api:
        said = api.post("/batch", content=lines, headers={**SAMPLED, "Content-Type": "application/jsonl"}).text
    for mail in ("batch-1", "batch-2"):
        assert f'"id":"{mail}"' in said
        [admit] = scene.collector.wait_for(mail, admit=1, resolve=1, send=1)["pillarbox.admit"]
        assert (admit.trace, admit.parent) == (TRACE, CALLER)


def test_mail_over_smtp_is_in_the_trace_of_its_headers(scene: Scene):
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["Subject"] = "robot@sender.example", "traced"
    for name, value in SAMPLED.items():
        mail[name] = value
    scene.gateway.start()
    with scene.gateway.client() as client:
        client.mail("robot@sender.example")
        client.rcpt("b@mx.example")
        _, said = client.data(mail.as_bytes())
    found = scene.collector.wait_for(said.decode().rpartition(" ")[2], admit=1, resolve=1, send=1)
    [admit] = found["pillarbox.admit"]
    assert (admit.trace, admit.parent) == (TRACE, CALLER)
    [arrived] = [each.message for each in scene.sink.mails if each.message["Subject"] == "traced"]
    assert not {name.lower() for name in arrived} & {"traceparent", "tracestate"}


def test_a_refused_submission_is_told_without_what_it_said(scene: Scene):
    mail = scene.pipeline.client.submit(a_mail(to=["no address"]), headers=SAMPLED)
    [admit] = scene.collector.wait_for(mail, admit=1)["pillarbox.admit"]
    assert admit.failure.startswith("refused: to")
