"""What runs have of regular files: the descriptor, the storage below, what is cached, and the offset.

Bytes go below the object at explicit offsets, and the object is told after each step. Whatever may wait for storage is
a call for the pool.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from typing import Any

from .._kernel import storage as storages
from .._kernel import syscalls
from .._kernel.storage import NEVER_WAITS, SLOW, Storage
from .description import BLOCK, Source
from .lending import Lender, Offload
from .run import Reader, RunEnd

#: How far ahead the question "is it cached?" looks: asked for each piece, it cost 4 % of the CPU of a download.
WINDOW = 1024 * 1024


def descriptor_of(file: Any) -> Callable[[], int]:
    """What answers the descriptor of ``file`` at the moment it is called.

    gevent's raw objects answer None when they are closed: a ValueError, as of others.
    """

    def fileno() -> int:
        fd: int | None = file.fileno()
        if fd is None:
            raise ValueError("I/O operation on closed file")
        return fd

    return fileno


class FileRunEnd(Lender, Offload, RunEnd):
    """What runs have of both directions: the descriptor, the storage below, and what a thread may use."""

    file: Any
    identity: tuple[int, int]
    _storage: Storage | None = None

    @property
    def storage(self) -> Storage:  # type: ignore[override]
        if self._storage is None:
            self._storage = storages.storage(self.fileno())
        return self._storage

    def flush(self) -> None:
        """Write out what the object still has to write: by the pool where that may take long."""
        if isinstance(self.file, io.RawIOBase) or (self._storage or self.storage) not in SLOW:
            self.file.flush()
        else:
            self.call(False, self.file.flush, ())
            self.job = None  # its result counts no bytes

    def finish(self) -> None:
        if self._duplicate is not None:
            self.take_back(wait=True)

    def close(self) -> None:
        if self._duplicate is not None:
            self.take_back(wait=False)


class FileReader(FileRunEnd, Reader):
    """Reads at offsets of its own, and tells the object after each step."""

    rewindable = True

    #: Bytes between two offsets that were cached when asked.
    _cached = (0, 0)
    #: Bytes since the last ``settle`` that the object's position has been told.
    _told = 0
    #: Where the object stands during a copy, if that is behind all of it.
    _behind: int | None = None

    def __init__(self, source: Source, offset: int | None = None) -> None:
        file: Any = source.obj
        assert source.identity is not None
        self.file = file
        self.fileno = file.fileno if type(getattr(file, "raw", file)) is io.FileIO else descriptor_of(file)
        self.identity = source.identity
        self.size = source.size or 0
        if isinstance(file, io.BufferedRandom):
            self.flush()  # unflushed writes are part of the file; it also drops the stale read buffer
            self.refresh_size()
        self.offset = self._next = file.tell() if offset is None else offset  # a description may be older than a seek

    def reserve(self, count: int) -> None:
        """Take the next ``count`` bytes: other users of the object find its position behind them."""
        if self._behind is None:
            self._behind = self.offset + count
            self.file.seek(self._behind)

    def is_cached(self, offset: int, count: int) -> bool:
        """Whether these bytes can be had without waiting for storage."""
        storage = self._storage
        if storage is None:
            storage = self._storage = storages.storage(self.fileno())
        if storage is not Storage.LOCAL:
            return storage in NEVER_WAITS
        end = min(offset + count, self.size)
        if offset >= end or self._cached[0] <= offset <= end <= self._cached[1]:
            return True
        far = min(offset + WINDOW, self.size)
        for until in (far, end) if far > end else (end,):
            if syscalls.is_cached(self.fileno(), offset, until - offset):
                self._cached = (offset, until)
                return True
        return False

    def window_is_cached(self, offset: int) -> bool:
        """Whether the next ``WINDOW`` bytes, or all there are, can be had without waiting for storage."""
        return self.is_cached(offset, WINDOW)

    def forget_cached(self) -> None:
        """Ask again what is cached."""
        self._cached = (0, 0)

    def read(self, count: int) -> bytes | int:
        at, count = self._next, min(count, BLOCK)
        if self.is_cached(at, count):
            data = syscalls.read_at(self.fileno(), count, at)
        else:
            data = self.look(False, syscalls.read_at, count, at)
        if not isinstance(data, int):
            self._next = at + len(data)
        return data

    def moved_before(self, exc: BaseException) -> int:
        return 0  # it can be read again

    def look(self, inline: bool, call: Callable[..., Any], *args: Any) -> Any:
        """``call(fd, *args)``, which reads at an offset of its own and changes nothing.

        A thread gets the number itself. Should the file be closed before the call begins, what another file of that
        number gave is thrown away here, with the error that a reader of a closed file gets.
        """
        fd = self.fileno()
        answer = self.call(inline, call, (fd,), *args)
        self.still_has(fd)
        return answer

    def still_has(self, fd: int) -> None:
        """Raise if the object no longer has the descriptor ``fd``, which a thread has used by its number."""
        if self.fileno() != fd:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def has_byte_at(self, offset: int) -> bool:
        """Whether a plain read at ``offset`` would find something.

        :raises OSError: as the kernel says it.
        """
        return bool(syscalls.checked(self.look(self.storage not in SLOW, syscalls.byte_at, offset)))

    def size_is_reliable(self) -> bool:
        """As the description says, whose ``start`` made this."""
        return self.storage in (Storage.LOCAL, Storage.MEMORY)  # sysfs says 4096, and FUSE what it likes

    def size_is_a_lie(self, offset: int, count: int) -> bool:
        """Whether storage that is not of this machine claims bytes of this range that are not there.

        The kernel fills its pages with zeros up to the size that the file system claimed, and splice hands them
        out, also where reading a FUSE file opened with direct_io would have ended (hard case F3).
        """
        if self.storage not in SLOW:
            return False
        end = min(offset + count, self.size)
        return end > offset and not self.has_byte_at(end - 1)

    def refresh_size(self) -> int:
        """The size now: a file may grow or shrink under a copy (hard cases F5, F6)."""
        self.size = os.fstat(self.fileno()).st_size
        return self.size

    def passed(self, count: int) -> None:
        if self._behind is None and not self.file.closed:
            self.file.seek(self.offset + self._told + count)
            self._told += count  # last: what a signal handler interrupts here ``settle`` does again

    def settle(self, count: int) -> None:
        self.offset += count
        told, self._told = self._told, 0
        if self.file.closed:
            stands = True
        elif self._behind is None:
            stands = told == count
        else:
            stands = self.file.tell() != self._behind  # somebody has moved it since
        if not stands:
            self._behind = None
            self.file.seek(self.offset)
        self._next = self.offset


class DirectReader(FileReader):
    """Reads whole blocks into aligned memory, and always by the pool.

    sendfile answers EINVAL at the first length that is no multiple of the block, and so does Python's own read
    wherever its memory happens to lie at an odd address, or the position does (hard case F13).
    """

    def read(self, count: int) -> bytes | int:
        data: bytes | int = self.look(False, syscalls.read_direct, min(count, BLOCK), self._next)
        if not isinstance(data, int):
            self._next += len(data)
        return data


class SectionReader(FileReader):
    """Reads from an offset that nobody else sees."""

    def reserve(self, count: int) -> None:
        """The file's own position is not used."""

    def passed(self, count: int) -> None:
        """The same."""

    def settle(self, count: int) -> None:
        self.offset += count
        self._next = self.offset
