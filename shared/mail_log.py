"""The log: one event a line, as key=value; the only writer of the format.

A line about a mail carries `mail=`; a line about a failure ends with `next=`, what happens now.
"""

import asyncio
import atexit
import logging
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TextIO

import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def start_log(worker: str, level: str = "info") -> None:
    """Set up the log of this process: lines on standard output, each with time, level and the worker's name."""
    gathered = Gathered(Lines(worker), sys.stdout)
    structlog.configure(
        processors=[],
        wrapper_class=logger_of(level),
        logger_factory=lambda *_: gathered,
        cache_logger_on_first_use=True,
    )
    # pika and others log by the standard library; what they say at warning and above is worth a line.
    logging.basicConfig(handlers=[_ToStructlog()], level=logging.WARNING, force=True)
    # pika calls every refused connection attempt an error; shared/broker/link.py says so itself, once.
    logging.getLogger("pika").setLevel(logging.CRITICAL)


class Gathered:
    """Writes what is logged in one turn of the event loop together: a write for each line takes a third of its time.

    What a `kill -9` cuts off is what was logged in that turn.
    """

    def __init__(self, make: "Lines", output: TextIO) -> None:
        self._make = make
        self._output = output
        self._writing = threading.Lock()
        self._lines: list[str] = []  # of the event loop
        atexit.register(self._write_all)

    def write(self, level: str, event: str, values: Mapping[str, Any]) -> None:
        """Write a line, at the end of this turn or, outside of an event loop, now."""
        line = self._make.line(level, event, values)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write([line])
            return
        if not self._lines:
            loop.call_soon(self._write_all)
        self._lines.append(line)

    def _write_all(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self._write(lines)

    def _write(self, lines: list[str]) -> None:
        with self._writing:
            self._output.write("\n".join(lines) + "\n")
            self._output.flush()


class _Logger(structlog.BoundLoggerBase):
    """What `structlog.get_logger()` is in a worker.

    Every mail has several lines. No processors are asked: with structlog's own logger, which hands a dictionary from
    one to the next, a line takes 2.6 times as long (`python -m bench.log_lines`).
    """

    def debug(self, event: str, **values: Any) -> None:
        self._write("debug", event, values)

    def info(self, event: str, **values: Any) -> None:
        self._write("info", event, values)

    def warning(self, event: str, **values: Any) -> None:
        self._write("warning", event, values)

    def error(self, event: str, **values: Any) -> None:
        self._write("error", event, values)

    def exception(self, event: str, **values: Any) -> None:
        self._write("error", event, {"exc_info": True, **values})

    def _write(self, level: str, event: str, values: dict[str, Any]) -> None:
        if self._context:
            values = {**self._context, **values}
        if "exc_info" in values:
            values = dict(structlog.processors.format_exc_info(self._logger, level, values))
        self._logger.write(level, event, values)


def logger_of(level: str) -> type[_Logger]:
    """One that writes from this level on."""
    silent = {name: _nothing for name, number in _LEVELS.items() if number < _LEVELS[level]}
    return type("Logger", (_Logger,), silent)


def _nothing(_self: _Logger, _event: str, **_values: Any) -> None:
    """Of a level that nobody wants to see."""


class Lines:
    """Makes lines of events, logfmt."""

    def __init__(self, worker: str) -> None:
        self._worker = _text(worker)
        self._second = -1
        self._date = ""  # of that second

    def line(self, level: str, event: str, values: Mapping[str, Any]) -> str:
        """The line without its end."""
        rest = [f"{name}={_text(value)}" for name, value in values.items() if value is not None]
        line = " ".join([f"time={self._now()} level={level} worker={self._worker} event={_text(event)}", *rest])
        return line if line.isprintable() else _in_one_line(line)

    def _now(self) -> str:
        second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second, self._date = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._date}.{nanoseconds // 1000:06}Z"


def _text(value: Any) -> str:
    """A value as logfmt has it: in quotes where it would not end at the next space."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if " " not in text and '"' not in text and "=" not in text:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _in_one_line(line: str) -> str:
    """Servers' replies and clients' subjects come into the log: none may end its line or steer a terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in line)


class _ToStructlog(logging.Handler):
    """Standard-library records as lines of this log."""

    def emit(self, record: logging.LogRecord) -> None:
        name = next((name for name, number in reversed(_LEVELS.items()) if record.levelno >= number), "debug")
        write = getattr(structlog.get_logger(), name)
        write("library_message", library=record.name, message=record.getMessage(), exc_info=record.exc_info)
