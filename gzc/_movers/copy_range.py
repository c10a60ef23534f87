"""copy_file_range(2), and splice(2) through a pipe of gzc's own: between two regular files."""

from __future__ import annotations

import errno
from abc import abstractmethod

from .._config import config
from .._ends.file_sinks import FileWriter
from .._ends.lending import Offload
from .._ends.run import Reader, Writer
from .._kernel import errnos, syscalls, transit_pipe
from .._kernel.disk_pool import PIECE
from .._kernel.storage import Storage
from .._kernel.transit_pipe import TransitPipe
from . import Declined
from .from_file import FromFile

#: Bytes one call in the pool may move between two files.
JOB = 8 * 1024 * 1024


class FileToFile(Offload, FromFile):
    """Both may wait for storage: in the pool, unless the bytes are cached and few."""

    writer: FileWriter

    def __init__(self, reader: Reader, writer: Writer) -> None:
        super().__init__(reader, writer)
        if self.reader.identity == self.writer.identity:
            # Overlapping ranges are EINVAL, and a copy onto its own end never ends (hard cases C10 to C12).
            raise Declined("a file is copied onto itself")
        if self.reader.storage is self.writer.storage is Storage.FUSE:
            raise Declined("a thread needs a duplicate of both files, and to close each is a FLUSH (FUSE)")

    @abstractmethod
    def _copy(self, inline: bool, count: int, offset: int, where: int) -> int:
        """The call, writing at ``where``: bytes moved, or -errno."""

    def step(self, left: float) -> int:
        self.job = None  # the last call's result is booked
        offset, count = self._offset, int(min(left, self._most(), self._size - self._offset))
        if count <= 0:
            return self.end(left)
        if self.reader.size_is_a_lie(offset, count):
            raise Declined("the file holds less than it tells")
        inline = self.writer.write_may_stay_in_hub(count) and self.reader.is_cached(offset, count)
        if not inline and self.lent_by(self.reader, self.writer) is None:
            inline, count = True, min(count, PIECE)  # in the hub, as a lock demands, and then not for long
        where, count = self.writer.next(count)
        self.calls += 1
        self.in_call = True
        moved = self._copy(inline, count, offset, where)
        self.writer.region.wrote(max(moved, 0))
        if moved > 0:
            self._offset += moved
            return moved
        self.in_call = False
        return self.refused(moved) if moved else self.end(left)

    def moved_before(self, exc: BaseException) -> int | None:
        if self.still_running():
            self.writer.region.write_off()
        return self.late(exc)

    def _most(self) -> int:
        # A thread holds nobody up, and a job costs 60 us; but one on slow storage must be over within the grace.
        both = {self.reader.storage, self.writer.storage}
        return JOB if both == {Storage.LOCAL} else min(config.chunk, PIECE)


class CopyRange(FileToFile):
    """copy_file_range(2), which may share extents or let a server copy."""

    name = "copy_file_range"
    declines = errnos.COPY_RANGE

    def refused(self, answer: int) -> int:
        if answer == -errno.EBADF and self.writer.appends():
            raise Declined("O_APPEND was set meanwhile", -answer)
        return super().refused(answer)

    def _copy(self, inline: bool, count: int, offset: int, where: int) -> int:
        return int(self.call(inline, syscalls.copy_file_range, (self.reader, self.writer), count, offset, where))


class SpliceFileToFile(FileToFile):
    """splice(2) through a pipe of gzc's own: at offsets, which sendfile(2) has not in its sink.

    Between two file systems it took the CPU of sendfile(2), and 0.78 of that of read(2) and write(2).
    """

    name = "splice"
    declines = errnos.SPLICE

    _pipe: TransitPipe | None = None

    def _copy(self, inline: bool, count: int, offset: int, where: int) -> int:
        if self._pipe is None:
            try:
                self._pipe = transit_pipe.take(object())
            except transit_pipe.NoPipe as exc:
                raise Declined(*exc.args) from None
        return int(self.call(inline, self._pipe.between, (self.reader, self.writer), count, offset, where))

    def close(self, exact: bool) -> bytes:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            if self.still_running():  # a thread still has it
                assert self.job is not None
                self.job.afterwards(pipe.close)
            elif exact:
                transit_pipe.give_back(pipe)
            else:
                pipe.close()
        return b""
