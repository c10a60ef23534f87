"""The movers from a regular file: sendfile, splice into a pipe, and between two files.

Rules of this file: explicit offsets, so that an interrupted call can be compared with what was booked; a 0 is
confirmed by a plain read before it is believed.
"""

from __future__ import annotations

import errno
from abc import abstractmethod

from .._config import config
from .._ends.description import Sink, Source
from .._ends.file_sinks import FileSink
from .._ends.files import FileSource
from .._ends.lending import Doer
from .._kernel import errnos as _declines
from .._kernel import syscalls as _syscalls
from .._kernel.disk_pool import PIECE, Storage
from .._kernel.transit_pipe import Pipe, give_back
from .._movers import Declined, Mover, take_pipe

#: Bytes one job in the pool may move between two files.
JOB = 8 * 1024 * 1024

#: Bytes of a step in a turn that is over. 256 downloads that each made a step of 1 MiB held the hub for 45 ms.
BRIEF = 128 * 1024


class FromFile(Doer, Mover):
    """From a regular file at explicit offsets; the one call is left to the subclass."""

    source: FileSource

    def __init__(self, source: Source, sink: Sink) -> None:
        assert isinstance(source, FileSource)
        super().__init__(source, sink)
        self._offset = source.offset
        self._size = source.size or 0

    @abstractmethod
    def _call(self, source_fd: int, sink_fd: int, offset: int, count: int) -> int:
        """The call: bytes moved."""

    @abstractmethod
    def _check(self, offset: int, count: int) -> None:
        """Decline, before the call, what it must not be made for."""

    def _most(self) -> int:
        """Bytes one call may move."""
        return config.chunk

    def __call__(self, left: float) -> int:
        offset = self._offset
        ask = int(min(left, self._most(), self._size - offset))
        if ask <= 0:
            return self._end(left)
        if self.woken:
            self.source.forget()  # what was cached before a wait may not be now
        self._check(offset, ask)
        source_fd, sink_fd = self.source.fileno(), self.sink.fileno()
        self.calls += 1
        self.job = None  # the last call's result is booked
        self.unsure = True
        try:
            moved = self._call(source_fd, sink_fd, offset, ask)
        except BlockingIOError as exc:
            if self.doubt(exc):
                self.unsure = False
                raise Declined("the file system answers EAGAIN while the sink is ready", exc) from None
            raise
        except OSError as exc:
            self.decline(exc)
            raise
        if not moved:
            return self._end(left)
        self._offset = offset + moved
        return moved

    def _end(self, left: float) -> int:
        """The size is reached, or the kernel answered 0: neither is believed before a plain read agrees."""
        self.unsure = False
        if not self.source.has_byte_at(self._offset):
            return 0
        known, self._size = self._size, self.source.grow()
        if self._size > known:  # it grew while it was sent
            return self(left)
        raise Declined("the file holds more than it tells")

    def despite(self, exc: BaseException) -> int | None:
        return 0 if _syscalls.answered(exc) else self.late()


class _FromCache(FromFile):
    """What both ways from a file to a socket or pipe share: only bytes that are in memory.

    Never in a thread. It would own the sink for as long as the storage takes, and go on sending after an
    interruption has given up on it; and the kernel holds a pipe's mutex while the storage answers, so that
    whoever touches the pipe meanwhile waits, too (hard case B7).
    """

    def _most(self) -> int:
        return min(config.chunk, BRIEF) if self.brief else config.chunk

    def _check(self, offset: int, count: int) -> None:
        if not self.source.at_hand(offset, count):
            raise Declined("not in the page cache", refusal=False)


class Sendfile(_FromCache):
    """sendfile(2), from a regular file to a stream socket or /dev/null."""

    name = "sendfile"
    declines = _declines.SENDFILE

    def _call(self, source_fd: int, sink_fd: int, offset: int, count: int) -> int:
        return _syscalls.sendfile(sink_fd, source_fd, offset, count)


class SpliceFile(_FromCache):
    """splice(2), from a regular file into somebody else's pipe."""

    name = "splice"
    declines = _declines.SPLICE

    def _call(self, source_fd: int, sink_fd: int, offset: int, count: int) -> int:
        return _syscalls.splice(source_fd, sink_fd, count, offset)


class FileToFile(FromFile):
    """What both ways between regular files share: the offset in the sink, and that they may wait for storage."""

    sink: FileSink

    def __init__(self, source: Source, sink: Sink) -> None:
        super().__init__(source, sink)
        if self.source.identity == self.sink.identity:
            # Overlapping ranges are EINVAL, and a copy onto its own end never ends (hard cases C10 to C12).
            raise Declined("a file is copied onto itself")
        if self.source.storage is self.sink.storage is Storage.FUSE:
            raise Declined("a thread needs a duplicate of both files, and to close each is a FLUSH (FUSE)")

    def _check(self, offset: int, count: int) -> None:
        if self.source.overstates(offset, count):
            raise Declined("the file holds less than it tells")

    @abstractmethod
    def _copy(self, inline: bool, count: int, offset: int, where: int) -> int:
        """The call, writing at ``where``: bytes moved."""

    def _call(self, source_fd: int, sink_fd: int, offset: int, count: int) -> int:
        inline = self.sink.swift(count) and self.source.at_hand(offset, count)
        if not inline and self.lent_by(self.source, self.sink) is None:
            inline, count = True, min(count, PIECE)  # in the hub, as a lock demands, and then not for long
        where, count = self.sink.place(count)
        moved = self._copy(inline, count, offset, where)
        self.sink.placed(moved)
        return moved

    def despite(self, exc: BaseException) -> int | None:
        if self.out():
            self.sink.abandon()
        return super().despite(exc)

    def _most(self) -> int:
        # A thread holds nobody up, and a job costs 60 us; but one on slow storage must be over within the grace.
        both = {self.source.storage, self.sink.storage}
        return JOB if both == {Storage.LOCAL} else min(config.chunk, PIECE)


class CopyRange(FileToFile):
    """copy_file_range(2), which may share extents or let a server copy."""

    name = "copy_file_range"
    declines = _declines.COPY_RANGE

    def decline(self, exc: OSError) -> None:
        if exc.errno == errno.EBADF and not _syscalls.struck(exc) and self.sink.appends():
            self.unsure = False
            raise Declined("O_APPEND was set meanwhile", exc) from None
        super().decline(exc)

    def _copy(self, inline: bool, count: int, offset: int, where: int) -> int:
        return int(self.do(inline, _syscalls.copy_file_range, (self.source, self.sink), count, offset, where))


class SpliceToFile(FileToFile):
    """splice(2) between regular files through a pipe of our own: at offsets, which sendfile(2) has not in its sink.

    Between two file systems it took the CPU of sendfile(2), and 0.78 of that of read(2) and write(2).
    """

    name = "splice"
    declines = _declines.SPLICE

    _pipe: Pipe | None = None

    def _copy(self, inline: bool, count: int, offset: int, where: int) -> int:
        if self._pipe is None:
            self._pipe = take_pipe(object())
        return int(self.do(inline, self._pipe.between, (self.source, self.sink), count, offset, where))

    def close(self) -> bytes:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            if self.out():  # a thread still has it
                assert self.job is not None
                self.job.afterwards(pipe.close)
            elif self.unsure:
                pipe.close()
            else:
                give_back(pipe)
        return b""
