"""Pipelines and servers for the scenarios; when one fails, the end of every worker's log stands in its report."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
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


class Common:
    """The pipeline, and the sink it relays to, of all scenarios that need none of their own.

    They start when the first scenario asks. After one that left them in disorder, the next one gets others.
    """

    def __init__(self, config: pytest.Config, node: PrivateNode, factory: pytest.TempPathFactory) -> None:
        self._config = config
        self._node = node
        self._factory = factory
        self._stack = ExitStack()
        self._running: tuple[Pipeline, RecordingSink] | None = None

    def get(self) -> tuple[Pipeline, RecordingSink]:
        """Those that run."""
        if self._running is None:
            self._running = self._start()
        return self._running

    def end(self) -> None:
        """Stop them. Raises AssertionError when a worker does not end in order."""
        self._running = None
        self._stack.close()

    def _start(self) -> tuple[Pipeline, RecordingSink]:
        url = new_vhost(self._node)
        self._stack.callback(delete_vhost, self._node, url)
        sink = self._stack.enter_context(RecordingSink())
        folder = self._factory.mktemp("pipeline")
        pipeline = Pipeline(url, f"sqlite:///{folder}/mail.db", folder, relay_to(sink))
        self._stack.enter_context(_shown(self._config, pipeline))
        return pipeline, sink


@pytest.fixture(scope="session")
def common(
    request: pytest.FixtureRequest, rabbitmq: PrivateNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Common]:
    """What the scenarios share."""
    shared = Common(request.config, rabbitmq, tmp_path_factory)
    yield shared
    shared.end()


@pytest.fixture
def pipeline(request: pytest.FixtureRequest, common: Common) -> Iterator[Pipeline]:
    """A pipeline with one worker of each role that relays everything to `inbox` and holds nothing back.

    It is shared; each scenario finds it empty and with the usual settings, over which go the `SETTINGS` of its file.
    """
    pipeline, sink = common.get()
    settings = relay_to(sink, **getattr(request.module, "SETTINGS", {}))
    try:
        pipeline.begin(settings)
        yield pipeline
        sink.forget_rules()
        pipeline.clear(settings)
        sink.forget_mails()
    except BaseException:
        with suppress(Exception):
            common.end()
        raise


@pytest.fixture
def inbox(pipeline: Pipeline, common: Common) -> RecordingSink:
    """The SMTP server that gets all mail of `pipeline`."""
    return common.get()[1]


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
