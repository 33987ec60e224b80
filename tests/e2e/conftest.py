"""Pipelines and servers for the scenarios; when one fails, the end of every worker's log stands in its report."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.node import PrivateNode
from tests.support.pipeline import Pipeline, Settings, relay_to
from tests.support.rabbitmq import delete_vhost, new_vhost
from tests.support.sinks import RecordingSink

StartPipeline = Callable[..., Pipeline]
StartSink = Callable[..., RecordingSink]

_running = pytest.StashKey[list[Pipeline]]()


@pytest.fixture
def start_sink() -> Iterator[StartSink]:
    """Starts recording SMTP servers, with the arguments of RecordingSink."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(RecordingSink(**options))


@pytest.fixture
def start_pipeline(
    request: pytest.FixtureRequest, start_sink: StartSink, amqp_url: str, sqlite_url: str, tmp_path: Path
) -> Iterator[StartPipeline]:
    """Starts pipelines, with the settings and the arguments of Pipeline; the broker and the store can be others."""
    with ExitStack() as stack:

        def start(settings: Settings, **options: Any) -> Pipeline:
            arguments = {"amqp_url": amqp_url, "store_url": sqlite_url, "folder": tmp_path, **options}
            return stack.enter_context(_shown(request.config, Pipeline(settings=settings, **arguments)))

        yield start


@pytest.fixture(scope="module")
def file_sink() -> Iterator[RecordingSink]:
    """The sink of all scenarios in a file."""
    with RecordingSink() as sink:
        yield sink


@pytest.fixture(scope="module")
def file_url(rabbitmq: PrivateNode) -> Iterator[str]:
    """The virtual host of all scenarios in a file."""
    url = new_vhost(rabbitmq)
    yield url
    delete_vhost(rabbitmq, url)


@pytest.fixture(scope="module")
def file_pipeline(
    request: pytest.FixtureRequest,
    file_url: str,
    file_sink: RecordingSink,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pipeline]:
    """The pipeline of all scenarios in a file, whose `SETTINGS` go over the usual ones."""
    folder = tmp_path_factory.mktemp("pipeline")
    settings = relay_to(file_sink, **getattr(request.module, "SETTINGS", {}))
    pipeline = Pipeline(file_url, f"sqlite:///{folder}/mail.db", folder, settings)
    with _shown(request.config, pipeline):
        yield pipeline


@pytest.fixture
def pipeline(file_pipeline: Pipeline, file_sink: RecordingSink) -> Iterator[Pipeline]:
    """A pipeline with one worker of each role that relays everything to `inbox` and holds nothing back.

    It starts once for a file; each scenario finds it empty and with the settings it started with.
    """
    yield file_pipeline
    file_sink.forget_rules()
    file_pipeline.clear()
    file_sink.forget_mails()


@pytest.fixture
def inbox(pipeline: Pipeline, file_sink: RecordingSink) -> RecordingSink:
    """The SMTP server that gets all mail of `pipeline`."""
    return file_sink


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the workers' logs where a scenario failed."""
    report = yield
    if report.failed:
        for pipeline in item.config.stash.get(_running, []):
            report.sections += [(f"log of {name}", text) for name, text in pipeline.logs()]
    return report


@contextmanager
def _shown(config: pytest.Config, pipeline: Pipeline) -> Iterator[Pipeline]:
    running = config.stash.setdefault(_running, [])
    running.append(pipeline)
    try:
        with pipeline:
            yield pipeline
    finally:
        running.remove(pipeline)
