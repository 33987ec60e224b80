"""The files of journals: how a record stands in one, and whose a file is.

A file belongs to the process that has locked it; when that dies, the lock goes with it, and anybody may take it over.
"""

import errno
import fcntl
import hashlib
import os
import stat
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from zlib import crc32

import msgspec

from shared.contracts.work import RecipientOutcome
from shared.environment import without_password
from shared.refusals import UNREADABLE

_FRAME = struct.Struct(">II")  # length and CRC-32 of the record behind it
_END = bytes(_FRAME.size)  # what lies behind it was struck out
_SUFFIX = ".journal"


class Noted(msgspec.Struct, frozen=True, array_like=True):
    """What a server has said of one mail."""

    mail: str  # its id
    outcomes: tuple[RecipientOutcome, ...]


class Record(msgspec.Struct, frozen=True, array_like=True):
    """What came together."""

    worker: str
    revision: int
    mails: tuple[Noted, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


def written(record: Record) -> bytes:
    """A record as it stands in the file."""
    payload = _encoder.encode(record)
    return _FRAME.pack(len(payload), crc32(payload)) + payload


def read(data: bytes) -> tuple[list[Record], int]:
    """The records up to the end or to where the file is damaged; and how many octets the damage has cost."""
    records: list[Record] = []
    at = 0
    while at + _FRAME.size <= len(data):
        length, checksum = _FRAME.unpack_from(data, at)
        if not (length or checksum):
            return records, 0
        end = at + _FRAME.size + length
        payload = data[at + _FRAME.size : end]
        if len(payload) < length or crc32(payload) != checksum:
            break
        try:
            records.append(_decoder.decode(payload))
        except UNREADABLE:
            break
        at = end
    return records, len(data) - at


class JournalFile:
    """One file that this process has locked."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.path = path
        self.size = 0
        self._descriptor = descriptor

    def append(self, data: bytes) -> None:
        """Raises OSError; then nothing was appended."""
        count = os.pwrite(self._descriptor, data + _END, self.size)
        if count < len(data) + len(_END):  # the half of a record, which the next one overwrites
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += len(data)

    def content(self) -> bytes:
        """All that is in it. Raises OSError."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        with open(self._descriptor, "rb", closefd=False) as file:
            return file.read()

    def clear(self) -> None:
        """Strike out all that is in it: to cut it off would cost five times as much. Raises OSError."""
        os.pwrite(self._descriptor, _END, 0)
        self.size = 0

    def leave(self) -> None:
        """Let go of it; from now on others may take it over."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """It is not needed any more. Raises OSError."""
        try:
            self.path.unlink(missing_ok=True)
        finally:
            self.leave()


def new_file(folder: Path, store_url: str, worker: str) -> JournalFile:
    """A file of one's own, readable for its owner alone. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        descriptor, name = tempfile.mkstemp(_SUFFIX, f"{_mark(store_url)}-{quote(worker, safe='')[:100]}-", folder)
        path = Path(name)
        # Before it was locked, somebody may have found it empty and left behind.
        if _lock(descriptor) and _is_at(descriptor, path):
            return JournalFile(descriptor, path)
        os.close(descriptor)


def left_behind(folder: Path, store_url: str) -> Iterator[JournalFile]:
    """The files of senders of the same store that have ended; locked. Raises OSError."""
    for path in sorted(folder.glob(f"{_mark(store_url)}-*{_SUFFIX}")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # taken over by another meanwhile
        if _lock(descriptor) and _is_at(descriptor, path) and _is_ours(descriptor):
            yield JournalFile(descriptor, path)
        else:
            os.close(descriptor)


def _mark(store_url: str) -> str:
    """What tells the files of one store from those of others in the same folder."""
    return hashlib.sha256(without_password(store_url).encode()).hexdigest()[:12]


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def _is_ours(descriptor: int) -> bool:
    """What others can put there would be believed."""
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
