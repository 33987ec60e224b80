"""Mail over twenty SMTP connections, and the gateway killed meanwhile: none is lost that it has answered with 250."""

import os
import re
from pathlib import Path

import pytest

from tests.e2e.conftest import StartPipeline
from tests.support.certificates import Authority
from tests.support.gateway import Gateway, variables_for
from tests.support.pipeline import relay_to, subjects
from tests.support.sinks import RecordingSink
from tests.support.smtp_load import SmtpLoad

MAILS = int(os.environ.get("SMTP_MAILS", "2000"))  # `make soak-smtp` sends ten thousand
CONNECTIONS = 20
_ID = re.compile(rb"with ESMTPSA id ([0-9a-f-]{36});")


@pytest.mark.timeout(300 + MAILS // 10)
def test_none_is_lost_that_was_answered_with_250(
    start_pipeline: StartPipeline, sink: RecordingSink, authority: Authority, tmp_path: Path
):
    variables = variables_for(tmp_path, authority)
    pipeline = start_pipeline(relay_to(sink), environment=variables)
    gateway = Gateway(pipeline, variables, authority)
    gateway.start()

    with SmtpLoad(gateway, MAILS, CONNECTIONS) as load:
        for share in (0.2, 0.5):
            load.wait_for(share)
            pipeline.kill(gateway.worker)
            gateway.start()
        load.wait_for(0.7)
        pipeline.stop(gateway.worker)  # in order: what is under way is answered
        gateway.start()

    answered = [one.subject for one in load.answered]
    assert len(set(answered)) == len(answered) == MAILS
    pipeline.wait_for_all([sink], answered, timeout=120)
    arrived = {found.group(1).decode() for mail in sink.mails if (found := _ID.search(mail.content))}
    assert not [one for one in load.answered if one.id not in arrived]
    # A client that was not answered has sent its mail again: at most one for each connection and kill.
    assert sum(subjects(sink.mails).values()) - MAILS <= 2 * CONNECTIONS
