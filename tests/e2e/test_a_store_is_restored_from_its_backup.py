"""A store is lost and put back as docs/operations.md says; work and outcomes of mails since lie in the broker."""

import contextlib
import re
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pika
import pytest

from shared.topology import LANES, RESOLVE, lane_queue
from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import Pipeline, a_mail, relay_to
from tests.support.sinks import RecordingSink

OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"
FINAL = ("delivered", "bounced", "expired", "retracted")
KNOWN = ("kept", "delivered", "told-late", "taken-back", "replaced")
NEW = [f"new-{number}" for number in range(10)]


@pytest.mark.timeout(300)  # workers start seven times
def test_nothing_of_a_stranger_is_sent_and_what_was_known_is_the_same_mail(
    start_pipeline: StartPipeline, sink: RecordingSink, tmp_path: Path
):
    store, backup = tmp_path / "mail.db", tmp_path / "backup.db"
    pipeline = start_pipeline(relay_to(sink, sending={"hold": "1h"}))
    for id in KNOWN:
        pipeline.submit(a_mail(id), id)
    pipeline.wait_for_events(len(KNOWN), "held")
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute("VACUUM INTO ?", (str(backup),))
    since = datetime.now(UTC)

    _go_on(pipeline, sink)
    shutil.copy(backup, store)
    assert not [file for file in tmp_path.iterdir() if file.name in ("mail.db-wal", "mail.db-shm")]

    pipeline.start(scheduler=1)
    pipeline.wait_for_event("delivered", "told-late")  # its outcome waited in the broker
    for what, id, *recipient in _said_by_the_stream(pipeline.amqp_url, since):
        if what in FINAL:
            pipeline.control("retract", id=id, recipient=" ".join(recipient))
        elif what == "replaced":
            pipeline.control("retract", id=id)
    for id in NEW:
        pipeline.submit(a_mail(id, hold=0), id)
    pipeline.client.wait_until(lambda: _released(pipeline) == len(NEW), "the new ones are released")
    [sender] = pipeline.start(sender=1)
    pipeline.start(resolver=1)
    sender.wait_for_log("not_claimed", mail="stranger")

    # What the store lost is published again; so is what it knows, with another content.
    pipeline.submit(a_mail("stranger", to=["stranger@mx.example"], hold=0), "stranger")
    pipeline.submit(a_mail("kept, published again", hold=0), "kept")
    pipeline.control("release", id="kept")

    pipeline.wait_for_each_once(sink, ["delivered", "told-late", *NEW, "stranger", "kept"])
    assert [str(mail.message["Subject"]) for mail in sink.mails if mail.recipients != ("b@mx.example",)] == ["stranger"]


def _go_on(pipeline: Pipeline, sink: RecordingSink) -> None:
    """What is done between the backup and the loss; then all workers stop."""
    pipeline.control("release", id="delivered")
    pipeline.wait_for_event("delivered", "delivered")
    pipeline.control("retract", id="taken-back")
    new = {"from": "robot@sender.example", "to": ["c@mx.example"], "subject": "the new one", "text": "Better.\n"}
    pipeline.control("replace", id="replaced", submission=new)

    # Of one the outcome waits in the broker, of the other the work.
    pipeline.stop(*pipeline.of("sender"))
    pipeline.control("release", id="told-late")
    lanes = [lane_queue(lane) for lane in range(LANES)]
    pipeline.client.wait_until(lambda: _waiting(pipeline, *lanes) == 1, "it is in a lane")
    pipeline.stop(*pipeline.of("resolver"))
    pipeline.submit(a_mail("stranger", to=["stranger@mx.example"], hold=0), "stranger")
    pipeline.client.wait_until(lambda: _waiting(pipeline, RESOLVE) == 1, "the other waits for a resolver")
    pipeline.client.wait_until(lambda: _released(pipeline) == 2, "both are released")
    pipeline.stop(*pipeline.of("scheduler"))
    [sender] = pipeline.start(sender=1)
    sink.wait_for(2)
    pipeline.stop(sender)


def _released(pipeline: Pipeline) -> int:
    """By what the scheduler says: a connection of the test's own would be one to the file that is lost."""
    return int(pipeline.control("stats")["states"]["released"])


def _waiting(pipeline: Pipeline, *queues: str) -> int:
    with pika.BlockingConnection(pika.URLParameters(pipeline.amqp_url)) as connection:
        channel = connection.channel()
        return sum(channel.queue_declare(queue, passive=True).method.message_count for queue in queues)


def _said_by_the_stream(amqp_url: str, since: datetime) -> list[list[str]]:
    """The program that the page shows."""
    [block] = re.findall(r"```python\n(.*?)```", OPERATIONS.read_text(encoding="utf-8"), re.DOTALL)
    command = [sys.executable, "-c", textwrap.dedent(block), amqp_url, since.isoformat()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [line.split(" ") for line in done.stdout.splitlines()]
