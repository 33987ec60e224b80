"""The whole client that the README shows is run as it stands there."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.support.pipeline import Pipeline
from tests.support.sinks import RecordingSink

README = Path(__file__).parents[2] / "README.md"


def test_the_readmes_client_publishes_a_mail_and_prints_that_it_was_delivered(
    pipeline: Pipeline, inbox: RecordingSink, tmp_path: Path
):
    [client] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / ".pillarbox").mkdir()
    (tmp_path / ".pillarbox" / "run.json").write_text(json.dumps({"amqp_url": pipeline.amqp_url}))

    ran = subprocess.run([sys.executable, "-c", client], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("delivered someone@example.net [127.0.0.1]:"), ran.stdout
    [arrived] = inbox.mails
    assert arrived.message["Subject"] == "Your order"


def test_the_client_has_some_twenty_lines():
    [client] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in client.splitlines() if line]) <= 20
