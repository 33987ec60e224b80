"""A command for very many mails may be a mistake: the next one does not wait until it is carried out."""

import json

from tests.support.pipeline import Pipeline, a_mail
from tests.support.sinks import RecordingSink

MAILS, RECIPIENTS = 30, 1000


def test_a_mail_is_taken_back_while_its_batch_is_being_released(pipeline: Pipeline, inbox: RecordingSink):
    many = [f"reader{number}@mx.example" for number in range(RECIPIENTS)]
    mails = [pipeline.submit(a_mail(f"news {n}", to=many, hold="1h", batch="news")) for n in range(MAILS)]
    pipeline.client.wait_until(lambda: pipeline.open_recipients() == MAILS * RECIPIENTS, "all are held")

    release = pipeline.client.give(json.dumps({"command": "release", "batch": "news"}).encode())
    retract = pipeline.client.give(json.dumps({"command": "retract", "id": mails[-1]}).encode())
    pipeline.client.wait_until(lambda: len(pipeline.client.answered([release, retract])) == 2, "both answers")
    assert pipeline.client.answered([release, retract]) == [retract, release]
    assert pipeline.client.answer_to(retract)["counts"] == {"retracted": 1}
    assert pipeline.client.answer_to(release)["released"] > 0
    pipeline.control("retract", batch="news")
    pipeline.client.wait_until(lambda: not pipeline.open_recipients(), "all final")
    assert f"news {MAILS - 1}".encode() not in b"".join(mail.content for mail in inbox.mails)
