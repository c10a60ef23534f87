"""Sources over regular files, and what they share with sinks.

Rules of this file: the position is the object's logical one (``tell()``), never that of the descriptor:
after ``f.read(4); f.seek(0)`` the descriptor is at 4096 and the file at 0 (hard cases O1 to O6). Bytes go
below the object at explicit offsets, and the object is told after each step. Whatever may wait for storage is a job
for the pool.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import stat
from collections.abc import Callable
from typing import Any

from .._kernel import disk_pool as _disk
from .._kernel import syscalls as _syscalls
from .._kernel.disk_pool import NEVER_WAITS, SLOW, Storage
from .description import BLOCK, End, Kind, Source
from .fifos import PipeSource
from .lending import Doer, Lender
from .opaque import OpaqueSource

#: How far ahead the question "is it cached?" looks: asked for each piece, it cost 4 % of the CPU of a download.
WINDOW = 1024 * 1024

O_DIRECT = getattr(os, "O_DIRECT", 0)


class FileEnd(Lender, Doer, End):
    """What both ends share: the logical position, and the question what is below."""

    kind = Kind.FILE
    note = "regular file"
    offset: int

    def __init__(self, obj: Any, status: os.stat_result) -> None:
        super().__init__(obj)
        self._file = obj
        self._storage: Storage | None = None
        if type(getattr(obj, "raw", obj)) is io.FileIO:
            self.fileno = obj.fileno  # type: ignore[method-assign] # asked at every call, without a detour
        self.offset = obj.tell()
        self.identity = (status.st_dev, status.st_ino)

    def fileno(self) -> int:
        """The descriptor now; gevent's raw objects answer None when they are closed.

        :raises ValueError: closed.
        """
        fd: int | None = self._file.fileno()
        if fd is None:
            raise ValueError("I/O operation on closed file")
        return fd

    @property
    def storage(self) -> Storage:  # type: ignore[override]
        if self._storage is None:
            self._storage = _disk.storage(self.fileno())
        return self._storage

    def flush(self) -> None:
        """Write out what the object still has to write: by the pool where that may take long."""
        self.do(self.storage not in SLOW or isinstance(self._file, io.RawIOBase), self._file.flush, ())

    def finish(self) -> None:
        if self._duplicate is not None:
            self.take_back(wait=True)

    def close(self) -> None:
        if self._duplicate is not None:
            self.take_back(wait=False)


class FileSource(FileEnd, Source):
    """A regular file, read from its logical position."""

    rewindable = True
    #: Bytes of this leg that the object's position has been told.
    _told = 0
    #: Where the object stands during a copy, if that is behind all of it.
    _behind: int | None = None

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

    def reserve(self, count: int) -> None:
        if self._behind is None:
            self._behind = self.offset + count
            self._file.seek(self._behind)

    def at_hand(self, offset: int, count: int) -> bool:
        """Whether these bytes can be had without waiting for storage."""
        storage = self._storage or self.storage
        if storage is not Storage.LOCAL:
            return storage in NEVER_WAITS
        end = min(offset + count, self.size or 0)
        if offset >= end or self._warm[0] <= offset <= end <= self._warm[1]:
            return True
        far = min(offset + WINDOW, self.size or 0)
        for until in (far, end) if far > end else (end,):
            if _disk.cached(self.fileno(), offset, until - offset):
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
        at, count = self._next, min(count, BLOCK)
        if self.at_hand(at, count):
            data = _syscalls.read_at(self.fileno(), count, at)
        else:
            data = self.look(False, _syscalls.read_at, count, at)
        self._next = at + len(data)
        return data

    def look(self, inline: bool, call: Callable[..., Any], *args: Any) -> Any:
        """``call(fd, *args)``, which reads at an offset of its own and changes nothing.

        A thread gets the number itself. Should the file be closed before the call begins, what another file of that
        number gave is thrown away here, with the error that a reader of a closed file gets.
        """
        fd = self.fileno()
        try:
            answer = self.do(inline, call, (fd,), *args)
        except OSError:
            self.still(fd)
            raise
        self.still(fd)
        return answer

    def still(self, fd: int) -> None:
        """Raise if the object no longer has the descriptor ``fd``, which a thread has used by its number."""
        if self.fileno() != fd:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def has_byte_at(self, offset: int) -> bool:
        """Whether a plain read at ``offset`` would find something."""
        return bool(self.look(self.storage not in SLOW, _syscalls.byte_at, offset))

    def size_is_reliable(self) -> bool:
        return self.storage in (Storage.LOCAL, Storage.MEMORY)  # sysfs says 4096, and FUSE what it likes

    def overstates(self, offset: int, count: int) -> bool:
        """Whether storage that is not of this machine claims bytes of this range that are not there.

        The kernel fills its pages with zeros up to the size that the file system claimed, and splice hands them
        out, also where reading a FUSE file opened with direct_io would have ended (hard case F3).
        """
        if self.storage not in SLOW:
            return False
        end = min(offset + count, self.size or 0)
        return end > offset and not self.has_byte_at(end - 1)

    def grow(self) -> int:
        """The size now: a file may grow or shrink under a copy (hard cases F5, F6)."""
        self.size = os.fstat(self.fileno()).st_size
        return self.size

    def passed(self, count: int) -> None:
        if self._behind is None and not self._file.closed:
            self._file.seek(self.offset + self._told + count)
            self._told += count  # last: what a signal handler interrupts here ``settle`` does again

    def settle(self, count: int) -> None:
        self.offset += count
        told, self._told = self._told, 0
        if self._file.closed:
            stands = True
        elif self._behind is None:
            stands = told == count
        else:
            stands = self._file.tell() != self._behind  # somebody has moved it since
        if not stands:
            self._behind = None
            self._file.seek(self.offset)
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
        data: bytes = self.look(False, _syscalls.read_direct, min(count, BLOCK), self._next)
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

    def reserve(self, count: int) -> None:
        """The file's own position is not used."""

    def passed(self, count: int) -> None:
        """The same."""

    def settle(self, count: int) -> None:
        self.offset += count
        self._next = self.offset
        Source.settle(self, count)


def section_below(whole: FileSource, offset: int, end: int) -> Source:
    """Describe the bytes of ``whole`` from ``offset`` to ``end``."""
    return SectionSource(whole, offset, end)


def opened(file: Any, able: str) -> tuple[os.stat_result, int]:
    """What is below a binary ``io`` object that is ``able``, readable or writable, and the flags of its descriptor.

    The flags are asked at each copy, because they can change: the mode of the object does not tell (hard case C4).
    """
    if not getattr(file, able)():
        raise io.UnsupportedOperation(f"not {able}")
    fd = file.fileno()
    return os.fstat(fd), fcntl.fcntl(fd, fcntl.F_GETFL)


def source_below(file: Any) -> Source:
    """Describe a binary ``io`` object that can be read and whose descriptor is its own."""
    status, flags = opened(file, "readable")
    if stat.S_ISFIFO(status.st_mode):
        return PipeSource(file)
    if not stat.S_ISREG(status.st_mode):
        return OpaqueSource(file, "device or directory", getattr(file, "read1", file.read))
    try:
        return (DirectSource if flags & O_DIRECT else FileSource)(file, status)
    except OSError as exc:  # a FUSE file opened as a stream
        if _syscalls.struck(exc):
            raise
        return OpaqueSource(file, "file that cannot seek", file.read)
