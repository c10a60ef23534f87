"""Sinks over regular files and devices.

Rules of this file: those of ``_files``; who writes asks for the place of each piece, and says what became of it.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from typing import Any

from . import _syscalls
from ._disk import NEVER_WAITS, Storage
from ._endpoint import Kind, Sink
from ._files import O_DIRECT, FileEnd, opened
from ._pipes import PipeSink

#: A write of no more than this to a file system of this machine stays in the hub: it fits the page cache,
#: and a job costs more than it does.
INLINE = 64 * 1024

_NULL = os.makedev(1, 3)


class FileSink(FileEnd, Sink):
    """A regular file, written at the object's logical position, which is asked for anew at each piece.

    Whenever the copy waits, others may write to the same object, as a second greenlet does that collects into one
    log. They find it where a plain write would have left it, or behind what is reserved, and what they write is not
    overwritten.
    """

    #: The part of the file that is this copy's alone, from the next byte on; the object was put behind it.
    ours = (0, 0)
    #: Where the piece under way begins, and how long it is.
    _piece: tuple[int, int] | None = None
    #: Bytes of this run whose place is settled.
    _booked = 0

    def check(self) -> None:
        self.offset = self._file.tell()
        self.ours, self.job = (0, 0), None  # a description may be used again

    def reserve(self, count: int) -> None:
        begin, end = self.ours
        if begin == end:
            self.offset = self._file.tell()
            self.ours = self.offset, self.offset + count
            self._file.seek(self.offset + count)

    def place(self, count: int, inline: bool) -> tuple[int, int]:
        """Where the next piece goes, and how long it may be; ``placed`` is to say what became of it."""
        begin, end = self.ours
        if begin < end:
            count = min(count, end - begin)
        else:
            if isinstance(self._file, io.BufferedRandom):
                self._file.flush()  # what others have read ahead is out of date when this piece is written
            begin = self._file.tell()
            self.ours = (0, 0)
            if not inline:  # others have a turn while the pool has it
                self.reserve(count)
        self._piece = begin, count
        return begin, count

    def placed(self, count: int) -> None:
        """``count`` bytes of the piece have been written."""
        assert self._piece is not None
        begin, end = self._piece[0], self.ours[1]
        if begin < end:
            self.ours = begin + count, end
        else:
            self._file.seek(begin + count)
        self._piece = None  # last: what a signal handler interrupts here is done again
        self._booked += count

    def abandon(self) -> None:
        """The pool has the piece, and may still write it at any time: nobody else is to be put there."""
        if self._piece is not None:
            self.ours = sum(self._piece), max(sum(self._piece), self.ours[1])
            self._piece = None

    def flush(self) -> None:
        super().flush()
        self.offset = self._file.tell()  # it may have taken a while, and somebody have written meanwhile

    def swift(self, count: int) -> bool:
        """Whether writing ``count`` bytes is no matter of storage: past the page cache waits for writeback."""
        if self.storage is Storage.LOCAL:
            return count <= INLINE
        return self.storage in NEVER_WAITS

    def despite(self, exc: BaseException) -> int | None:
        return 0 if _syscalls.answered(exc) else self.late()

    def write(self, data: memoryview) -> int:
        inline = self.swift(len(data))
        begin, count = self.place(len(data), inline)
        taken = self._write(inline, _syscalls.write_at, data[:count], begin)
        self.placed(taken)
        self.job = None  # its result is booked
        return taken

    def _write(self, inline: bool, call: Callable[..., int], piece: memoryview, *where: int) -> int:
        """``call`` with a view of its own: a thread's frames may keep it for longer, and memory from growing."""
        self.job = None
        try:
            return int(self.do(inline, call, (self.fileno(),), piece, *where))
        finally:
            if not self.out():  # else a thread has still to write it
                piece.release()

    def settle(self, count: int) -> None:
        if self.out():
            self.abandon()
        if not self._file.closed:
            if self._piece is not None:
                self.placed(count - self._booked)
            begin, end = self.ours
            if begin < end and self._file.tell() == end:  # nobody wrote meanwhile
                self.ours = (0, 0)
                self._file.seek(begin)
            self.offset = self._file.tell()
        self._booked = 0
        super().settle(count)


class AppendSink(FileSink):
    """A file in append mode: the kernel chooses the offset, and no faster call takes it (hard case C3)."""

    kind = Kind.OPAQUE
    note = "file opened with O_APPEND"

    def reserve(self, count: int) -> None:
        """The kernel keeps writers apart."""

    def write(self, data: memoryview) -> int:
        taken = self._write(self.swift(len(data)), _syscalls.write, data[:])
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
    return (AppendSink if flags & os.O_APPEND else FileSink)(file, status)
