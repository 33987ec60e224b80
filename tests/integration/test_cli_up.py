"""`pillarbox up` from its start to its end, with the accidents in between."""

import os
import re
import signal
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from cli.home import RunFile
from cli.inbox import listen
from cli.node import PrivateNode
from tests.support.console import NO_TLS, Browser
from tests.support.ports import wait_until
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import delete_vhost, new_vhost
from tests.support.up import Up, alive, pillarbox, running_up

HELLO = ("send", "--from", "a@x.example", "--to", "b@y.example", "--subject", "Hi", "--text", "Hello")


@pytest.mark.each_rabbitmq
def test_a_private_broker_is_started_carries_a_mail_and_is_stopped(tmp_path: Path, release: Path | None):
    up = Up(tmp_path / "home", {"PILLARBOX_RABBITMQ": str(release)} if release else {})
    up.start("--senders", "1", "--metrics", "--json")
    try:
        run = up.run
        wait_until(lambda: b'"inbox"' in up.output.read_bytes(), "its line of JSON")
        [line] = [line for line in up.output.read_bytes().splitlines() if line.startswith(b"{")]
        assert msgspec.json.decode(line, type=RunFile) == run
        assert set(run.workers) == {"inbox", "scheduler", "resolver", "gateway", "console", "sender-1"}
        assert all(worker.metrics_port for name, worker in run.workers.items() if name != "inbox")
        sent = up.command(*HELLO, "--hold", "0")
        assert sent.code == 0, sent.err
        [mail] = up.wait_for_mail()
        _the_workers_are_watched(up)
        assert b"Subject: Hi\r\n" in mail.read_bytes()
        _takes_mail_over_smtp(up)
        _each_program_has_its_rights(up, sent.out.strip())
        assert _open_to_others(up.home.path) == []
        pids = up.pids()
        assert up.stop() == 0, up.output.read_text()
        assert not up.home.run_file.exists()
        assert not [pid for pid in pids if alive(pid)]
        # Nobody runs there now: the command says so, and where it looked.
        said = pillarbox("list", env={"PILLARBOX_HOME": str(up.home.path), "PILLARBOX_AMQP_URL": run.amqp_url})
        assert said.code == 3
        assert "no broker at 127.0.0.1" in said.err
    finally:
        up.stop()


def _the_workers_are_watched(up: Up) -> None:
    def counted() -> list[int]:
        workers = up.command("watch", "--count", "1", "--json").json["workers"]
        return [sum(counts.get(stage, 0) for counts in workers.values()) for stage in ("routed", "claimed", "tried")]

    wait_until(lambda: counted() == [1, 1, 1], "the counts of its workers")
    assert "since the workers' start" in up.command("watch", "--count", "1").out


def _takes_mail_over_smtp(up: Up) -> None:
    place = up.run.gateway
    with smtplib.SMTP(place.host, place.port) as client:
        client.login(place.user, Path(place.password_file).read_text().strip())
        client.sendmail("a@x.example", ["b@y.example"], b"From: a@x.example\r\nX-Pillarbox-Hold: 0\r\n\r\nHello\r\n")
    up.wait_for_mail(2)


def _each_program_has_its_rights(up: Up, mail: str) -> None:
    client, submitter, _ = (up.run.program_urls[role] for role in ("client", "submitter", "reader"))
    elsewhere = {"PILLARBOX_HOME": str(up.home.path / "elsewhere")}
    assert up.command("show", mail, **elsewhere, PILLARBOX_AMQP_URL=client).code == 0
    for words, url in [(("show", mail), submitter), (("settings", "set", "sending.hold=1m"), client)]:
        said = up.command(*words, **elsewhere, PILLARBOX_AMQP_URL=url)
        assert (said.code, "ACCESS_REFUSED" in said.err) == (1, True), said


def _open_to_others(folder: Path) -> list[Path]:
    paths = [folder, *folder.rglob("*")]
    return [path for path in paths if not path.is_symlink() and path.stat().st_mode & 0o077]


