"""How does what was decided while the database was away outlast this process?

A file that only grows until the database has been told: a line that says what it is, and records, which are four bytes
of length, four of CRC-32 (both most significant first), and msgpack. A record is on disk before anybody hears of what
is in it. One that a crash cut off was never acknowledged.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import msgspec

from upshift.model.entry import Entry
from upshift.store.backend import StoreTroubleError
from upshift.store.lock import FileLock
from upshift.store.rows import storable

_BEGIN = b"upshift away log 1\n"
_HEAD = struct.Struct(">II")
_LARGEST = 1 << 30
"""Bytes of one record: more is no length."""


class Sat(msgspec.Struct, frozen=True, tag="sat"):
    """Whoever has this file took the keeper's seat. `secret` tells the seat from those of others."""

    epoch: int
    secret: str


class Appended(msgspec.Struct, frozen=True, tag="appended"):
    """Entries that were acknowledged, in their order; they may have reached the database as well."""

    entries: tuple[Entry, ...]


Record: TypeAlias = Sat | Appended
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class AwayLog:
    """The file, for one process at a time: who has it open knows that whoever wrote it before is dead."""

    def __init__(self, path: Path) -> None:
        """Open or create it, and put aside what a crash cut off.

        Raises LedgerInUseError, and StoreTroubleError for a file that is something else or cannot be read.
        """
        self.path = path
        self.torn = 0
        """Bytes at the end that were no whole record; they were moved to a file beside, `<path>.torn`."""
        self.seats: list[Sat] = []
        """The seats that were taken since the log was last empty, the latest last."""
        self.entries: list[Entry] = []
        """What was in it when it was read last, and has to be told to the database; empty after `clear`."""
        self._lock = FileLock(path)
        try:
            with _troubles(self.path):
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    self._end = self._read()
                except BaseException:
                    os.close(self._file)
                    raise
        except BaseException:
            self._lock.free()
            raise

    def read(self) -> None:
        """Read it again: what was appended meanwhile is among `entries`. Raises StoreTroubleError."""
        with _troubles(self.path):
            self._end = self._read()

    def sit(self, seat: Sat) -> None:
        """The seat was taken. Raises StoreTroubleError."""
        self._append(seat)
        self.seats.append(seat)

    def append(self, entries: Sequence[Entry]) -> None:
        """Returns when they are on disk. Raises StoreTroubleError; then the file is as it was before."""
        try:
            self._append(Appended(tuple(entries)))
        except (ValueError, OverflowError):
            self._append(Appended(tuple(map(storable, entries))))

    def clear(self) -> None:
        """All entries are in the database: only whose seat it is stays. Raises StoreTroubleError."""
        with _troubles(self.path):
            os.ftruncate(self._file, len(_BEGIN))
            self._end = len(_BEGIN)
        self.entries.clear()
        del self.seats[:-1]
        for seat in self.seats:
            self._append(seat)

    def close(self) -> None:
        """Let somebody else have it; what is appended from now on is refused. May be called again."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
            self._lock.free()

    def _read(self) -> int:
        content = _whole(self._file)
        self.seats, self.entries = [], []
        if not content.startswith(_BEGIN):
            if not _BEGIN.startswith(content):
                raise StoreTroubleError(f"{self.path} is no log of ours; name another file")
            # New, or cut off before anything was in it.
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, _BEGIN, 0)
            self._sync_with_folder()
            self.torn = len(content)
            return len(_BEGIN)
        at = len(_BEGIN)
        while (record := _record_at(content, at)) is not None:
            read, at = record
            if isinstance(read, Sat):
                self.seats.append(read)
            else:
                self.entries += read.entries
        self.torn = len(content) - at
        if self.torn:
            # Kept beside: a crash leaves less than a record there, a broken disk perhaps more.
            self.path.with_name(f"{self.path.name}.torn").write_bytes(content[at:])
            os.ftruncate(self._file, at)
            os.fdatasync(self._file)
        return at

    def _sync_with_folder(self) -> None:
        os.fsync(self._file)
        folder = os.open(self.path.absolute().parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _append(self, record: Record) -> None:
        body = _encode(record)
        data = _HEAD.pack(len(body), zlib.crc32(body)) + body
        with _troubles(self.path):
            try:
                done = 0
                while done < len(data):
                    done += os.pwrite(self._file, data[done:], self._end + done)
                os.fdatasync(self._file)
            except OSError:
                # Not to be read as acknowledged, nor in the way of the next one, which is written over it.
                with suppress(OSError):
                    os.ftruncate(self._file, self._end)
                raise
        self._end += len(data)


@contextmanager
def _troubles(path: Path) -> Iterator[None]:
    """Says in the store's words what the system complains of."""
    try:
        yield
    except OSError as error:
        raise StoreTroubleError(f"{path}: {error.strerror or error}") from error


def _whole(file: int) -> bytes:
    parts, at = [], 0
    while part := os.pread(file, 1 << 24, at):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _record_at(content: bytes, at: int) -> tuple[Record, int] | None:
    """The record that begins there and where the next one does; None where there is no whole one."""
    begin = at + _HEAD.size
    if begin > len(content):
        return None
    length, checksum = _HEAD.unpack_from(content, at)
    end = begin + length
    if length > _LARGEST or end > len(content):
        return None
    body = content[begin:end]
    if zlib.crc32(body) != checksum:
        return None
    try:
        return _decode(body), end
    except msgspec.MsgspecError:
        return None
