"""Ends over descriptors that Python's ``io`` objects own: regular files, and pipes.

Rules of this file: descriptions only. The position is the object's logical one (``tell()``), never that
of the descriptor: after ``f.read(4); f.seek(0)`` the descriptor is at 4096 and the file at 0 (hard cases
O1 to O6).
"""

from __future__ import annotations

import fcntl
import io
import os
import stat
from typing import Any

from . import _syscalls
from ._endpoint import BLOCK, Kind, Sink, Source
from ._opaque import OpaqueSource

_O_DIRECT = getattr(os, "O_DIRECT", 0)


class FileSource(Source):
    """A regular file, read from its logical position."""

    kind = Kind.FILE
    note = "regular file"
    rewindable = True

    def __init__(self, obj: Any, offset: int, size: int) -> None:
        super().__init__(obj)
        self._file = obj
        self.offset = offset
        self.size = size

    def fileno(self) -> int:
        return int(self._file.fileno())

    def read(self, count: int) -> bytes:
        # read() cost the same CPU per byte as readinto() of a reused buffer, and its bytes can be kept
        return self._file.read(min(count, BLOCK))  # type: ignore[no-any-return]

    def has_byte_at(self, offset: int) -> bool:
        return _syscalls.byte_at(self.fileno(), offset)

    def check(self) -> None:
        if isinstance(self._file, io.BufferedRandom):
            self._file.flush()  # unflushed writes are part of the file; it also drops the stale read buffer
            self.grow()

    def grow(self) -> int:
        """The size now: a file may grow or shrink under a copy (hard cases F5, F6)."""
        self.size = os.fstat(self.fileno()).st_size
        return self.size

    def settle(self, count: int, *, below: bool) -> None:
        self.offset += count
        if below and not self._file.closed:
            self._file.seek(self.offset)
        super().settle(count, below=below)


class FileSink(Sink):
    """A file, pipe or device behind an ``io`` object, written by the object's own ``write``."""

    def __init__(self, obj: Any, kind: Kind, note: str) -> None:
        super().__init__(obj)
        self._file = obj
        self.kind = kind
        self.note = note
        self.offset = obj.tell() if kind is Kind.FILE else 0

    def fileno(self) -> int:
        return int(self._file.fileno())

    def innocent(self, exc: BaseException) -> bool:
        return self.kind is Kind.FILE and isinstance(exc, OSError)

    def write(self, data: memoryview) -> int:
        try:
            taken = self._file.write(data)
        except BlockingIOError as exc:
            taken = exc.characters_written or None
        except OSError:
            # A full disk takes part of a block and then says no: the position tells how much it took.
            # The next write hears the error again (hard case C21).
            taken = self._file.tell() - self.offset if self.kind is Kind.FILE else 0
            if taken <= 0:
                raise
        if taken is None:
            raise BlockingIOError("the file is in non-blocking mode and full")
        self.offset += taken
        return int(taken)

    def flush(self) -> None:
        self._file.flush()


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return Kind.FILE
    return Kind.PIPE if stat.S_ISFIFO(mode) else Kind.OPAQUE


def source_below(file: Any) -> Source:
    """Describe a binary ``io`` object that can be read and whose descriptor is its own."""
    if not file.readable():
        raise io.UnsupportedOperation("not readable")
    fd = file.fileno()
    status = os.fstat(fd)
    kind = _kind(status.st_mode)
    if kind is not Kind.FILE:
        # read() of a buffered object waits until it has all it was asked for; bytes that are there must
        # not wait for more (hard case X9).
        read = getattr(file, "read1", file.read)
        return OpaqueSource(file, "pipe" if kind is Kind.PIPE else "device or directory", read, kind=kind)
    if _O_DIRECT and fcntl.fcntl(fd, fcntl.F_GETFL) & _O_DIRECT:
        # sendfile answers EINVAL at the first length that is no multiple of the block (hard case F13)
        return OpaqueSource(file, "file opened with O_DIRECT", file.read)
    try:
        offset = file.tell()
    except OSError:  # a FUSE file opened as a stream
        return OpaqueSource(file, "file that cannot seek", file.read)
    return FileSource(file, offset, status.st_size)


def sink_below(file: Any) -> Sink:
    """Describe a binary ``io`` object that can be written and whose descriptor is its own."""
    if not file.writable():
        raise io.UnsupportedOperation("not writable")
    fd = file.fileno()
    kind = _kind(os.fstat(fd).st_mode)
    if kind is Kind.FILE and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND:
        # Ask the descriptor at each copy: 'ab' in the mode is not the only way there (hard cases C3, C4).
        return FileSink(file, Kind.OPAQUE, "file opened with O_APPEND")
    notes = {Kind.FILE: "regular file", Kind.PIPE: "pipe"}
    return FileSink(file, kind, notes.get(kind, "device"))
