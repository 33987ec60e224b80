"""What the integration tests of the command line share, those of the mail store, and those of SMTP connections."""

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from cli.node import PrivateNode
from tests.support.certificates import Authority, Certificate
from tests.support.connections import Run
from tests.support.console import Console
from tests.support.pipeline import Pipeline, relay_to
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import delete_vhost, new_vhost
from tests.support.sinks import RecordingSink
from tests.support.store import OpenStore
from tests.support.up import Up, running_up


@pytest.fixture(scope="module")
def up(rabbitmq: PrivateNode) -> Iterator[Up]:
    """A running `pillarbox up` for the tests of one file, which leave it running and its settings as they were."""
    url = new_vhost(rabbitmq)
    with running_up(url, "--senders", "1", "--set", "sending.hold=1h") as running:
        yield running
    delete_vhost(rabbitmq, url)


@pytest.fixture(scope="module")
def console_sink() -> Iterator[RecordingSink]:
    """The SMTP server behind the pipeline of a console."""
    with RecordingSink() as server:
        yield server


@pytest.fixture(scope="module")
def console_pipeline(
    rabbitmq: PrivateNode, console_sink: RecordingSink, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """What a console is the front of, for the tests of one file."""
    folder = tmp_path_factory.mktemp("pipeline")
    url = new_vhost(rabbitmq)
    told = ["accepted", "held", "deferred", "delivered", "retracted", "rejected", "replaced"]
    with Pipeline(url, f"sqlite:///{folder}/mail.db", folder, relay_to(console_sink, events=told)) as running:
        yield running
    delete_vhost(rabbitmq, url)


@pytest.fixture(scope="module")
def console(console_pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console, which the tests of one file leave running."""
    with Console(console_pipeline.amqp_url, tmp_path_factory.mktemp("console")) as running:
        yield running
        assert running.worker is not None
        running.worker.assert_no_crash()


@pytest.fixture(scope="session")
def emptied_postgres_url(postgres: PrivatePostgres) -> str:
    """A database for all tests of the mail store: another one for each costs as much as most of them."""
    return postgres.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[OpenStore]:
    """An empty mail store, of either kind."""
    opened = OpenStore(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "emptied_postgres_url"))
    opened.empty()
    yield opened
    opened.close()


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test on either event loop: the workers use the one, debuggers the other."""
    runner: Run = request.param
    return runner


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    """That of a relay called localhost."""
    return authority.issue("localhost")
