"""The real servers of the tests: started when the first test asks, private, on loopback, gone at the end."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from cli.node import PrivateNode
from tests.support.certificates import Authority
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import RABBITMQ_4, delete_vhost, new_vhost, temporary_node
from tests.support.sinks import RecordingSink


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked so against RabbitMQ 4, too."""
    if metafunc.definition.get_closest_marker("each_rabbitmq"):
        metafunc.parametrize(
            "release", [None, RABBITMQ_4], ids=["installed", "rabbitmq4"], indirect=True, scope="session"
        )


@pytest.fixture(scope="session")
def release(request: pytest.FixtureRequest) -> Path | None:
    """The scripts of the RabbitMQ to test against; None: of the one that is installed."""
    scripts: Path | None = getattr(request, "param", None)
    if scripts is not None and not (scripts / "rabbitmq-server").exists():
        pytest.skip("RabbitMQ 4 is not here: `make rabbitmq-4` unpacks it where the network gives it")
    return scripts


@pytest.fixture(scope="session")
def shared_node() -> Iterator[Callable[[Path | None], PrivateNode]]:
    """Gives the node of a release that all tests share, started when the first one asks."""
    with ExitStack() as stack:
        yield cache(lambda scripts: stack.enter_context(temporary_node(scripts)))


@pytest.fixture(scope="session")
def rabbitmq(release: Path | None, shared_node: Callable[[Path | None], PrivateNode]) -> PrivateNode:
    """A RabbitMQ node that all tests share. Do not stop it: that is what `own_node` is for."""
    return shared_node(release)


@pytest.fixture
def amqp_url(rabbitmq: PrivateNode) -> Iterator[str]:
    """The URL of a virtual host nobody has used."""
    url = new_vhost(rabbitmq)
    yield url
    delete_vhost(rabbitmq, url)


@pytest.fixture(scope="module")
def mortal_node(release: Path | None) -> Iterator[PrivateNode]:
    """The node behind `own_node`: a start costs some seconds."""
    with temporary_node(release) as node:
        yield node


@pytest.fixture
def own_node(mortal_node: PrivateNode) -> PrivateNode:
    """A RabbitMQ node of the tests of one file, to be killed and started again; each finds it running."""
    if not mortal_node.running:
        mortal_node.start()
    return mortal_node


@pytest.fixture
def own_url(own_node: PrivateNode) -> str:
    """The URL of a virtual host of that node that nobody has used."""
    return new_vhost(own_node)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """A PostgreSQL cluster that all tests share."""
    with PrivatePostgres() as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres: PrivatePostgres) -> str:
    """The URL of an empty database, in SQLAlchemy's form."""
    return postgres.new_database()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an empty SQLite database."""
    return f"sqlite:///{tmp_path}/mail.db"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the certificates of the tests' servers."""
    folder = tmp_path_factory.mktemp("authority")
    return Authority(folder)


@pytest.fixture
def sink() -> Iterator[RecordingSink]:
    """An SMTP server that takes every mail and remembers it."""
    with RecordingSink() as server:
        yield server
