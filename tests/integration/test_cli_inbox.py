"""The test inbox keeps what it is sent, octet for octet."""

import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.inbox import read_kept
from tests.support.ports import free_port, wait_for_port

MESSAGE = b"Subject: =?utf-8?q?x?=\r\n\r\n.\r\n..dots\r\nGr\xc3\xbc\xc3\x9fe \xff\r\n" + b"x" * 900 + b"\r\n"


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Its port and folder."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", "cli.inbox", "--folder", tmp_path, "--port", str(port)]) as process:
        try:
            wait_for_port(port)  # connection 1
            yield port, tmp_path
        finally:
            process.terminate()
            assert process.wait(10) == 0


def test_content_is_kept_byte_for_byte_beside_its_envelope(inbox: tuple[int, Path]):
    port, folder = inbox
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example") as client:
        client.ehlo()
        assert {"size", "8bitmime", "smtputf8", "pipelining"} <= set(client.esmtp_features)
        client.sendmail("", ["b@y.example", "c@y.example"], MESSAGE, ["BODY=8BITMIME"])
        client.sendmail("ä@x.example", ["ö@y.example"], MESSAGE, ["SMTPUTF8", "BODY=8BITMIME"])
    first, second = sorted(folder.glob("*.eml"))
    assert first.read_bytes() == second.read_bytes() == MESSAGE
    kept = read_kept(first)
    assert (kept.mail_from, kept.rcpt_to, kept.connection) == ("", ["b@y.example", "c@y.example"], 2)
    assert (kept.helo, kept.size) == ("client.example", len(MESSAGE))
    assert (read_kept(second).mail_from, read_kept(second).rcpt_to) == ("ä@x.example", ["ö@y.example"])
    assert not list(folder.glob(".*"))


def test_each_connection_has_its_number(inbox: tuple[int, Path]):
    port, folder = inbox
    for _ in range(2):
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.sendmail("a@x.example", ["b@y.example"], b"x\r\n")
    assert [read_kept(file).connection for file in sorted(folder.glob("*.eml"))] == [2, 3]
