"""Ends over somebody else's pipe: a FIFO behind an ``io`` object or a gevent FileObject.

The descriptor's flags are its owner's; gzc never sets or clears O_NONBLOCK there, since the other holders of the open
file would see it (hard case O14). splice(2) does not need it for pipes.
"""

from __future__ import annotations

import io
import os
from functools import partial
from typing import Any

from .._hub import waiting
from .._kernel import syscalls
from .description import End, Kind, Sink, Source
from .read_ahead import buffered
from .run import Reader, RunEnd, Writer

#: pipe(7): a write of up to PIPE_BUF bytes does not block when poll calls the pipe writable.
_PIPE_BUF = 4096

#: Bytes of a read through user space: what a pipe holds, unless somebody has made it larger.
_READ = 64 * 1024


class _FifoEnd(RunEnd, End):
    kind = Kind.PIPE
    waitable = True
    note = "pipe"
    obj: Any

    def __init__(self, obj: Any) -> None:
        self.obj = obj
        self._raw = getattr(obj, "raw", obj)
        if type(self._raw) is io.FileIO:
            self.fileno = obj.fileno  # type: ignore[method-assign] # asked at every call, without a detour

    def fileno(self) -> int:
        fd: int | None = self.obj.fileno()
        if fd is None:  # gevent's raw objects, closed
            raise ValueError("I/O operation on closed file")
        return fd

    def wait(self) -> None:
        waiting.wait_file(self._raw, self.fileno(), self.direction)

    def ready(self) -> bool:
        return waiting.ready(self.fileno(), self.direction)


class FifoSource(_FifoEnd, Source, Reader):
    """The read end."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj)
        if self._raw is not obj:
            self.heads = (partial(buffered, obj),)

    def start(self) -> Reader:
        waiting.check_file(self._raw, self.direction)
        return self

    def read(self, count: int) -> bytes | int:
        if not self.ready():  # it may be in blocking mode
            return syscalls.AGAIN
        return syscalls.read(self.fileno(), min(count, _READ))


class FifoSink(_FifoEnd, Sink, Writer):
    """The write end."""

    retry_eagain = True
    buffered = True

    def start(self) -> Writer:
        waiting.check_file(self._raw, self.direction)
        return self

    def flush(self) -> None:
        self.obj.flush()

    def write(self, data: memoryview) -> int:
        fd = self.fileno()
        if os.get_blocking(fd):
            if not self.ready():
                return syscalls.AGAIN
            with data[:_PIPE_BUF] as piece:
                return syscalls.write(fd, piece)
        return syscalls.write(fd, data)
