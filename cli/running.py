"""Runs a command line: what it raises becomes one line on standard error and an exit code."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
import typer

from cli.failures import ExitCode, explained
from cli.output import plain, remark

# typer does not export the class above its usage errors, nor their base.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """The exit code of a command line."""
    with _quiet():
        return _run(app, arguments)


def _run(app: typer.Typer, arguments: Sequence[str]) -> int:
    try:
        code = app(args=list(arguments), prog_name="pillarbox", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (`head`) has gone; nothing more may be written when Python closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except Exception as error:
        if isinstance(error, _USAGE_ERROR):
            return _complain(_usage_words(error), ExitCode.USAGE)
        failure = explained(error)
        if failure is None:
            raise
        return _complain(str(failure), failure.code)
    return code if isinstance(code, int) else ExitCode.DONE


def _complain(message: str, code: ExitCode) -> int:
    remark(f"[bold red]pillarbox:[/bold red] {plain(message)}")
    return code


def _usage_words(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "pillarbox"
    message = str(getattr(error, "format_message", error.__str__)()).rstrip(".")
    return f"{message} (see `{where} --help`)"


@contextmanager
def _quiet() -> Iterator[None]:
    """The broker's log lines are for workers; a command says in its own words what went wrong."""
    names = ("pika", "asyncio")
    levels = {name: logging.getLogger(name).level for name in names}
    configuration = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        structlog.configure(**configuration)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
