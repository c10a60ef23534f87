"""Ends over regular files.

Rules of this file: the position is the object's logical one (``tell()``), never that of the descriptor:
after ``f.read(4); f.seek(0)`` the descriptor is at 4096 and the file at 0 (hard cases O1 to O6). Bytes go
below the object at explicit offsets, and the object is told by one ``seek`` at the end. Whatever may wait
for storage is a job for the pool.
"""

from __future__ import annotations

import fcntl
import io
import os
import stat
from collections.abc import Callable
from typing import Any

from . import _disk, _syscalls
from ._disk import Doer, Storage
from ._endpoint import BLOCK, End, Kind, Sink, Source
from ._opaque import OpaqueSource
from ._pipes import PipeSink, PipeSource

#: A write of no more than this to a file system of this machine stays in the hub: it fits the page cache,
#: and a job costs more than it does.
INLINE = 64 * 1024

#: How far ahead the question "is it cached?" looks: asked for each piece, it cost 4 % of the CPU of a download.
WINDOW = 1024 * 1024

_O_DIRECT = getattr(os, "O_DIRECT", 0)
_NULL = os.makedev(1, 3)


class _FileEnd(Doer, End):
    """What both ends share: the logical position, and the question what is below."""

    kind = Kind.FILE
    note = "regular file"
    offset: int

    def __init__(self, obj: Any, status: os.stat_result) -> None:
        super().__init__(obj)
        self._file = obj
        self._storage: Storage | None = None
        self.fileno = obj.fileno  # asked at every call, without a detour
        self.offset = obj.tell()
        self.identity = (status.st_dev, status.st_ino)

    @property
    def storage(self) -> Storage:
        if self._storage is None:
            self._storage = _disk.storage(self.fileno())
        return self._storage

    def flush(self) -> None:
        """Write out what the object still has to write: by the pool where that may take long."""
        self.do(self.storage is not Storage.REMOTE or isinstance(self._file, io.RawIOBase), self._file.flush, ())

    def settle(self, count: int) -> None:
        self.offset += count
        if not self._file.closed:
            self._file.seek(self.offset)
        super().settle(count)


class FileSource(_FileEnd, Source):
    """A regular file, read from its logical position."""

    rewindable = True

    def __init__(self, obj: Any, status: os.stat_result) -> None:
        super().__init__(obj, status)
        self.size = status.st_size
        self._next = self.offset
        self._warm = (0, 0)  # bytes between two that were cached when asked

    def check(self) -> None:
        if isinstance(self._file, io.BufferedRandom):
            self.flush()  # unflushed writes are part of the file; it also drops the stale read buffer
            self.grow()
        self.offset = self._next = self._file.tell()  # a description may be older than a seek

    def at_hand(self, offset: int, count: int) -> bool:
        """Whether these bytes can be had without waiting for storage."""
        storage = self._storage or self.storage
        if storage is not Storage.LOCAL:
            return storage is Storage.MEMORY
        end = min(offset + count, self.size or 0)
        if offset >= end or self._warm[0] <= offset <= end <= self._warm[1]:
            return True
        fd = self.fileno()
        far = min(offset + WINDOW, self.size or 0)
        for until in (far, end) if far > end else (end,):
            if _disk.cached(fd, offset, until - offset):
                self._warm = (offset, until)
                return True
        return False

    def far_at_hand(self, offset: int) -> bool:
        """Whether the next ``WINDOW`` bytes, or all there are, can be had without waiting for storage."""
        return self.at_hand(offset, WINDOW)

    def forget(self) -> None:
        """Ask again what is cached."""
        self._warm = (0, 0)

    def read(self, count: int) -> bytes:
        count = min(count, BLOCK)
        inline = self.at_hand(self._next, count)
        data: bytes = self.do(inline, _syscalls.read_at, (self.fileno(),), count, self._next)
        self._next += len(data)
        return data

    def has_byte_at(self, offset: int) -> bool:
        """Whether a plain read at ``offset`` would find something."""
        return bool(self.do(self.storage is not Storage.REMOTE, _syscalls.byte_at, (self.fileno(),), offset))

    def grow(self) -> int:
        """The size now: a file may grow or shrink under a copy (hard cases F5, F6)."""
        self.size = os.fstat(self.fileno()).st_size
        return self.size

    def settle(self, count: int) -> None:
        super().settle(count)
        self._next = self.offset


class DirectSource(FileSource):
    """A file opened with O_DIRECT: read by whole blocks into aligned memory, and always by the pool.

    sendfile answers EINVAL at the first length that is no multiple of the block, and so does Python's own read
    wherever its memory happens to lie at an odd address, or the position does (hard case F13).
    """

    kind = Kind.OPAQUE
    note = "file opened with O_DIRECT"

    def read(self, count: int) -> bytes:
        data: bytes = self.do(False, _syscalls.read_direct, (self.fileno(),), min(count, BLOCK), self._next)
        self._next += len(data)
        return data


