"""The files that a broker's URL names, before anything is connected."""

from pathlib import Path

import pytest

from shared.broker import BrokerRefused
from shared.broker.link import Link
from shared.broker.tls import options, split_off
from tests.support.certificates import Authority


@pytest.mark.parametrize(
    ("url", "rest", "files"),
    [
        ("amqp://u:p@h/v", "amqp://u:p@h/v", {}),
        ("amqps://u:p@h/v?heartbeat=5", "amqps://u:p@h/v?heartbeat=5", {}),
        ("amqps://u:p@h/v?cacertfile=/a/b.pem", "amqps://u:p@h/v", {"cacertfile": "/a/b.pem"}),
        (
            "amqps://u:p%40@h:1/%2F?certfile=c%20d&heartbeat=5&keyfile=k",
            "amqps://u:p%40@h:1/%2F?heartbeat=5",
            {"certfile": "c d", "keyfile": "k"},
        ),
    ],
)
def test_a_url_names_files(url, rest, files):
    assert split_off(url) == (rest, files)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("amqp://u:p@h/v?cacertfile=x", "cacertfile goes with amqps://"),
        ("amqps://u:p@h/v?keyfile=x", "keyfile goes with certfile"),
        ("amqps://u:p@h/v?cacertfile=/nowhere/ca.pem", "cacertfile: can not read /nowhere/ca.pem: No such file"),
        ("amqps://u:p@h/v?certfile=/nowhere/c.pem", "certfile: can not read /nowhere/c.pem: No such file"),
        ("amqps://u:p@h/v?cafile=x", "takes amqp://"),
    ],
)
def test_what_can_not_be_used_is_named(url, says):
    with pytest.raises(BrokerRefused, match=f"^PILLARBOX_AMQP_URL: {says}"):
        Link(url, "test", None)


def test_a_file_with_something_else_in_it_is_named(tmp_path: Path):
    authority = Authority(tmp_path)
    mine, other = authority.issue("a"), authority.issue("b")
    (tmp_path / "empty.pem").touch()
    with pytest.raises(BrokerRefused, match=r"cacertfile: there is no certificate in .*empty\.pem"):
        options({"cacertfile": str(tmp_path / "empty.pem")}, "h")
    with pytest.raises(BrokerRefused, match=r"certfile: .* can not be used together"):
        options({"certfile": str(mine.certificate), "keyfile": str(other.key)}, "h")


@pytest.mark.parametrize("url", ["amqp://u:hunter/2@h/v", "amqp://u:hunter?2@h/v", "amqp://u:hunter#2@h/v"])
def test_a_password_that_breaks_its_url_is_not_repeated(url):
    with pytest.raises(BrokerRefused) as refused:
        Link(url, "test", None)
    assert "hunter" not in str(refused.value)
    assert refused.value.__cause__ is None
