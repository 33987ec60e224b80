"""The real servers of the tests: started when the first test asks, private, on loopback, gone at the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.node import PrivateNode
from tests.support.certificates import Authority
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import delete_vhost, new_vhost, temporary_node
from tests.support.sinks import RecordingSink


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[PrivateNode]:
    """A RabbitMQ node that all tests share. Do not stop it: that is what `own_node` is for."""
    with temporary_node() as node:
        yield node


@pytest.fixture
def amqp_url(rabbitmq: PrivateNode) -> Iterator[str]:
    """The URL of a virtual host nobody has used."""
    url = new_vhost(rabbitmq)
    yield url
    delete_vhost(rabbitmq, url)


@pytest.fixture
def own_node() -> Iterator[PrivateNode]:
    """A RabbitMQ node of the test's own, to be killed and started again."""
    with temporary_node() as node:
        yield node


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
