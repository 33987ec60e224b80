"""A worker's environment: what is read, what is refused, and that no password is shown."""

from pathlib import Path

import pytest

from shared.environment import DEFAULT_AMQP_URL, InvalidEnvironment, amqp_url, read_environment, without_password

STORE = {"PILLARBOX_STORE_URL": "sqlite:////tmp/mail.db"}


def test_the_store_is_all_that_must_be_set():
    environment = read_environment("sender", STORE)
    assert environment.store_url == "sqlite:////tmp/mail.db"
    assert environment.amqp_url == DEFAULT_AMQP_URL
    assert environment.metrics_port is None
    assert environment.log_level == "info"
    assert environment.worker.startswith("sender-")


def test_who_opens_no_store_need_not_know_of_one():
    assert read_environment("console", {}, opens_store=False).store_url == ""


def test_everything_may_be_set():
    environment = read_environment(
        "sender",
        {
            "PILLARBOX_STORE_URL": "postgresql+psycopg://u@db/mail",
            "PILLARBOX_AMQP_URL": "amqp://u:p@broker/v",
            "PILLARBOX_WORKER": "sender-7",
            "PILLARBOX_METRICS_PORT": "0",
            "PILLARBOX_LOG_LEVEL": "DEBUG",
        },
    )
    assert (environment.worker, environment.metrics_port, environment.log_level) == ("sender-7", 0, "debug")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PILLARBOX_STORE_URL": "sqlite:////var/lib/x/mail.db"}, Path("/var/lib/x/journal")),
        ({"PILLARBOX_STORE_URL": "sqlite+pysqlite:////var/lib/x/mail.db?cache=shared"}, Path("/var/lib/x/journal")),
        ({"PILLARBOX_STORE_URL": "sqlite:///:memory:"}, None),
        ({"PILLARBOX_STORE_URL": "sqlite://"}, None),
        ({"PILLARBOX_STORE_URL": "postgresql+psycopg://u@db/mail"}, None),
        ({"PILLARBOX_STORE_URL": "postgresql:///mail"}, None),
        ({"PILLARBOX_STORE_URL": "postgresql:///mail", "PILLARBOX_JOURNAL": "/srv/j"}, Path("/srv/j")),
        ({**STORE, "PILLARBOX_JOURNAL": "/srv/j"}, Path("/srv/j")),
        ({**STORE, "PILLARBOX_JOURNAL": ""}, Path("/tmp/journal")),
    ],
)
def test_journals_lie_where_it_is_set_or_beside_a_store_that_is_a_file(variables, expected):
    assert read_environment("sender", variables).journal == expected


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "PILLARBOX_STORE_URL: is not set"),
        ({"PILLARBOX_STORE_URL": ""}, "PILLARBOX_STORE_URL: is not set"),
        ({**STORE, "PILLARBOX_AMQP_URL": ""}, "PILLARBOX_AMQP_URL: is not set"),
        ({**STORE, "PILLARBOX_METRICS_PORT": "http"}, "PILLARBOX_METRICS_PORT"),
        ({**STORE, "PILLARBOX_METRICS_PORT": "65536"}, "PILLARBOX_METRICS_PORT"),
        ({**STORE, "PILLARBOX_METRICS_PORT": "-1"}, "PILLARBOX_METRICS_PORT"),
        ({**STORE, "PILLARBOX_METRICS_PORT": "²"}, "PILLARBOX_METRICS_PORT"),  # a digit, but no number
        ({**STORE, "PILLARBOX_LOG_LEVEL": "loud"}, "PILLARBOX_LOG_LEVEL"),
        ({**STORE, "PILLARBOX_AMQP_PASSWORD_FILE": "/nowhere/secret"}, "PILLARBOX_AMQP_PASSWORD_FILE: can not read"),
        ({**STORE, "PILLARBOX_STORE_PASSWORD_FILE": "/"}, "PILLARBOX_STORE_PASSWORD_FILE: can not read"),
    ],
)
def test_what_is_wrong_is_refused_by_the_name_of_the_variable(variables, says):
    with pytest.raises(InvalidEnvironment, match=says):
        read_environment("sender", variables)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("amqp://u@h:5672/v", "amqp://u:s%2Fe%40c@h:5672/v"),
        ("amqp://u:old@h/v", "amqp://u:s%2Fe%40c@h/v"),
        ("amqp://h/v", "amqp://:s%2Fe%40c@h/v"),
        ("amqp://u@[::1]:5672/v", "amqp://u:s%2Fe%40c@[::1]:5672/v"),
        ("amqp://u@h1/v, amqp://u@h2/v", "amqp://u:s%2Fe%40c@h1/v,amqp://u:s%2Fe%40c@h2/v"),
        ("amqp://u%40x@h/v?heartbeat=5", "amqp://u%40x:s%2Fe%40c@h/v?heartbeat=5"),
    ],
)
@pytest.mark.parametrize("ends", ["", "\n", "\r\n"])
def test_the_password_may_lie_in_a_file(tmp_path, url, expected, ends):
    file = tmp_path / "secret"
    file.write_bytes(f"s/e@c{ends}".encode())
    assert amqp_url({"PILLARBOX_AMQP_URL": url, "PILLARBOX_AMQP_PASSWORD_FILE": str(file)}) == expected


def test_a_store_url_with_commas_is_one_url(tmp_path):
    file = tmp_path / "secret"
    file.write_text("pw")
    variables = {
        "PILLARBOX_STORE_URL": "postgresql+psycopg://u@/mail?host=db1,db2&target_session_attrs=read-write",
        "PILLARBOX_STORE_PASSWORD_FILE": str(file),
    }
    expected = "postgresql+psycopg://u:pw@/mail?host=db1,db2&target_session_attrs=read-write"
    assert read_environment("sender", variables).store_url == expected


def test_a_password_file_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidEnvironment, match="PILLARBOX_AMQP_PASSWORD_FILE"):
        amqp_url({"PILLARBOX_AMQP_PASSWORD_FILE": str(file)})


def test_a_url_that_is_none_is_refused_without_its_password(tmp_path):
    file = tmp_path / "secret"
    file.write_text("new")
    with pytest.raises(InvalidEnvironment, match="is no URL") as refused:
        amqp_url({"PILLARBOX_AMQP_URL": "amqp://u:hunter2@[::1/v", "PILLARBOX_AMQP_PASSWORD_FILE": str(file)})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://u:secret@h:5672/v", "amqp://u:***@h:5672/v"),
        ("amqp://u:secret@h1/v,amqp://u:secret@h2/v", "amqp://u:***@h1/v,amqp://u:***@h2/v"),
        ("amqp://h1/v,amqp://u:secret@h2/v", "amqp://h1/v,amqp://u:***@h2/v"),
        ("amqp://u:sec/ret@h/v", "amqp://u:***@h/v"),  # written wrong, and secret all the same
        ("amqp://u:sec@ret@h/v", "amqp://u:***@h/v"),
        ("amqp://u:secret@[::1", "amqp://u:***@[::1"),
        ("amqp://u@h/v", "amqp://u@h/v"),
        ("amqp://h:5672/v", "amqp://h:5672/v"),
        ("postgresql://h/db?user=u&password=secret&x=1", "postgresql://h/db?user=u&password=***&x=1"),
        ("sqlite:////var/lib/mail:1@x.db", "sqlite:////var/lib/mail:1@x.db"),
    ],
)
def test_no_password_is_shown(url, shown):
    assert without_password(url) == shown
    assert "secret" not in shown
