"""Sinks over regular files and devices.

Rules of this file: those of ``_files``. The descriptor's flags are asked at each copy, because they can change.
"""

from __future__ import annotations

import fcntl
import io
import os
import stat
from collections.abc import Callable
from typing import Any

from . import _syscalls
from ._disk import Storage
from ._endpoint import Kind, Sink
from ._files import O_DIRECT, FileEnd
from ._pipes import PipeSink

#: A write of no more than this to a file system of this machine stays in the hub: it fits the page cache,
#: and a job costs more than it does.
INLINE = 64 * 1024

_NULL = os.makedev(1, 3)


class FileSink(FileEnd, Sink):
    """A regular file, written at its logical position."""

    def __init__(self, obj: Any, status: os.stat_result) -> None:
        super().__init__(obj, status)
        self._next = self.offset

    def check(self) -> None:
        self.offset = self._next = self._file.tell()

    def flush(self) -> None:
        super().flush()
        self.check()  # it may have taken a while, and somebody have written meanwhile

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
            if not self.out():  # else a thread has still to write it
                piece.release()

    def settle(self, count: int) -> None:
        super().settle(count)
        self._next = self.offset


class AppendSink(FileSink):
    """A file in append mode: the kernel chooses the offset, and no faster call takes it (hard case C3)."""

    kind = Kind.OPAQUE
    note = "file opened with O_APPEND"

    def reserve(self, count: int) -> None:
        """The kernel keeps writers apart."""

    def write(self, data: memoryview) -> int:
        return self._write(_syscalls.write, data)

    def settle(self, count: int) -> None:
        if not self._file.closed and not self.out():  # a call that hangs holds a lock that a seek to the end needs
            self._file.seek(0, os.SEEK_END)
        super(FileEnd, self).settle(count)


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
    if flags & O_DIRECT:
        return OwnSink(file, Kind.OPAQUE, "file opened with O_DIRECT")
    # Ask the descriptor at each copy: 'ab' in the mode is not the only way there (hard cases C3, C4).
    return (AppendSink if flags & os.O_APPEND else FileSink)(file, status)
