"""TLS to a real RabbitMQ: what gets in, and one line that says what to do for what does not."""

import pytest

from cli.node import PrivateNode
from shared.broker import BrokerRefused, queue
from tests.support.broker import QUORUM, opened, run, to_queue
from tests.support.certificates import Authority, Certificate
from tests.support.rabbitmq import listen_for_tls
from tests.support.up import in_this_process

pytestmark = pytest.mark.each_rabbitmq


class Ports:
    """The TLS ports of the node; its certificate is for localhost."""

    def __init__(self, node: PrivateNode, authority: Authority, certificate: Certificate) -> None:
        self.open = listen_for_tls(node, authority, certificate)
        self.asking = listen_for_tls(node, authority, certificate, asks=True)
        self.asking_1_2 = listen_for_tls(node, authority, certificate, asks=True, version="tlsv1.2")
        self.expired = listen_for_tls(node, authority, authority.issue("localhost", expired=True))
        self.plaintext = node.identity.port


@pytest.fixture(scope="module")
def ports(rabbitmq: PrivateNode, authority: Authority, certificate: Certificate) -> Ports:
    return Ports(rabbitmq, authority, certificate)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate of an authority that the broker does not know."""
    return Authority(tmp_path_factory.mktemp("stranger")).issue("somebody")


@pytest.fixture(scope="module")
def known(authority: Authority) -> Certificate:
    """One that it knows."""
    return authority.issue("pillarbox-sender")


def at(amqp_url: str, port: int, host: str = "localhost", **files: object) -> str:
    """The URL of the node's virtual host at a TLS port."""
    _, _, place = amqp_url.partition("@")
    signed_in = amqp_url.removesuffix(place).replace("amqp://", "amqps://")
    query = "&".join(f"{name}={file}" for name, file in files.items())
    return f"{signed_in}{host}:{port}/{place.partition('/')[2]}?{query}"


async def carries_a_message(url: str) -> None:
    async with opened(url, queue("q", QUORUM), patience_s=5) as broker:
        assert await broker.publisher.publish(to_queue("q", b"x")) == []
        assert (await broker.consume("q", 1).batch(1))[0].body == b"x"


def test_the_brokers_authority_is_named_in_the_url(amqp_url: str, ports: Ports, authority: Authority):
    run(carries_a_message(at(amqp_url, ports.open, cacertfile=authority.file)))


@pytest.mark.parametrize("port", ["asking", "asking_1_2"])
def test_a_broker_that_asks_for_a_client_certificate_gets_it(
    amqp_url: str, ports: Ports, port: str, authority: Authority, known: Certificate
):
    files = {"cacertfile": authority.file, "certfile": known.certificate, "keyfile": known.key}
    run(carries_a_message(at(amqp_url, getattr(ports, port), **files)))


def test_the_password_counts_all_the_same(amqp_url: str, ports: Ports, authority: Authority, known: Certificate):
    files = {"cacertfile": authority.file, "certfile": known.certificate, "keyfile": known.key}
    url = at(amqp_url, ports.asking, **files).replace("amqps://pillarbox:", "amqps://pillarbox:not")
    with pytest.raises(BrokerRefused, match="does not let us in"):
        run(carries_a_message(url))


@pytest.mark.parametrize(
    ("port", "host", "trusts", "shows", "says"),
    [
        (
            "open",
            "localhost",
            "system",
            None,
            "its certificate is of no authority that is trusted here: .* cacertfile=FILE",
        ),
        (
            "open",
            "localhost",
            "stranger",
            None,
            "its certificate is of no authority that is trusted here: .* cacertfile=FILE",
        ),
        (
            "open",
            "127.0.0.1",
            "authority",
            None,
            "its certificate is for another name: write the broker's name .* as its certificate",
        ),
        ("expired", "localhost", "authority", None, "its certificate has expired: give the broker a new one"),
        ("asking", "localhost", "authority", None, "it wants a client certificate: .* certfile=FILE&keyfile=FILE"),
        (
            "asking_1_2",
            "localhost",
            "authority",
            None,
            r"it breaks the handshake off: it may want a client certificate \(certfile=FILE&keyfile=FILE",
        ),
        ("asking", "localhost", "authority", "stranger", "it refuses our client certificate: certfile has to be of"),
        (
            "asking_1_2",
            "localhost",
            "authority",
            "stranger",
            "it refuses our client certificate: certfile has to be of",
        ),
        ("plaintext", "localhost", "authority", None, "it speaks no TLS at this port: amqps:// goes with"),
    ],
)
def test_what_does_not_get_in_is_told_what_to_do_in_one_line(
    amqp_url: str,
    ports: Ports,
    authority: Authority,
    stranger: Certificate,
    port: str,
    host: str,
    trusts: str,
    shows: str | None,
    says: str,
):
    files: dict[str, object] = {
        "authority": {"cacertfile": authority.file},
        "stranger": {"cacertfile": stranger.certificate},
    }.get(trusts, {})
    if shows:
        files |= {"certfile": stranger.certificate, "keyfile": stranger.key}
    number = getattr(ports, port)
    with pytest.raises(BrokerRefused, match=f"^no TLS with {host}:{number}: {says}") as refused:
        run(carries_a_message(at(amqp_url, number, host, **files)))
    assert "\n" not in str(refused.value)


def test_a_command_says_it_and_shows_no_traceback(amqp_url: str, ports: Ports, tmp_path):
    env = {"PILLARBOX_AMQP_URL": at(amqp_url, ports.open), "PILLARBOX_HOME": str(tmp_path)}
    said = in_this_process("list", env=env)
    assert said.code == 3
    assert said.err.startswith(f"pillarbox: no TLS with localhost:{ports.open}: its certificate is of no authority")
