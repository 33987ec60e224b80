"""What `pillarbox doctor` finds of the mail store."""

import os
from pathlib import Path

from sqlalchemy import exc, make_url

from cli.doctor_rows import Row, failed, ok, skipped
from cli.home import Home
from shared.environment import without_password
from shared.mail_store.engine import open_engine
from shared.mail_store.making_ready import check_version
from shared.store_trouble import StoreUnusable


def store_row(home: Home) -> Row:
    """Whether the mail store can be read."""
    run = home.running()
    url = run.store_url if run else os.environ.get("PILLARBOX_STORE_URL", "")
    if not url:
        return skipped("store", "PILLARBOX_STORE_URL is not set here", "set it as the scheduler has it")
    advice = "see that PILLARBOX_STORE_URL is right, that the database runs, and that a scheduler made its tables"
    try:
        if missing := _missing_file(url):
            return failed("store", f"{without_password(url)}: there is no file {missing}", advice)
        engine = open_engine(url)
        try:
            with engine.connect() as connection:
                check_version(connection)
        finally:
            engine.dispose()
    except StoreUnusable as error:
        return failed("store", f"{without_password(url)}: {error}", error.cure)
    except (exc.SQLAlchemyError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        return failed("store", f"{without_password(url)}: {reason}", advice)
    return ok("store", without_password(url))


def _missing_file(url: str) -> str:
    """The file of a SQLite store that is not there: to open it would make an empty one. Raises ArgumentError."""
    parsed = make_url(url)
    path = parsed.database or ""
    if parsed.get_backend_name() != "sqlite" or path.startswith(("file:", ":memory:")):
        return ""
    return "" if Path(path).exists() else path
