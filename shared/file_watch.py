"""Whether files have changed since one last looked."""

from pathlib import Path


class FileWatch:
    """Remembers how the files looked."""

    def __init__(self, *files: Path) -> None:
        self._files = files
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether one of them is another than the last time: written, replaced, made or removed."""
        now = self._look()
        changed, self._seen = now != self._seen, now
        return changed

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_state(file) for file in self._files]


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
