"""Sinks over regular files and devices.

Rules of this file: those of ``_files``; who writes asks for the place of each piece, and says what became of it.
"""

from __future__ import annotations

import fcntl
import io
import os
import stat
from collections.abc import Callable
from typing import Any

from .._kernel import syscalls as _syscalls
from .._kernel.disk_pool import NEVER_WAITS, SLOW, Storage
from .description import Kind, Sink
from .fifos import PipeSink
from .file_region import FileRegion
from .files import O_DIRECT, FileEnd, opened

#: A write of no more than this to a file system of this machine stays in the hub: it fits the page cache,
#: and a job costs more than it does.
INLINE = 64 * 1024

_NULL = os.makedev(1, 3)


class FileSink(FileEnd, Sink):
    """A regular file, written at the object's logical position.

    The position may be shared, with children and with whoever writes to the same object while the copy waits: so the
    place of each piece is taken from it before the piece is written.
    """

    region: FileRegion

    @property
    def waits_in_write(self) -> bool:  # type: ignore[override]
        return self.storage not in NEVER_WAITS

    def check(self) -> None:
        self.region, self.job = FileRegion(self._file), None  # a description may be used again

    def reserve(self, count: int) -> None:
        if not self.region.left:
            self.region.reserve(count)

    def place(self, count: int) -> tuple[int, int]:
        """Where the next piece goes, and how long it may be; ``placed`` is to say what became of it."""
        self._look_again()
        return self.region.place(count)

    def placed(self, count: int) -> None:
        """``count`` bytes of the piece have been written."""
        self.region.written += count

    def abandon(self) -> None:
        """The pool has the piece, and may still write it at any time: nobody else is to be put there."""
        self.region.write_off()

    def _look_again(self) -> None:
        """Begin anew if dup2(2) has put another file below the object meanwhile, as a rotation of logs does."""
        if self._duplicate is not None and self.lent_another():
            self.region.end.clear()
            self.take_back(wait=False)
            self._storage = None
        if self.region.end and self.storage not in SLOW:
            status = os.fstat(self.fileno())
            if (status.st_dev, status.st_ino) != self.identity:
                self.identity = (status.st_dev, status.st_ino)
                self.region.end.clear()

    def appends(self) -> bool:
        """Whether O_APPEND is set now: the flags are shared as the offset is, and GNU make sets it on its stdout."""
        return bool(fcntl.fcntl(self.fileno(), fcntl.F_GETFL) & os.O_APPEND)

    def swift(self, count: int) -> bool:
        """Whether writing ``count`` bytes is no matter of storage: past the page cache waits for writeback."""
        if self.storage is Storage.LOCAL:
            return count <= INLINE
        return self.storage in NEVER_WAITS

    def despite(self, exc: BaseException) -> int | None:
        return 0 if _syscalls.answered(exc) else self.late()

    def write(self, data: memoryview) -> int:
        if self.region.written and self.appends():
            self.region.end.clear()
            taken = self._write(_syscalls.write, data[:])
            self.region.written += taken
            self.job = None
            return taken
        begin, count = self.place(len(data))
        taken = self._write(_syscalls.write_at, data[:count], begin)
        self.placed(taken)
        self.job = None  # its result is booked
        return taken

    def _write(self, call: Callable[..., int], piece: memoryview, *where: int) -> int:
        """``call`` with a view of its own: a thread's frames may keep it for longer, and memory from growing."""
        self.job = None
        try:
            if self.swift(len(piece)):
                return call(self.fileno(), piece, *where)
            return int(self.do(False, call, (self,), piece, *where))
        finally:
            if not self.out():  # else a thread has still to write it
                piece.release()

    def settle(self, count: int) -> None:
        if self.out():
            self.abandon()
        self.region.settle(count)
        super().settle(count)


class AppendSink(FileSink):
    """A file in append mode: the kernel chooses the offset, and no faster call takes it (hard case C3)."""

    kind = Kind.OPAQUE
    note = "file opened with O_APPEND"

    def reserve(self, count: int) -> None:
        """The kernel keeps writers apart."""

    def write(self, data: memoryview) -> int:
        self._look_again()
        taken = self._write(_syscalls.write, data[:])
        self.job = None
        return taken

    def settle(self, count: int) -> None:
        if not self._file.closed and not self.out():  # a call that hangs holds a lock that a seek to the end needs
            self._file.seek(0, os.SEEK_END)
        super(FileSink, self).settle(count)


class OwnSink(Sink):
    """A device, ``/dev/null`` or a file opened with O_DIRECT, written by the object's own ``write``."""

    def __init__(self, obj: Any, kind: Kind, note: str) -> None:
        super().__init__(obj)
        self._file = obj
        self.fileno = obj.fileno  # asked at every call, without a detour
        self.kind = kind
        self.note = note
        self.waits_in_write = type(getattr(obj, "raw", obj)) is not io.FileIO  # gevent's wait in the hub

    def despite(self, exc: BaseException) -> int | None:
        return None

    def write(self, data: memoryview) -> int:
        try:
            taken = self._file.write(data)
        except BlockingIOError as exc:
            if _syscalls.struck(exc):
                raise
            taken = exc.characters_written or None
        if taken is None:
            raise BlockingIOError("the file is in non-blocking mode and full")
        return int(taken)

    def flush(self) -> None:
        self._file.flush()


def sink_below(file: Any) -> Sink:
    """Describe a binary ``io`` object that can be written and whose descriptor is its own."""
    status, flags = opened(file, "writable")
    if stat.S_ISFIFO(status.st_mode):
        return PipeSink(file)
    if not stat.S_ISREG(status.st_mode):
        null = stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL
        return OwnSink(file, Kind.NULL, "/dev/null") if null else OwnSink(file, Kind.OPAQUE, "device")
    if flags & O_DIRECT:
        return OwnSink(file, Kind.OPAQUE, "file opened with O_DIRECT")
    sink = (AppendSink if flags & os.O_APPEND else FileSink)(file, status)
    if sink.storage is Storage.VIRTUAL:
        return OwnSink(file, Kind.OPAQUE, "file of procfs, sysfs or their kin")
    return sink
