"""A file of secrets that others may be reading while it is changed."""

import os
from pathlib import Path

from cli.node_folder import open_private


def rewrite(file: Path, text: str) -> None:
    """In one step, so that nobody reads half of it; it stays with the user and the mode that it had."""
    written = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open_private(written, "x") as out:
            out.write(text)
            if file.exists():
                former = file.stat()
                os.fchmod(out.fileno(), former.st_mode & 0o777)
                if os.geteuid() == 0:
                    os.fchown(out.fileno(), former.st_uid, former.st_gid)
        written.replace(file)
    finally:
        written.unlink(missing_ok=True)