class SectionSource(FileSource):
    """A part of a file, which does not move the file's own position."""

    exclusive = False

    def __init__(self, whole: FileSource, offset: int, end: int) -> None:
        self.__dict__.update(whole.__dict__)
        self.offset = self._next = offset
        self.limit = end - offset if self.limit is None else min(self.limit, end - offset)
        self.note = "section of a file"

    def check(self) -> None:
        if isinstance(self._file, io.BufferedRandom):
            self.flush()

    def settle(self, count: int) -> None:
        self.offset += count
        self._next = self.offset
        Source.settle(self, count)


class FileSink(_FileEnd, Sink):
    """A regular file, written at its logical position."""

    def __init__(self, obj: Any, status: os.stat_result) -> None:
        super().__init__(obj, status)
        self._next = self.offset

    def check(self) -> None:
        self.offset = self._next = self._file.tell()

    def swift(self, count: int) -> bool:
        """Whether writing ``count`` bytes is no matter of storage: past the page cache waits for writeback."""
        if self.storage is Storage.LOCAL:
            return count <= INLINE
        return self.storage is Storage.MEMORY

    def despite(self, exc: BaseException) -> int | None:
        return 0 if _syscalls.answered(exc) else self.late()

    def write(self, data: memoryview) -> int:
        taken = self._write(_syscalls.write_at, data, self._next)
        self._next += taken
        return taken

    def _write(self, call: Callable[..., int], data: memoryview, *where: int) -> int:
        """``call`` with a view of its own: a thread's frames may keep it for longer, and memory from growing."""
        self.job = None
        piece = data[:]
        try:
            return int(self.do(self.swift(len(piece)), call, (self.fileno(),), piece, *where))
        finally:
            if self.over():  # else a thread has still to write it
                piece.release()

    def settle(self, count: int) -> None:
        super().settle(count)
        self._next = self.offset


class AppendSink(FileSink):
    """A file in append mode: the kernel chooses the offset, and no faster call takes it (hard case C3)."""

    kind = Kind.OPAQUE
    note = "file opened with O_APPEND"

    def write(self, data: memoryview) -> int:
        return self._write(_syscalls.write, data)

    def settle(self, count: int) -> None:
        # A thread in a call holds a lock that a seek to the end needs.
        if not self._file.closed and self.over():
            self._file.seek(0, os.SEEK_END)
        super(_FileEnd, self).settle(count)


class OwnSink(Sink):
    """A device, ``/dev/null`` or a file opened with O_DIRECT, written by the object's own ``write``."""

    def __init__(self, obj: Any, kind: Kind, note: str) -> None:
        super().__init__(obj)
        self._file = obj
        self.kind = kind
        self.note = note

    def fileno(self) -> int:
        return int(self._file.fileno())

    def despite(self, exc: BaseException) -> int | None:
        return None

    def write(self, data: memoryview) -> int:
        try:
            taken = self._file.write(data)
        except BlockingIOError as exc:
            taken = exc.characters_written or None
        if taken is None:
            raise BlockingIOError("the file is in non-blocking mode and full")
        return int(taken)

    def flush(self) -> None:
        self._file.flush()


def section_below(whole: FileSource, offset: int, end: int) -> Source:
    """Describe the bytes of ``whole`` from ``offset`` to ``end``."""
    return SectionSource(whole, offset, end)


def source_below(file: Any) -> Source:
    """Describe a binary ``io`` object that can be read and whose descriptor is its own."""
    if not file.readable():
        raise io.UnsupportedOperation("not readable")
    fd = file.fileno()
    status = os.fstat(fd)
    if stat.S_ISFIFO(status.st_mode):
        return PipeSource(file)
    if not stat.S_ISREG(status.st_mode):
        return OpaqueSource(file, "device or directory", getattr(file, "read1", file.read))
    direct = _O_DIRECT and fcntl.fcntl(fd, fcntl.F_GETFL) & _O_DIRECT
    try:
        return (DirectSource if direct else FileSource)(file, status)
    except OSError:  # a FUSE file opened as a stream
        return OpaqueSource(file, "file that cannot seek", file.read)


def sink_below(file: Any) -> Sink:
    """Describe a binary ``io`` object that can be written and whose descriptor is its own."""
    if not file.writable():
        raise io.UnsupportedOperation("not writable")
    fd = file.fileno()
    status = os.fstat(fd)
    if stat.S_ISFIFO(status.st_mode):
        return PipeSink(file)
    if not stat.S_ISREG(status.st_mode):
        null = stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL
        return OwnSink(file, Kind.NULL, "/dev/null") if null else OwnSink(file, Kind.OPAQUE, "device")
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    if flags & _O_DIRECT:
        return OwnSink(file, Kind.OPAQUE, "file opened with O_DIRECT")
    # Ask the descriptor at each copy: 'ab' in the mode is not the only way there (hard cases C3, C4).
    return (AppendSink if flags & os.O_APPEND else FileSink)(file, status)
