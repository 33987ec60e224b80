"""A submission that ends each scheduler which judges it becomes a dead letter; what came with it is delivered."""

import json

from shared.mail_store.engine import open_engine
from shared.mail_store.making_ready import create_tables
from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import a_mail, relay_to
from tests.support.poisoned import SUBJECT
from tests.support.sinks import RecordingSink


def test_its_neighbours_arrive_once_and_no_other_is_a_dead_letter(
    start_pipeline: StartPipeline, sink: RecordingSink, sqlite_url: str
):
    with open_engine(sqlite_url).begin() as connection:
        create_tables(connection)  # senders wait for a store that a scheduler has made
    mortal = {"scheduler": ("tests.support.poisoned", "scheduler")}
    pipeline = start_pipeline(relay_to(sink), schedulers=0, programs=mortal)
    before = pipeline.submit_many(20)
    pipeline.submit(a_mail(SUBJECT))
    after = pipeline.submit_many(20)

    pipeline.start(scheduler=1)

    [(dead, reason)] = pipeline.client.dead_letters(1, timeout=90)
    assert (json.loads(dead)["subject"], reason) == (SUBJECT, "delivery_limit")
    pipeline.wait_for_each_once(sink, [*before, *after])
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail("the last one")))
    assert pipeline.client.count_dead_letters() == 0
