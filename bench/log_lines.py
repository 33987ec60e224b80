"""`python -m bench.log_lines`: what a line of the log costs, beside one of structlog's own logger."""

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any, TextIO

import structlog

from shared.mail_log import Gathered, Lines, logger_of

_LINES = 5_000
_ROUNDS = 9

_STRUCTLOGS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.format_exc_info,
    structlog.processors.LogfmtRenderer(key_order=["time", "level", "event"], drop_missing=True, bool_as_flag=False),
]


def own(file: TextIO) -> Any:
    """The workers' logger."""
    return structlog.wrap_logger(
        Gathered(Lines("sender-1"), file), (), wrapper_class=logger_of("info"), cache_logger_on_first_use=True
    )


def structlogs(file: TextIO) -> Any:
    """One of structlog's own parts."""
    level = structlog.make_filtering_bound_logger("info")
    return structlog.wrap_logger(
        structlog.WriteLogger(file), _STRUCTLOGS, wrapper_class=level, cache_logger_on_first_use=True
    )


def cost(write: Callable[..., Any]) -> float:
    """Microseconds of processor time for a line."""
    started = time.process_time()
    for number in range(_LINES):
        write("delivered", mail=f"order-{number}", recipient="ann@y.example", attempt=1, reply="250 2.0.0 Ok: queued")
    return (time.process_time() - started) / _LINES * 1e6


def main() -> None:
    """Measure in turn, print medians."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        loggers = own(nowhere), structlogs(nowhere)
        rounds = [[cost(logger.info) for logger in loggers] for _ in range(_ROUNDS)]
    ours, theirs = (median(column) for column in zip(*rounds, strict=True))
    print(f"a line: {ours:.1f} µs; by structlog's own logger: {theirs:.1f} µs; ratio {theirs / ours:.1f}")


if __name__ == "__main__":
    main()
