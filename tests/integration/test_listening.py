"""Workers that can not listen where they are told to say so, and end."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import listening
from tests.support.pipeline import Worker
from tests.support.ports import free_port, is_listening

ROLES = [("console", "PILLARBOX_CONSOLE_LISTEN"), ("gateway", "PILLARBOX_GATEWAY_SMTP")]


@pytest.fixture
def taken() -> Iterator[str]:
    """An address where somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(("role", "variable"), ROLES)
def test_where_another_listens_it_names_the_setting_and_what_it_takes(role: str, variable: str, taken: str):
    assert said_at_its_end(role, **{variable: taken}) == (
        f"pillarbox {role}: {variable}: can not listen on {taken}: Address already in use; "
        "takes an address of this machine, and a port of it where nothing else listens\n"
    )


@pytest.mark.parametrize(("role", "variable"), ROLES)
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("192.0.2.1:8025", "Cannot assign requested address; takes an address of this machine"),
        ("[2001:db8::1]:8025", "; takes an address of this machine"),  # the reason depends on whether there is IPv6
        ("no..name:8025", "takes an address of this machine"),  # no label of a name is empty
        ("fd:0", "takes the number of an open socket for TCP"),
        ("fd:777", "Bad file descriptor; takes the number of an open socket for TCP"),
    ],
)
def test_what_is_no_place_to_listen_is_refused_likewise(role: str, variable: str, place: str, reason: str):
    said = said_at_its_end(role, **{variable: place})
    assert said.startswith(f"pillarbox {role}: {variable}: can not listen on {place}: ")
    assert reason in said


def test_a_name_that_has_both_kinds_of_address_is_listened_on_by_ipv4(monkeypatch: pytest.MonkeyPatch):
    both = [(socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0))]
    found = [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for family, address in both]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    with listening.bind("PILLARBOX_CONSOLE_LISTEN", "console.example", 0, None) as bound:
        assert bound.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("role", ["scheduler", "resolver", "sender", "gateway", "console"])
def test_a_port_for_metrics_that_is_taken_is_named(role: str, amqp_url: str, tmp_path: Path):
    """Once the broker is there: before that, whoever asks for metrics is to get none."""
    with socket.create_server(("0.0.0.0", 0)) as listener:  # metrics are served on every address
        port = str(listener.getsockname()[1])
        done = ended(
            role,
            PILLARBOX_AMQP_URL=amqp_url,
            PILLARBOX_METRICS_PORT=port,
            PILLARBOX_STORE_URL=f"sqlite:///{tmp_path}/mail.db",
            **{variable: "127.0.0.1:0" for _, variable in ROLES},
        )
    [line] = [line for line in (done.stdout + done.stderr).splitlines() if "event=refused" in line]
    assert f"PILLARBOX_METRICS_PORT: can not listen on port {port}: Address already in use; takes one" in line
    assert (done.returncode, "Traceback" in done.stderr + done.stdout) == (2, False)


def test_without_a_broker_there_are_no_metrics(tmp_path: Path):
    """So that who asks for them, such as Kubernetes, sees that the worker is not ready."""
    port = free_port()
    nobody = f"amqp://u:p@127.0.0.1:{free_port()}/v"
    worker = Worker(
        "resolver", "resolver-1", {"PILLARBOX_AMQP_URL": nobody, "PILLARBOX_METRICS_PORT": str(port)}, tmp_path
    )
    worker.wait_for_log("broker_unreachable")
    assert not is_listening(port)
    worker.stop()


def said_at_its_end(role: str, **variables: str) -> str:
    """The only words of a worker that ends at once."""
    done = ended(role, **variables)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def ended(role: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A worker that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", f"services.{role}"],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
