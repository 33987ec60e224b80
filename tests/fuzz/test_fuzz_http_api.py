"""The HTTP API is asked whatever its document allows, and much that it does not: no 5xx, no answer undescribed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cli.node import PrivateNode
from services.console import openapi
from services.console.app import api_handlers
from tests.support.console import Console
from tests.support.fuzz import TIMES
from tests.support.pipeline import Pipeline, relay_to
from tests.support.rabbitmq import delete_vhost, new_vhost
from tests.support.sinks import RecordingSink

DOCUMENT: dict[str, Any] = openapi.document(api_handlers())
# It lasts as long as somebody listens: its own test reads it.
_FLOWS = "/api/v1/events"
OPERATIONS = [(method, path) for path, item in DOCUMENT["paths"].items() if path != _FLOWS for method in item]


@pytest.fixture(scope="module")
def schema() -> Any:
    # Imported here: every process that runs tests would spend seconds on it.
    import schemathesis

    schemathesis.serializer.alias(["application/jsonl", "message/rfc822", "text/csv"], "text/plain")
    return schemathesis.openapi.from_dict(DOCUMENT)


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


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_is_one_that_is_described(schema: Any, console: Console, method: str, path: str):
    @settings(
        max_examples=20 * TIMES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(*(schema[path][method].as_strategy(generation_mode=mode) for mode in _modes())))
    def asked(case: Any) -> None:
        case.call_and_validate(
            base_url=console.url,
            headers={"Authorization": f"Bearer {console.tokens['all']}"},
            checks=_checks(),
            timeout=60,
        )

    asked()


def _modes() -> list[Any]:
    """What the document allows, and what it does not."""
    from schemathesis import GenerationMode

    return list(GenerationMode)


def _checks() -> list[Any]:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    return [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
    ]
