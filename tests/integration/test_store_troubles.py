"""A store that can not be used: what may pass is waited for and said once, what does not ends the worker."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from shared.mail_store.making_ready import check_version, create_tables
from shared.mail_store.tables import VERSION, contents, store_version
from shared.mail_store.thread import StoreThread
from tests.support.broker import until
from tests.support.pipeline import Worker
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import new_vhost
from tests.support.store import OpenStore

_ROOM = 1_073_741_823  # pages: as many as SQLite takes


def told(log: list) -> list[tuple[str, str]]:
    return [(line["event"], line.get("reason", "")) for line in log]


def test_a_full_store_is_waited_for_and_nothing_of_the_transaction_is_left_out(sqlite_url):
    most = 20  # pages

    def put(connection: sa.Connection, mail: int) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {most}")
        for part in range(10):
            connection.execute(sa.insert(contents), {"mail": mail * 100 + part, "data": bytes(100_000)})

    async def scene() -> None:
        nonlocal most
        thread = StoreThread(sqlite_url)
        await thread.run(create_tables)
        with capture_logs() as log:
            writing = [asyncio.create_task(thread.run(put, mail)) for mail in (1, 2, 3)]
            await until(lambda: log)
            most = _ROOM
            async with asyncio.timeout(30):
                await asyncio.gather(*writing)
        assert told(log) == [("store_unavailable", "database or disk is full"), ("store_unavailable_over", "")]
        assert log[0]["store"] == sqlite_url
        assert "make room" in log[0]["do"]
        count = await thread.run(lambda c: c.execute(sa.select(sa.func.count()).select_from(contents)).scalar_one())
        assert count == 30
        thread.close()

    asyncio.run(scene())


def test_a_locked_store_is_waited_for_by_who_writes_and_not_by_who_reads(sqlite_url, tmp_path):
    async def scene() -> None:
        thread = StoreThread(f"{sqlite_url}?timeout=0.05")
        await thread.run(create_tables)
        other = sqlite3.connect(tmp_path / "mail.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE store_version SET version = 99")
        with capture_logs() as log:
            await thread.read(check_version)  # as it was before
            assert not log
            waiting = asyncio.create_task(thread.run(create_tables))
            await until(lambda: log)
            other.rollback()
            async with asyncio.timeout(30):
                await waiting
        assert told(log) == [("store_unavailable", "database is locked"), ("store_unavailable_over", "")]
        other.close()
        thread.close()

    asyncio.run(scene())


def test_a_database_server_that_restarts_is_waited_for(postgres: PrivatePostgres, postgres_url):
    async def scene() -> None:
        thread = StoreThread(postgres_url)
        await thread.run(create_tables)
        with capture_logs() as log:
            restarting = asyncio.create_task(asyncio.to_thread(postgres.restart))
            while not (restarting.done() and log):
                await thread.run(lambda connection: connection.execute(sa.text("SELECT 1")))
        assert {line["event"] for line in log} == {"store_unavailable", "store_unavailable_over"}
        assert "database server" in log[0]["do"]
        assert log[-1]["event"] == "store_unavailable_over"
        thread.close()

    asyncio.run(scene())


def test_a_stop_does_not_wait_for_a_store_that_is_away(sqlite_url, tmp_path):
    async def scene() -> None:
        thread = StoreThread(f"{sqlite_url}?timeout=0.05")
        other = sqlite3.connect(tmp_path / "mail.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with capture_logs() as log:
            waiting = asyncio.create_task(thread.run(create_tables))
            await until(lambda: log)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        thread.close()
        other.close()

    asyncio.run(scene())


@pytest.mark.parametrize("role", ["scheduler", "sender"])
def test_a_worker_that_waits_for_its_store_can_be_stopped(rabbitmq, sqlite_url, tmp_path, role):
    other = sqlite3.connect(tmp_path / "mail.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    urls = {"PILLARBOX_AMQP_URL": new_vhost(rabbitmq), "PILLARBOX_STORE_URL": f"{sqlite_url}?timeout=0.05"}
    worker = Worker(role, role, urls, tmp_path)
    try:
        worker.wait_for_log("store_unavailable")
        worker.stop()
    finally:
        worker.kill()
        other.close()


def broken_file(folder: Path) -> str:
    (folder / "mail.db").write_bytes(b"this is no database" * 1000)
    return f"sqlite:///{folder}/mail.db"


def read_only_file(folder: Path) -> str:
    connection = sqlite3.connect(folder / "mail.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE any (column)")
    connection.close()
    return f"sqlite:///file:{folder}/mail.db?mode=ro&uri=true"


def of_another_version(folder: Path) -> str:
    store = OpenStore(f"sqlite:///{folder}/mail.db")
    store.run(sa.Connection.execute, sa.update(store_version).values(version=VERSION + 1))
    store.close()
    return store.url


@pytest.mark.parametrize(
    ("role", "make", "reason", "cure"),
    [
        ("scheduler", broken_file, "file is not a database", "backup"),
        ("scheduler", read_only_file, "attempt to write a readonly database", "write to the file"),
        ("scheduler", lambda folder: "mail.db", "Could not parse", "PILLARBOX_STORE_URL"),
        ("scheduler", of_another_version, f"the store is of version {VERSION + 1}", "Upgrading"),
        ("sender", of_another_version, f"the store is of version {VERSION + 1}", "Upgrading"),
    ],
    ids=["broken", "read-only", "no URL", "of another version", "of another version, a sender"],
)
def test_a_worker_whose_store_is_of_no_use_says_what_to_do_and_ends(rabbitmq, tmp_path, role, make, reason, cure):
    line = said_at_its_end(role, new_vhost(rabbitmq), make(tmp_path))
    assert reason in line
    assert cure in line


@pytest.mark.parametrize("role", ["scheduler", "sender"])
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_has_no_place_for_every_letter_is_refused(rabbitmq, postgres: PrivatePostgres, role, encoding):
    line = said_at_its_end(role, new_vhost(rabbitmq), postgres.new_database(encoding))
    assert f"the database has the encoding {encoding}; takes UTF8" in line
    assert "docs/operations.md, When the store fails" in line


@pytest.mark.parametrize("role", ["scheduler", "sender"])
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_url_that_asks_for_another_encoding_is_refused(rabbitmq, postgres: PrivatePostgres, role, encoding):
    url = postgres.new_database()
    line = said_at_its_end(role, new_vhost(rabbitmq), f"{url}{'&' if '?' in url else '?'}client_encoding={encoding}")
    assert f"its URL asks for the encoding {encoding}; takes UTF8" in line
    assert "leave client_encoding out of it" in line


def said_at_its_end(role: str, amqp_url: str, store_url: str) -> str:
    """The one error of a worker that ends at once."""
    done = subprocess.run(
        [sys.executable, "-m", f"services.{role}"],
        env={**os.environ, "PILLARBOX_AMQP_URL": amqp_url, "PILLARBOX_STORE_URL": store_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    [line] = [line for line in done.stdout.splitlines() if "level=error" in line]
    assert "event=store_unusable" in line
    return line
