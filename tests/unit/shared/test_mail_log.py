"""The log: one event a line, whatever the values hold."""

import json
import logging
import subprocess
import sys

import pytest

SCRIPT = """
import json, logging, sys
import structlog
from shared.mail_log import start_log
start_log("sender-1", sys.argv[1])
log = structlog.get_logger()
{do}
"""


def lines_of(do: str, level: str = "info") -> list[str]:
    """What a process of its own writes: the log is set up for a process."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(do=do), level], capture_output=True, check=True, timeout=60
    )
    assert done.stdout.endswith(b"\n") or not done.stdout
    return done.stdout.decode("utf-8").split("\n")[:-1]


def test_a_line_begins_with_time_level_worker_and_event():
    [line] = lines_of('log.info("delivered", mail="order-1", reply="250 ok")')
    time, *rest = line.split(" ", 4)
    assert time.startswith("time=20")
    assert time.endswith("Z")
    assert rest == ["level=info", "worker=sender-1", "event=delivered", 'mail=order-1 reply="250 ok"']


HOSTILE = ["a\nb", "a\r\nb", "a\rb", "a\x0bb", "a\x1b[2Jb", "a\u2028b", "a\x85b", "a\0b", "\n" * 500, "\ud800"]


def test_an_event_is_one_line_whatever_its_values_hold():
    calls = "\n".join(f'log.info("deferred", reply=json.loads({json.dumps(value)!r}))' for value in HOSTILE)
    lines = lines_of(calls)
    assert len(lines) == len(HOSTILE)
    assert all(line.isprintable() and "event=deferred" in line for line in lines)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "v=plain"),
        ("two words", 'v="two words"'),
        ("a=b", 'v="a=b"'),
        ('say "hi" now', 'v="say \\"hi\\" now"'),
        ("Jörg", "v=Jörg"),
        ("a\nb", "v=a\\nb"),
        (7, "v=7"),
        (True, "v=true"),
        ("", "v="),
    ],
)
def test_a_value_is_quoted_where_it_must_be(value, written):
    [line] = lines_of(f'log.info("x", v={value!r})')
    assert line.endswith(f" event=x {written}")


def test_what_is_bound_to_a_logger_stands_in_its_lines():
    [line] = lines_of('log.bind(site="mx1").warning("down", next="retry")')
    assert line.endswith(" event=down site=mx1 next=retry")


def test_an_exception_is_one_line_too():
    [line] = lines_of("try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('died', next='exit')")
    assert "ZeroDivisionError: division by zero" in line


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", ["a", "b", "c", "d"]), ("info", ["b", "c", "d"]), ("warning", ["c", "d"]), ("error", ["d"])],
)
def test_the_level_decides_what_is_written(level, expected):
    lines = lines_of('log.debug("a"); log.info("b"); log.warning("c"); log.error("d")', level)
    assert [line.rpartition("event=")[2] for line in lines] == expected


def test_libraries_log_into_the_same_lines_and_only_what_is_worth_it():
    lines = lines_of(
        'logging.getLogger("some.library").warning("two\\nlines of %s", "it")\n'
        'logging.getLogger("some.library").info("chatter")\n'
        'logging.getLogger("pika.connection").error("refused")\n'
    )
    assert len(lines) == 1
    assert 'event=library_message library=some.library message="two\\nlines of it"' in lines[0]
    assert logging.getLevelName(logging.WARNING).lower() in lines[0]


def test_lines_of_a_turn_of_the_event_loop_and_of_threads_are_all_written():
    do = """
import asyncio
async def main():
    for turn in range(3):
        for number in range(100):
            log.info("loop", number=number)
        await asyncio.to_thread(log.info, "thread", number=turn)
    log.info("last")
asyncio.run(main())
log.info("after")
"""
    events = [line.split(" ")[3] for line in lines_of(do)]
    assert (events.count("event=loop"), events.count("event=thread")) == (300, 3)
    assert events[-2:] == ["event=last", "event=after"]


def test_lines_of_one_turn_stand_in_their_order_whoever_logs():
    do = """
import asyncio
async def main():
    for number in range(4):
        structlog.get_logger().info("x", number=number)
        log.info("y", number=number)
asyncio.run(main())
"""
    assert [line.split("event=")[1] for line in lines_of(do)] == [
        f"{name} number={n}" for n in range(4) for name in "xy"
    ]


def test_what_the_last_turn_logs_is_written_where_an_error_ends_the_worker():
    do = """
import asyncio
async def main():
    log.info("last")
    sys.exit(0)
asyncio.run(main())
"""
    assert [line.split(" ")[3] for line in lines_of(do)] == ["event=last"]
