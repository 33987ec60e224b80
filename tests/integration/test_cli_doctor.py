"""`pillarbox doctor` against a real name server, a real Postfix with STARTTLS and SASL, and a real broker."""

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.dkim_key import new_key, zone_line
from tests.support.certificates import Authority
from tests.support.dns import nsd
from tests.support.ports import free_port, wait_until
from tests.support.postfix import DOMAIN, PrivatePostfix
from tests.support.up import Said, Up, in_this_process

KEY = new_key("rsa")
PARENT = {"example": "www A 192.0.2.1"}  # DMARC is looked for up to the top
GOOD = {
    **PARENT,
    "127.in-addr.arpa": "1.0.0 PTR out.sender.example.",
    "sender.example": "\n".join(
        [
            "@ MX 10 mx",
            "mx A 127.0.0.1",
            "out A 127.0.0.1",
            '@ TXT "v=spf1 a:out.sender.example -all"',
            '_dmarc TXT "v=DMARC1; p=reject"',
            zone_line("sender.example", "s1", KEY.record()),
        ]
    ),
}
BAD = {
    **PARENT,
    "127.in-addr.arpa": "1.0.0 PTR out.sender.example.",
    "sender.example": '@ MX 10 mx\nmx A 127.0.0.1\nout A 192.0.2.1\n@ TXT "v=spf1 ip4:192.0.2.1 -all"\n'
    + zone_line("sender.example", "s1", new_key("rsa").record()),
}


@pytest.fixture(scope="module")
def postfix(authority: Authority) -> Iterator[PrivatePostfix]:
    with PrivatePostfix(certificate=authority.issue("localhost"), users={"robot": "hunter2"}) as running:
        yield running


def set_up(up: Up, postfix: PrivatePostfix, authority: Authority, folder: Path, server: str) -> None:
    """The relay, the key and the name servers, as settings."""
    key = folder / "s1.pem"
    key.write_bytes(KEY.pem())
    auth = f'{{user = "robot@{DOMAIN}", password = {{env = "DOCTORS_PASSWORD"}}}}'
    said = up.command(
        "settings", "set", "relay.host=localhost", f"relay.port={postfix.port}", f"relay.auth={auth}", "tls=require",
        f"relay.ca_file={authority.file}", f'dns.servers=["{server}"]', "dns.allow_loopback=true",
        f"dns.mx_port={postfix.port}", f'dkim."sender.example"=[{{selector = "s1", key = {{file = "{key}"}}}}]',
    )  # fmt: skip
    assert said.code == 0, said.err


def examined(up: Up, *arguments: str, password: str = "hunter2") -> tuple[int, dict[str, Any]]:
    """The exit code, and the rows by their check."""
    arguments = ("sender.example", "--egress", "127.0.0.1", *arguments)
    said = up.command("doctor", *arguments, "--json", DOCTORS_PASSWORD=password)
    assert "hunter2" not in said.out + said.err
    return said.code, {row["check"]: row for row in json.loads(said.out)["checks"]}


def test_all_that_is_well_is_told(up: Up, postfix: PrivatePostfix, authority: Authority, tmp_path: Path):
    with nsd(GOOD) as server:
        set_up(up, postfix, authority, tmp_path, server.server)
        code, rows = examined(up)
    results = {check: row["result"] for check, row in rows.items()}
    assert code == 0, rows
    assert results == {
        "broker": "ok",
        "scheduler": "ok",
        "clock against the scheduler": "ok",
        "store": "ok",
        "DNS": "warning",  # this one knows its own zones alone
        "reverse DNS of 127.0.0.1": "ok",
        "HELO from 127.0.0.1": "ok",
        "relay": "ok",
        "TLS": "ok",
        "certificate": "warning",  # it is for a day
        "sign-in": "ok",
        "MX of sender.example": "ok",
        f"port {postfix.port} of mx.sender.example": "ok",
        "SPF of sender.example for 127.0.0.1": "ok",
        "DKIM s1._domainkey.sender.example": "ok",
        "DMARC of sender.example": "ok",
        "DMARC alignment of sender.example": "ok",
    }
    assert "by PLAIN" in rows["sign-in"]["found"]
    assert "TLSv1.3" in rows["TLS"]["found"]

    def partings() -> list[str]:
        return [line for line in postfix.log if "disconnect from" in line]

    # A look: to the relay, and to the port of the MX host.
    wait_until(lambda: len(partings()) >= 2, "Postfix says what it was told")
    assert not [line for line in partings() if " auth=" in line or " mail=" in line]


