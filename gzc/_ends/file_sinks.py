"""Regular files and devices to write.

The position of a file may be shared, with children and with other writers to the same object: so the place of each
piece is taken from it before the piece is written.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from typing import Any

from .._kernel import storage as storages
from .._kernel import syscalls
from .._kernel.signals import from_signal_handler
from .._kernel.storage import NEVER_WAITS, SLOW, Storage
from .description import Kind, Sink
from .fifos import FifoSink
from .file_reader import FileRunEnd, descriptor_of
from .file_region import FileRegion
from .files import O_DIRECT, FileEnd, opened
from .run import Writer

#: A write of no more than this to a file system of this machine stays in the hub: it fits the page cache,
#: and a job costs more than it does.
INLINE = 64 * 1024

_NULL = os.makedev(1, 3)


class FileSink(FileEnd, Sink):
    """A regular file, written at the object's logical position."""

    def __init__(self, obj: Any, status: os.stat_result, below: Storage) -> None:
        self.obj = obj
        self.identity = (status.st_dev, status.st_ino)
        self.storage = below

    def start(self) -> Writer:
        return FileWriter(self)


class FileWriter(FileRunEnd, Writer):
    """Writes to a region that is this run's alone."""

    buffered = True

    def __init__(self, sink: FileSink) -> None:
        self.file = file = sink.obj
        self.fileno = file.fileno if type(getattr(file, "raw", file)) is io.FileIO else descriptor_of(file)
        self.identity = sink.identity
        self._storage = sink.storage
        self.region: FileRegion = FileRegion(self.file)

    @property
    def waits_in_write(self) -> bool:  # type: ignore[override]
        return self.storage not in NEVER_WAITS

    def reserve(self, count: int) -> None:
        """Take the next ``count`` bytes: other users of the object find its position behind them."""
        if not self.region.left:
            self.region.reserve(count)

    def next(self, count: int) -> tuple[int, int]:
        """Where the next piece goes, and how long it may be; ``region.wrote`` is to say what became of it."""
        self._look_again()
        return self.region.next(count)

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
        return bool(syscalls.flags(self.fileno()) & os.O_APPEND)

    def write_may_stay_in_hub(self, count: int) -> bool:
        """Whether writing ``count`` bytes is no matter of storage: past the page cache waits for writeback."""
        if self.storage is Storage.LOCAL:
            return count <= INLINE
        return self.storage in NEVER_WAITS

    def moved_before(self, exc: BaseException) -> int | None:
        return self.late(exc)

    def write(self, data: memoryview) -> int:
        if self.region.written and self.appends():
            self.region.end.clear()
            taken = self._write(syscalls.write, data[:])
        else:
            begin, count = self.next(len(data))
            taken = self._write(syscalls.write_at, data[:count], begin)
        self.region.written += max(taken, 0)
        self.job = None  # its result is booked
        return taken

    def _write(self, call: Callable[..., int], piece: memoryview, *where: int) -> int:
        """``call`` with a view of its own: a thread's frames may keep it for longer, and memory from growing."""
        try:
            if self.write_may_stay_in_hub(len(piece)):
                return call(self.fileno(), piece, *where)
            return int(self.call(False, call, (self,), piece, *where))
        finally:
            if not self.still_running():  # else a thread has still to write it
                piece.release()

    def settle(self, count: int) -> None:
        if self.still_running():
            self.region.write_off()
        self.region.settle(count)


class AppendSink(FileSink):
    """A file in append mode: the kernel chooses the offset, and no faster call takes it (hard case C3)."""

    kind = Kind.OPAQUE
    note = "file opened with O_APPEND"

    def start(self) -> Writer:
        return AppendWriter(self)


class AppendWriter(FileWriter):
    """Writes where the file ends."""

    def reserve(self, count: int) -> None:
        """The kernel keeps writers apart."""

    def write(self, data: memoryview) -> int:
        self._look_again()
        taken = self._write(syscalls.write, data[:])
        self.job = None
        return taken

    def settle(self, count: int) -> None:
        # A call that hangs holds a lock that a seek to the end needs.
        if not self.file.closed and not self.still_running():
            self.file.seek(0, os.SEEK_END)


class OwnSink(Sink, Writer):
    """A device, ``/dev/null``, a file opened with O_DIRECT or one that cannot seek, written by its own ``write``."""

    buffered = True
    obj: Any

    def __init__(self, obj: Any, kind: Kind, note: str) -> None:
        self.obj = obj
        self.fileno = obj.fileno  # asked at every call, without a detour
        self.kind = kind
        self.note = note
        self.waits_in_write = type(getattr(obj, "raw", obj)) is not io.FileIO  # gevent's wait in the hub

    def start(self) -> Writer:
        return self

    def moved_before(self, exc: BaseException) -> int | None:
        return None  # what a buffer above the descriptor has taken, only it knows

    def write(self, data: memoryview) -> int:
        try:
            taken = self.obj.write(data)
        except BlockingIOError as exc:
            taken = getattr(exc, "characters_written", 0)
            if not taken:
                raise
        if taken is None:
            raise BlockingIOError("the file is in non-blocking mode and full")
        return int(taken)

    def flush(self) -> None:
        self.obj.flush()


def sink_below(file: Any) -> Sink:
    """Describe a binary ``io`` object that can be written and whose descriptor is its own."""
    status, flags = opened(file, "writable")
    if stat.S_ISFIFO(status.st_mode):
        return FifoSink(file)
    if not stat.S_ISREG(status.st_mode):
        null = stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL
        return OwnSink(file, Kind.NULL, "/dev/null") if null else OwnSink(file, Kind.OPAQUE, "device")
    if flags & O_DIRECT:
        return OwnSink(file, Kind.OPAQUE, "file opened with O_DIRECT")
    below = storages.storage(file.fileno())
    if below is Storage.VIRTUAL:
        return OwnSink(file, Kind.OPAQUE, "file of procfs, sysfs or their kin")
    try:
        if below in SLOW:
            file.tell()
    except OSError as exc:  # a FUSE file opened as a stream cannot tell
        if from_signal_handler(exc):
            raise
        return OwnSink(file, Kind.OPAQUE, "file that cannot seek")
    return (AppendSink if flags & os.O_APPEND else FileSink)(file, status, below)
