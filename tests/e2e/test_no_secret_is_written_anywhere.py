"""Secrets are in the workers' memory and on the wire: no log, no event, no store and no command line has them."""

import base64
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.node import PrivateNode
from shared.dkim_key import new_key
from tests.e2e.conftest import StartPipeline, StartSink
from tests.support.pipeline import Pipeline, a_mail, relay_to
from tests.support.postgres import PrivatePostgres
from tests.support.sinks import RecordingSink

PASSWORD, TOKEN = "relay-password-5f1c", "relay-token-9d27"
STORE_PASSWORD = "store-password-31aa"
USER = "robot"


class Parrot(socketserver.StreamRequestHandler):
    """An SMTP server that refuses every sign-in and repeats what it was told, as it came and decoded."""

    def handle(self) -> None:
        """One connection."""
        self.wfile.write(b"220 parrot.example\r\n")
        while line := self.rfile.readline().strip():
            verb, _, rest = line.partition(b" ")
            if verb == b"EHLO":
                self.wfile.write(b"250-parrot.example\r\n250 AUTH XOAUTH2\r\n")
            elif verb == b"AUTH":
                told = rest.partition(b" ")[2]
                clear = base64.b64decode(told).replace(b"\1", b" ")
                self.wfile.write(b"535-5.7.8 you said " + told + b"\r\n535 5.7.8 that is " + clear + b"\r\n")
            else:
                self.wfile.write(b"221 bye\r\n")
                return


@pytest.fixture
def parrot() -> Iterator[int]:
    """Its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Parrot) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


Written = Callable[[], dict[str, bytes]]  # what a pipeline has written so far, by the name of its place


@pytest.fixture
def on_sqlite(pipeline: Pipeline) -> tuple[Pipeline, Written]:
    """A pipeline whose store is among its files."""

    def written() -> dict[str, bytes]:
        files = {str(file): file.read_bytes() for file in pipeline.files}
        assert len([name for name in files if name.endswith((".log", ".db", ".db-wal"))]) == 5
        return files

    return pipeline, written


@pytest.fixture
def on_postgresql(
    start_pipeline: StartPipeline, sink: RecordingSink, postgres: PrivatePostgres, postgres_url: str, tmp_path: Path
) -> tuple[Pipeline, Written]:
    """One that signs in at its store with a password."""
    folder = tmp_path / "pipeline"
    folder.mkdir()
    url = postgres_url.replace("@", f":{STORE_PASSWORD}@")
    pipeline = start_pipeline(relay_to(sink), store_url=url, folder=folder)

    def written() -> dict[str, bytes]:
        files = {str(file): file.read_bytes() for file in pipeline.files}
        assert len([name for name in files if name.endswith(".log")]) == 3
        store = postgres.as_text(postgres_url)
        assert b"robot@sender.example" in store
        return {**files, "the store": store}

    return pipeline, written


def _reference(file: Path, secret: bytes) -> dict[str, str]:
    file.write_bytes(secret)
    return {"file": str(file)}


def _forms(secret: bytes) -> set[bytes]:
    """As it is, in base64 at each of the three places where it may begin, as SASL shows it, and in hexadecimal."""
    shown = [secret, b"\0%s\0%s" % (USER.encode(), secret)]
    return {
        secret,
        secret.hex().encode(),
        *(base64.b64encode(b"." * before + each)[4:-4] for each in shown for before in (0, 1, 2)),
    }


def _found(secrets: dict[str, bytes], texts: dict[str, bytes]) -> list[tuple[str, str]]:
    forms = {name: _forms(secret) for name, secret in secrets.items()}
    return [
        (name, place) for name, known in forms.items() for place, text in texts.items() if any(f in text for f in known)
    ]


def _command_lines() -> dict[str, bytes]:
    lines: dict[str, bytes] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines[f"command line of {process.name}"] = (process / "cmdline").read_bytes()
        except OSError:  # gone by now
            continue
    return lines


@pytest.mark.parametrize("store", ["on_sqlite", "on_postgresql"])
def test_secrets_stay_where_they_are(
    request: pytest.FixtureRequest,
    store: str,
    start_sink: StartSink,
    parrot: int,
    rabbitmq: PrivateNode,
    tmp_path: Path,
):
    pipeline, written = request.getfixturevalue(store)
    relay = start_sink(users={USER: PASSWORD}, auth_in_plaintext=True)
    key = new_key("ed25519").pem()
    auth: dict[str, Any] = {"user": USER, "allow_plaintext": True}
    password = _reference(tmp_path / "password", PASSWORD.encode())
    token = _reference(tmp_path / "token", TOKEN.encode())
    pipeline.change(
        relay={"port": relay.port, "auth": {**auth, "password": password}},
        routes={"parrot.example": {"host": "127.0.0.1", "port": parrot, "auth": {**auth, "token": token}}},
        dkim={"sender.example": [{"selector": "s", "key": _reference(tmp_path / "key", key)}]},
    )
    mails = [pipeline.submit(a_mail("signed")), pipeline.submit(a_mail("refused", to=["b@parrot.example"]))]
    pipeline.wait_for_event("delivered", mails[0])
    refused = pipeline.wait_for_event("deferred", mails[1])

    assert refused["reply"].startswith("you said ***"), refused
    assert relay.mails[0].content.startswith(b"DKIM-Signature:")
    secrets = {
        "the relay's password": PASSWORD.encode(),
        "the token": TOKEN.encode(),
        "the DKIM key": key.splitlines()[1],
        "the broker's password": rabbitmq.identity.password.encode(),
        "the broker's cookie": rabbitmq.identity.cookie.encode(),
        "the store's password": STORE_PASSWORD.encode(),
    }
    told = {
        "events": repr(pipeline.client.events).encode(),
        "settings": repr(pipeline.control("settings", history=1000)).encode(),
        **{f"story of {mail}": repr(pipeline.control("show", id=mail)).encode() for mail in mails},
    }
    assert _found(secrets, {**told, **written(), **_command_lines()}) == []


def test_a_worker_that_crashes_leaves_no_core_dump(pipeline: Pipeline):
    for worker in pipeline.workers:
        [limit] = [line for line in worker.limits if line.startswith("Max core file size")]
        assert limit.split()[4:6] == ["0", "0"]