def test_a_killed_one_leaves_no_broker_behind_and_comes_back_with_its_mail(tmp_path: Path):
    up = Up(tmp_path / "home", {})
    up.start("--senders", "1")
    place = up.run.gateway
    told = f"{place.host} port {place.port}, user {place.user}, password in "
    try:
        wait_until(lambda: told in up.output.read_text(), "the word where the gateway listens")
        assert up.command(*HELLO, "--hold", "1h", "--id", "m1").code == 0
        wait_until(lambda: up.command("show", "m1").code == 0, "its admission")
        up.kill()
        # It is started as soon as the former broker's ports and folder are free, while its streams still come back.
        wait_until(lambda: not _processes_of(up.home.broker_folder), "the end of the broker", 40)
        up.start("--senders", "1")
        assert "held until" in up.command("show", "m1").out
    finally:
        up.stop()


def _processes_of(folder: Path) -> list[str]:
    found = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False)
    return found.stdout.split()


@pytest.fixture(scope="module")
def mortal_up(rabbitmq: PrivateNode) -> Iterator[Up]:
    """The one behind `own_up`: six workers take some seconds to start."""
    url = new_vhost(rabbitmq)
    with running_up(url, "--senders", "1") as running:
        yield running
    delete_vhost(rabbitmq, url)


@pytest.fixture
def own_up(mortal_up: Up) -> Up:
    """One of the tests of this file, to be stopped and killed; each finds it running."""
    if mortal_up.ended:
        mortal_up.start("--senders", "1")
    return mortal_up


def test_a_worker_that_is_killed_is_started_again(up: Up):
    former = up.run.workers["sender-1"].pid
    os.kill(former, signal.SIGKILL)
    wait_until(lambda: up.run.workers["sender-1"].pid != former, "another sender-1")
    assert "sender-1 was ended by signal 9; it is started again" in up.output.read_text()
    assert up.command(*HELLO, "--hold", "0").code == 0
    up.wait_for_mail(1)


def test_a_killed_inbox_loses_no_connection_and_keeps_its_port(up: Up):
    before = len(up.inbox())
    os.kill(up.run.workers["inbox"].pid, signal.SIGKILL)
    assert up.command(*HELLO, "--hold", "0").code == 0
    up.wait_for_mail(before + 1)
    assert up.command("settings", "get", "relay.port").out.strip() == str(up.run.inbox.port)


def test_a_killed_gateway_keeps_its_port_and_loses_no_connection(up: Up):
    before, place = len(up.inbox()), up.run.gateway
    os.kill(up.run.workers["gateway"].pid, signal.SIGKILL)
    with smtplib.SMTP(place.host, place.port, timeout=60) as client:
        client.login(place.user, Path(place.password_file).read_text().strip())
        client.sendmail("a@x.example", ["b@y.example"], b"From: a@x.example\r\nX-Pillarbox-Hold: 0\r\n\r\nHello\r\n")
    up.wait_for_mail(before + 1)
    assert up.run.gateway == place


def test_accounts_are_those_of_the_running_home(up: Up):
    assert up.command("accounts", "add", "shop", stdin=b"correct horse\n").code == 0
    assert [account["name"] for account in up.command("accounts", "list", "--json").json] == ["robot", "shop"]
    assert up.command("accounts", "remove", "shop").code == 0


def test_the_number_of_senders_changes_while_it_runs(up: Up):
    grown = up.command("scale", "3")
    assert (grown.code, grown.out) == (0, "3 senders run: sender-1, sender-2, sender-3\n")
    gone = [up.run.workers[name].pid for name in ("sender-2", "sender-3")]
    shrunk = up.command("scale", "1", "--json")
    assert (shrunk.code, shrunk.json) == (0, {"senders": ["sender-1"]})
    assert not [pid for pid in gone if alive(pid)]
    assert "sender-2" not in up.run.workers
    assert up.command("scale", "1000").code == 1


def test_a_home_belongs_to_one(up: Up):
    said = pillarbox("up", "--home", up.home.path, env={})
    assert said.code == 1
    assert f"already runs in {up.home.path} (process {up.run.pid})" in said.err


def test_workers_do_not_outlive_a_killed_supervisor_and_the_home_can_be_used_again(own_up: Up):
    pids = own_up.pids()
    own_up.kill()
    wait_until(lambda: not [pid for pid in pids if alive(pid)], "the end of the workers", 30)
    assert own_up.home.run_file.exists()
    assert own_up.command("scale", "2").code == 3
    own_up.start("--senders", "1")
    assert own_up.command("list").code == 0


def test_mail_settings_and_the_inbox_stay_where_they_are_over_a_restart(own_up: Up):
    port, before = own_up.run.inbox.port, own_up.command("settings", "get", "--json").json["revision"]
    sent = own_up.command(*HELLO, "--hold", "1h")
    assert own_up.command("settings", "set", "sending.hold=7m").code == 0
    assert own_up.stop() == 0
    own_up.start("--set", "sending.max_per_connection=5", "--senders", "1")
    assert own_up.run.inbox.port == port
    settings = own_up.command("settings", "get", "--json").json
    assert settings["settings"]["sending"]["hold"] == "7m"
    assert settings["settings"]["sending"]["max_per_connection"] == 5
    assert settings["revision"] == before + 2
    assert "held" in own_up.command("show", sent.out.strip()).out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "sending.hold=soon"], 'sending.hold: got "soon"'),
        (["--set", "sending.hold"], "takes KEY=VALUE"),
    ],
)
def test_a_wrong_setting_ends_it_before_anything_runs(arguments, says, tmp_path: Path, amqp_url: str):
    said = pillarbox("up", "--home", tmp_path / "home", *arguments, env={"PILLARBOX_AMQP_URL": amqp_url})
    assert said.code == 2
    assert says in said.err
    assert not (tmp_path / "home" / "run.json").exists()


def test_a_store_that_is_not_there_is_named(tmp_path: Path, amqp_url: str):
    env = {"PILLARBOX_AMQP_URL": amqp_url, "PILLARBOX_STORE_URL": "sqlite:////nowhere/mail.db"}
    said = pillarbox("up", "--home", tmp_path / "home", env=env)
    assert said.code == 2
    assert "PILLARBOX_STORE_URL: unable to open database file" in said.err


def test_a_store_in_another_encoding_is_told_with_what_to_do(tmp_path: Path, amqp_url: str, postgres: PrivatePostgres):
    env = {"PILLARBOX_AMQP_URL": amqp_url, "PILLARBOX_STORE_URL": postgres.new_database("LATIN1")}
    said = pillarbox("up", "--home", tmp_path / "home", env=env)
    assert said.code == 2
    assert "PILLARBOX_STORE_URL: the database has the encoding LATIN1; takes UTF8; make it anew" in said.err
    assert "Traceback" not in said.err


def test_another_program_on_the_inbox_port_moves_the_inbox_and_the_settings(own_up: Up):
    port = own_up.run.inbox.port
    before = len(own_up.inbox())
    assert own_up.stop() == 0
    with listen(port):
        own_up.start("--senders", "1")
        assert own_up.run.inbox.port != port
        assert own_up.command(*HELLO, "--hold", "0").code == 0
        own_up.wait_for_mail(before + 1)
    assert f"another program listens on port {port}" in own_up.output.read_text()


def test_settings_that_the_store_remembers_come_back_on_an_empty_broker(own_up: Up, rabbitmq: PrivateNode):
    assert own_up.command("settings", "set", "sending.hold=8m").code == 0
    assert own_up.stop() == 0
    url = new_vhost(rabbitmq)
    elsewhere = Up(own_up.home.path, {"PILLARBOX_AMQP_URL": url})
    elsewhere.start("--senders", "1")
    try:
        assert elsewhere.command("settings", "get", "sending.hold").out == "8m\n"
    finally:
        elsewhere.stop()
        delete_vhost(rabbitmq, url)


def test_the_page_is_where_it_says_and_its_link_signs_in_once(up: Up):
    url = up.run.console.url
    wait_until(lambda: "(once, within an hour)" in up.output.read_text(), "the link")
    [link] = re.findall(r"http://\S+/sign-in/link\?token=\S+", up.output.read_text())
    assert link.startswith(url)
    browser = Browser(url)
    path = link.removeprefix(url)
    assert browser.post("/sign-in/link", path, {"token": path.partition("=")[2]}).url.path == "/"
    assert browser.get("/senders").status_code == 200
    assert "used already" in Browser(url).get(path).text
    again = up.command("console", "link")
    assert Browser(url).get(again.out.strip().removeprefix(url)).status_code == 200
    token = up.command("console", "token", "shop", "--scope", "read").out.strip()
    api = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, verify=NO_TLS)
    assert api.get("/api/v1/settings").json()["current"]["settings"]["sending"]["hold"] == "1h"
    assert api.post("/api/v1/retract", json={"id": "x"}).status_code == 403
