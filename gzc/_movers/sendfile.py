"""sendfile(2), and splice(2) into somebody else's pipe: from a regular file's pages in memory."""

from __future__ import annotations

from abc import abstractmethod

from .._config import config
from .._kernel import errnos, syscalls
from . import Declined
from .from_file import FromFile

#: Bytes of a step in a turn that is over. 256 downloads that each made a step of 1 MiB held the hub for 45 ms.
BRIEF = 128 * 1024


class _FromCache(FromFile):
    """Only bytes that are in memory, and never in a thread.

    A thread would own the sink for as long as the storage takes, and go on sending after an interruption has given up
    on it; and the kernel holds a pipe's mutex while the storage answers, so that others who touch the pipe
    meanwhile wait, too (hard case B7).
    """

    def step(self, left: float) -> int:
        ask = int(min(left, config.chunk, self._size - self._offset))
        if ask <= 0:
            return self.end(left)
        if self.over_budget:
            ask = min(ask, BRIEF)
        if self.waited_for is not None:
            self.reader.forget_cached()  # what was cached before a wait may not be now
        if not self.reader.is_cached(self._offset, ask):
            raise Declined("not in the page cache", refusal=False)
        source_fd, sink_fd = self.reader.fileno(), self.writer.fileno()
        self.calls += 1
        self.in_call = True
        moved = self._call(source_fd, sink_fd, self._offset, ask)
        if moved > 0:
            self._offset += moved
            return moved
        self.in_call = False
        return self.refused(moved) if moved else self.end(left)

    @staticmethod
    @abstractmethod
    def _call(source_fd: int, sink_fd: int, offset: int, count: int) -> int:
        """The call: bytes moved, or -errno."""


class Sendfile(_FromCache):
    """sendfile(2), from a regular file to a stream socket or /dev/null."""

    name = "sendfile"
    declines = errnos.SENDFILE

    @staticmethod
    def _call(source_fd: int, sink_fd: int, offset: int, count: int) -> int:
        return syscalls.sendfile(sink_fd, source_fd, offset, count)


class SpliceFileToPipe(_FromCache):
    """splice(2), from a regular file into somebody else's pipe."""

    name = "splice"
    declines = errnos.SPLICE

    @staticmethod
    def _call(source_fd: int, sink_fd: int, offset: int, count: int) -> int:
        return syscalls.splice(source_fd, sink_fd, count, offset)
