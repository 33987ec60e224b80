"""What the integration tests of the command line share."""

from collections.abc import Iterator

import pytest

from cli.node import PrivateNode
from tests.support.rabbitmq import delete_vhost, new_vhost
from tests.support.up import Up, running_up


@pytest.fixture(scope="module")
def up(rabbitmq: PrivateNode) -> Iterator[Up]:
    """A running `pillarbox up` for the tests of one file, which leave it running and its settings as they were."""
    url = new_vhost(rabbitmq)
    with running_up(url, "--senders", "1", "--set", "sending.hold=1h") as running:
        yield running
    delete_vhost(rabbitmq, url)