def test_each_failing_row_says_what_to_do(up: Up, postfix: PrivatePostfix, authority: Authority, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    with nsd(BAD) as server:
        set_up(up, postfix, Authority(other), tmp_path, server.server)  # an authority that has not signed it
        code, rows = examined(up, "--to", f"127.0.0.1:{free_port()}", password="")
    failed = {check for check, row in rows.items() if row["result"] == "failed"}
    assert code == 1
    assert failed >= {
        "certificate",
        "sign-in",
        "SPF of sender.example for 127.0.0.1",
        "DKIM s1._domainkey.sender.example",
        "DMARC of sender.example",
        "DMARC alignment of sender.example",
    }
    assert any(check.startswith("port ") for check in failed)
    assert all(rows[check]["advice"] for check in failed)


@pytest.mark.parametrize(("password", "result"), [("hunter2", "ok"), ("hunter3", "failed")])
def test_a_sign_in_can_be_tried(
    up: Up, postfix: PrivatePostfix, authority: Authority, tmp_path: Path, password: str, result: str
):
    with nsd(GOOD) as server:
        set_up(up, postfix, authority, tmp_path, server.server)
        code, rows = examined(up, "--sign-in", password=password)
    assert rows["sign-in"]["result"] == result, rows["sign-in"]
    assert code == (result == "failed")


def test_no_password_goes_to_a_server_whose_certificate_is_not_valid(
    up: Up, postfix: PrivatePostfix, authority: Authority, tmp_path: Path
):
    other = tmp_path / "other"
    other.mkdir()
    with nsd(GOOD) as server:
        set_up(up, postfix, Authority(other), tmp_path, server.server)
        _, rows = examined(up, "--sign-in")
    assert rows["certificate"]["result"] == "failed"
    assert "not tried" in rows["sign-in"]["found"]


def test_relays_of_routes_and_the_tls_of_mx_hosts_are_told(
    up: Up, postfix: PrivatePostfix, authority: Authority, tmp_path: Path
):
    closed = free_port()
    with nsd(GOOD) as server:
        set_up(up, postfix, authority, tmp_path, server.server)
        routes = (
            f'routes."a.example"={{host = "localhost", port = {postfix.port}, tls = "enable",'
            ' auth = {user = "robot", password = {env = "DOCTORS_PASSWORD"}}}',
            f'routes."b.example"={{host = "localhost", port = {closed}}}',
        )
        said = up.command("settings", "set", "delivery.mode=direct", "identity.helo_fallback=fallback.example", *routes)
        try:
            assert said.code == 0, said.err
            code, rows = examined(up)
        finally:
            up.command("settings", "set", "delivery.mode=relay", "routes={}", "identity.helo_fallback=")
    assert (code, rows["relay"]["result"], rows["relay for b.example"]["result"]) == (1, "skipped", "failed")
    assert f"localhost:{closed}" in rows["relay for b.example"]["found"]
    assert rows["relay for a.example"]["found"].endswith("EHLO out.sender.example")
    assert "TLSv1.3" in rows["TLS for a.example"]["found"]
    assert "PLAIN" in rows["sign-in for a.example"]["found"]
    assert "tls=require" in rows["who gets the password for a.example"]["advice"]
    assert "TLSv1.3" in rows["TLS of mx.sender.example"]["found"]
    assert "not valid" in rows["certificate of mx.sender.example"]["found"]


def test_people_get_a_table(up: Up):
    said = up.command("doctor")
    assert "what to do" in said.out
    assert "no domain is named" in said.out


@contextmanager
def time_server(ahead_s: float) -> Iterator[str]:
    """Answers one question in the form of NTP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(60)

        def answer() -> None:
            _, asker = bound.recvfrom(512)
            bound.sendto(bytes(40) + struct.pack("!II", int(time.time() + ahead_s) + 2_208_988_800, 2**31), asker)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"127.0.0.1:{bound.getsockname()[1]}"
        thread.join()


def alone(*arguments: str) -> Said:
    """Without a broker."""
    return in_this_process("doctor", *arguments, env={"PILLARBOX_AMQP_URL": f"amqp://127.0.0.1:{free_port()}/"})


@pytest.mark.parametrize(("ahead_s", "result"), [(0, "ok"), (60, "failed"), (-60, "failed")])
def test_without_a_broker_the_rest_is_told_all_the_same(ahead_s: int, result: str, tmp_path: Path):
    with time_server(ahead_s) as server:
        said = alone("--home", str(tmp_path), "--egress", "127.0.0.1", "--time-server", server, "--json")
    rows = {row["check"]: row for row in json.loads(said.out)["checks"]}
    assert said.code == 1
    assert rows["broker"]["result"] == "failed"
    assert rows[f"clock against {server}"]["result"] == result
    assert {"DNS", "HELO from 127.0.0.1", "port 25"} <= set(rows)


def test_a_store_that_is_not_there_is_told_and_not_made(tmp_path: Path):
    store = tmp_path / "mistyped.db"
    said = in_this_process(
        "doctor", "--home", str(tmp_path / "home"), "--json",
        env={"PILLARBOX_AMQP_URL": f"amqp://127.0.0.1:{free_port()}/", "PILLARBOX_STORE_URL": f"sqlite:///{store}"},
    )  # fmt: skip
    [row] = [row for row in json.loads(said.out)["checks"] if row["check"] == "store"]
    assert (row["result"], f"no file {store}" in row["found"]) == ("failed", True)
    assert not store.exists()


@pytest.mark.parametrize("arguments", [("a b",), ("--egress", "nonsense")])
def test_what_is_no_domain_or_address_is_refused(arguments: tuple[str, ...], tmp_path: Path):
    assert alone("--home", str(tmp_path), *arguments).code == 2
