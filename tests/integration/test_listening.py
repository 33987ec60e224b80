"""Workers that can not listen where they are told to: they say so at once, before they look for the broker."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

ROLES = [("console", "PILLARBOX_CONSOLE_LISTEN"), ("gateway", "PILLARBOX_GATEWAY_SMTP")]
ANYWHERE = [(variable, "127.0.0.1:0") for _, variable in ROLES]


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
        ("fd:0", "takes the number of an open socket for TCP"),
        ("fd:777", "Bad file descriptor; takes the number of an open socket for TCP"),
    ],
)
def test_what_is_no_place_to_listen_is_refused_likewise(role: str, variable: str, place: str, reason: str):
    said = said_at_its_end(role, **{variable: place})
    assert said.startswith(f"pillarbox {role}: {variable}: can not listen on {place}: ")
    assert reason in said


@pytest.mark.parametrize("role", ["scheduler", "resolver", "sender", "gateway", "console"])
def test_a_port_for_metrics_that_is_taken_is_named(role: str):
    with socket.create_server(("0.0.0.0", 0)) as listener:  # metrics are served on every address
        port = str(listener.getsockname()[1])
        others = {"PILLARBOX_STORE_URL": "sqlite:///mail.db", **dict(ANYWHERE)}
        assert said_at_its_end(role, PILLARBOX_METRICS_PORT=port, **others) == (
            f"pillarbox {role}: PILLARBOX_METRICS_PORT: can not listen on port {port}: Address already in use; "
            "takes one where nothing else listens, or 0 for a free one\n"
        )


def said_at_its_end(role: str, **variables: str) -> str:
    """The only words of a worker that ends at once."""
    done = subprocess.run(
        [sys.executable, "-m", f"services.{role}"],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr
