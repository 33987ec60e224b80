"""What went wrong in a worker of a soak is read off its log."""

from pathlib import Path

from soak.run import faults_in

LOG = """\
time=2026-11-24T03:30:16Z level=info worker=sender-1 event=ready
Traceback (most recent call last):
  File "services/sender/__main__.py", line 48, in <module>
    run("sender", serve)
sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) disk I/O error
[SQL: BEGIN IMMEDIATE]
time=2026-11-24T03:30:17Z level=info worker=sender-1 event=stopped reason="ValueError: no traceback"
"""


def test_each_traceback_counts_by_its_last_line(tmp_path: Path):
    for name in ("sender-1", "sender-2", "scheduler-3"):
        (tmp_path / f"{name}.log").write_text(LOG)

    last = "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) disk I/O error"
    assert faults_in(tmp_path) == {f"sender: {last}": 2, f"scheduler: {last}": 1}
