"""The place in a file where a copy writes, taken from the offset of the open file before anything is written.

The offset may be shared: with a child that writes lines to the same ``out.txt``, with greenlets that write to the same
object. ``lseek(fd, n, SEEK_CUR)`` moves it by n in one atomic step, also between processes (M26). With a ``tell``
before a piece and a ``seek`` after it two writers could have the same place (hard case R8).

What a short write or an error leaves: the rest of the region is given back if nobody has moved the offset since;
else it stays, and what nobody writes there reads as zeros. A run that goes on fills it first. To look and to give back
are two calls, and the kernel has none for both: a child that writes in that microsecond is where the rest was.
"""

from __future__ import annotations

from typing import Any

from .._kernel import syscalls


class FileRegion:
    """The part of ``file`` that is one run's alone."""

    __slots__ = ("_base", "_file", "_piece", "_settled", "_size", "end", "written")

    def __init__(self, file: Any) -> None:
        self._file = file
        #: Where the region ends, if there is one.
        self.end: list[int] = []
        self._size = 0
        #: Bytes of this run that were written; of these, before the region, and when it was last settled.
        self.written = self._base = self._settled = 0
        self._piece = 0

    @property
    def left(self) -> int:
        """Bytes of the region still to be written."""
        return self._size - (self.written - self._base) if self.end else 0

    def reserve(self, count: int) -> None:
        """Take the next ``count`` bytes; what others have written to the object goes before them."""
        file = self._file
        file.flush()  # a BufferedRandom forgets what it has read ahead, too
        self.end.clear()
        self._size, self._base = count, self.written
        syscalls.advance(file.fileno(), count, self.end)

    def next(self, count: int) -> tuple[int, int]:
        """Where the next piece of up to ``count`` bytes goes, and how long it may be."""
        left = self.left
        if not left:
            self.reserve(count)
            left = count
        self._piece = min(count, left)
        return self.end[0] - left, self._piece

    def wrote(self, count: int) -> None:
        """``count`` bytes of the piece have been written."""
        self.written += count

    def write_off(self) -> None:
        """A thread may still write the piece, at any time: nothing else is to be put there."""
        self._base -= self._piece
        self._piece = 0

    def settle(self, count: int) -> None:
        """A mover has ended that wrote ``count`` bytes: more than was told, if a result came late."""
        self.written = self._settled = max(self.written, self._settled + count)
        left = self.left
        if left and not self._file.closed and syscalls.offset(self._file.fileno()) == self.end[0]:
            now: list[int] = []
            syscalls.advance(self._file.fileno(), -left, now)
            if now[0] == self.end[0] - left:
                self.end.clear()
            else:  # somebody has written behind it, between the two calls
                syscalls.advance(self._file.fileno(), left, now)
