"""The HTTP API is asked whatever its document allows, and much that it does not: no 5xx, no answer undescribed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cli.node import PrivateNode
from services.console import openapi
from services.console.app import api_handlers
from tests.support.console import Console
from tests.support.fuzz import TIMES
from tests.support.pipeline import Pipeline, relay_to
from tests.support.rabbitmq import delete_vhost, new_vhost
from tests.support.sinks import RecordingSink

_EXAMPLES = 12 * TIMES
_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# It lasts as long as somebody listens: its own test reads it.
_FLOWS = "/api/v1/events"

schemathesis.serializer.alias(["application/jsonl", "message/rfc822", "text/csv"], "text/plain")

DOCUMENT: dict[str, Any] = openapi.document(api_handlers())
schema = schemathesis.openapi.from_dict(DOCUMENT).exclude(path=_FLOWS)


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


@schema.parametrize()
@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_is_described(case: schemathesis.Case, console: Console):
    case.call_and_validate(
        base_url=console.url,
        headers={"Authorization": f"Bearer {console.tokens['all']}"},
        checks=_CHECKS,
        timeout=60,
    )
