"""The log: one event a line, as key=value; the only writer of the format.

A line about a mail carries `mail=`; a line about a failure ends with `next=`, what happens now.
"""

import logging
import sys
from typing import Any

import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def start_log(worker: str, level: str = "info") -> None:
    """Set up the log of this process: lines on standard output, each with time, level and the worker's name."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(
                key_order=["time", "level", "worker", "event"], drop_missing=True, bool_as_flag=False
            ),
            _in_one_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(worker=worker)
    # pika and others log by the standard library; what they say at warning and above is worth a line.
    logging.basicConfig(handlers=[_ToStructlog()], level=logging.WARNING, force=True)
    # pika calls every refused connection attempt an error; shared/broker/link.py says so itself, once.
    logging.getLogger("pika").setLevel(logging.CRITICAL)


def _in_one_line(_logger: Any, _method: str, line: Any) -> str:
    """Servers' replies and clients' subjects come into the log: none may end its line or steer a terminal."""
    text = str(line)
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


class _ToStructlog(logging.Handler):
    """Standard-library records as lines of this log."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno,
            "library_message",
            library=record.name,
            message=record.getMessage(),
            exc_info=record.exc_info,
        )
