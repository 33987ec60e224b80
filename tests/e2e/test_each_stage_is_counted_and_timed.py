"""Every worker's metrics tell of a mail that went through its hands, and of one that was taken back."""

import re
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import StartPipeline, StartSink
from tests.support.pipeline import Pipeline, a_mail, relay_to


def counted(pipeline: Pipeline, role: str) -> dict[tuple[str, ...], float]:
    """The samples of a worker: name and values of its labels."""
    [worker] = [worker for worker in pipeline.workers if worker.role == role]
    [ready] = worker.logged("ready")
    port = re.findall(r"metrics_port=(\d+)", ready)[0]
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
    }  # fmt: skip


def test_each_stage_is_counted_and_timed(start_pipeline: StartPipeline, start_sink: StartSink):
    sink = start_sink()
    sink.answer("RCPT", "nobody@mx.example", "550 5.1.1 nobody of this name")
    pipeline = start_pipeline(relay_to(sink), environment={"PILLARBOX_METRICS_PORT": "0"})
    held = pipeline.submit(a_mail(hold="1h"))
    pipeline.wait_for_event("held", held)
    assert pipeline.control("retract", id=held)["counts"] == {"retracted": 1}
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail(to=["a@mx.example", "b@mx.example"])))
    pipeline.wait_for_event("bounced", pipeline.submit(a_mail(to=["nobody@mx.example"])))

    scheduler, resolver, sender = (counted(pipeline, role) for role in ("scheduler", "resolver", "sender"))
    assert scheduler[("pillarbox_mails_admitted_total",)] == 3
    assert scheduler[("pillarbox_recipients_retracted_total",)] == 1
    assert scheduler[("pillarbox_outcomes_total", "delivered")] == 2
    assert scheduler[("pillarbox_failures_total", "bounced", "bad_mailbox")] == 1
    assert scheduler[("pillarbox_transit_seconds_count",)] == 2
    assert scheduler[("pillarbox_attempt_seconds_count",)] == 3
    assert 0 < scheduler[("pillarbox_transit_seconds_sum",)] < 60
    assert scheduler[("pillarbox_recipients_waiting", "in_doubt")] == 0
    assert scheduler[("pillarbox_queue_messages", "pillarbox.send.0")] >= 0
    assert resolver[("pillarbox_recipients_routed_total",)] == 3
    assert resolver[("pillarbox_route_seconds_count",)] >= 2
    assert sender[("pillarbox_smtp_connect_seconds_count", "connected")] >= 1
    assert sender[("pillarbox_delivered_bytes_total",)] == sum(len(mail.content) for mail in sink.mails)
    assert sender[("pillarbox_journal_written_bytes_total",)] > 0
    assert sender[("pillarbox_journal_off",)] == 0
    for page in (scheduler, resolver, sender):
        assert page[("pillarbox_broker_connected", "publish")] == page[("pillarbox_broker_connected", "consume")] == 1
        assert page[("pillarbox_settings_revision",)] == pipeline.revision
