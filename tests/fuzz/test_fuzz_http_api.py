"""The HTTP API is asked whatever its document allows, and much that it does not: no 5xx, no answer undescribed.

schemathesis is run as a program: that has all of its phases (the document's examples, each bound of each schema,
chance, calls one after another), and no process that runs tests has to import it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli_w

from cli.node import PrivateNode
from services.console import openapi
from services.console.app import api_handlers
from tests.support.console import Console
from tests.support.fuzz import TIMES
from tests.support.pipeline import Pipeline, a_mail, relay_to
from tests.support.rabbitmq import delete_vhost, new_vhost
from tests.support.sinks import RecordingSink

DOCUMENT: dict[str, Any] = openapi.document(api_handlers())
_EXAMPLES = 10 * TIMES
_CONFIGURATION: dict[str, Any] = {
    "hooks": str(Path(__file__).parents[1] / "support" / "schemathesis_hooks.py"),
    "workers": 2,  # one waits for events while the other asks
    "request-timeout": 60,
    "continue-on-failure": True,
    "suppress-health-check": ["all"],
    # The same requests each time; where there are to be more of them, others, and the report names their seed.
    "generation": {"max-examples": _EXAMPLES, "deterministic": TIMES == 1},
    "checks": {
        # What an address, an id or a duration is no schema says; that they are refused other tests see.
        "positive_data_acceptance": {"enabled": False},
        # 202 says that the broker has the mail: the scheduler may know of it a little later, or refuse it.
        "ensure_resource_availability": {"enabled": False},
    },
    "operations": [
        # It lasts as long as somebody listens.
        {"include-path": "/api/v1/events", "request-timeout": 1, "max-stream-events": 3},
    ],
}


@pytest.fixture(scope="module")
def console(rabbitmq: PrivateNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    url = new_vhost(rabbitmq)
    with (
        RecordingSink() as sink,
        Pipeline(url, f"sqlite:///{folder}/mail.db", folder, relay_to(sink, sending={"hold": "1h"})),
        Console(url, folder / "console") as console,
    ):
        yield console
        assert console.worker is not None
        console.worker.assert_no_crash()
    delete_vhost(rabbitmq, url)


@pytest.mark.timeout(300 * TIMES)
def test_every_answer_is_one_that_is_described(console: Console, tmp_path: Path):
    (tmp_path / "schemathesis.toml").write_text(tomli_w.dumps(_CONFIGURATION))
    (tmp_path / "openapi.json").write_text(openapi.rendered())
    token = f"Authorization: Bearer {console.tokens['all']}"
    with (tmp_path / "report.txt").open("w+") as report:
        code = subprocess.call(
            [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", console.url, "-H", token],
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=report,
            stderr=subprocess.STDOUT,
        )
        report.seek(0)
        said = report.read()
    assert code == 0, said
    assert f"Tested: {sum(map(len, DOCUMENT['paths'].values()))}\n" in said


def test_every_line_and_every_event_is_one_that_is_described(console: Console):
    lines = [{"id": "line-1", **a_mail()}, {"id": "line-2", **a_mail(to="nobody")}, {"id": "line 3", **a_mail()}]
    body = "\n".join(map(json.dumps, lines))
    with console.api() as api:
        answer = api.post("/batch", content=body, headers={"Content-Type": "application/jsonl"})
        said = [json.loads(line) for line in answer.text.splitlines()]
        assert [line["status"] for line in said] == [422, 422, 202]
        each_is(answered("post", "/api/v1/batch", "application/jsonl")["x-item-schema"], said)
        with api.stream("GET", "/events", params={"after": -1}) as answer:
            events = list(until_about("line-1", answer.iter_lines()))
        schema = answered("get", "/api/v1/events", "text/event-stream")["schema"]
        each_is(schema["properties"]["data"]["contentSchema"], events)


def until_about(mail: str, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The events, up to the first of that mail."""
    for line in lines:
        if line.startswith("data: "):
            event: dict[str, Any] = json.loads(line.removeprefix("data: "))
            yield event
            if event.get("mail") == mail:
                return


def answered(method: str, path: str, media_type: str) -> dict[str, Any]:
    """What the document says of an answer."""
    content: dict[str, Any] = DOCUMENT["paths"][path][method]["responses"]["200"]["content"][media_type]
    return content


def each_is(schema: dict[str, Any], items: list[Any]) -> None:
    """Each item is what the schema says."""
    validator = jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]})
    assert items
    for item in items:
        validator.validate(item)
