"""Ends over somebody else's pipe: a FIFO behind an ``io`` object or a gevent FileObject.

Rules of this file: the descriptor's flags are its owner's; gzc never sets or clears O_NONBLOCK there, since
the other holders of the open file would see it (hard case O14). splice(2) does not need it for pipes.
"""

from __future__ import annotations

import io
import os
from typing import Any

from .._hub import waiting as _hub
from .._kernel import syscalls as _syscalls
from .description import BLOCK, End, Kind, Sink, Source
from .read_ahead import buffered

#: pipe(7): a write of up to PIPE_BUF bytes does not block when poll calls the pipe writable.
_PIPE_BUF = 4096


class _PipeEnd(End):
    kind = Kind.PIPE
    waitable = True
    note = "pipe"

    def __init__(self, obj: Any) -> None:
        super().__init__(obj)
        self._file = obj
        self._raw = getattr(obj, "raw", obj)
        if type(self._raw) is io.FileIO:
            self.fileno = obj.fileno  # type: ignore[method-assign] # asked at every call, without a detour

    def fileno(self) -> int:
        fd: int | None = self._file.fileno()
        if fd is None:  # gevent's raw objects, closed
            raise ValueError("I/O operation on closed file")
        return fd

    def check(self) -> None:
        _hub.check_file(self._raw, self.direction)

    def wait(self) -> None:
        _hub.wait_file(self._raw, self.fileno(), self.direction)

    def ready(self) -> bool:
        return _hub.ready(self.fileno(), self.direction)

    def despite(self, exc: BaseException) -> int | None:
        return 0 if _syscalls.answered(exc) else None


class PipeSource(_PipeEnd, Source):
    """The read end."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj)
        self.buffered = self._raw is not obj

    def head(self, count: int) -> bytes:
        return buffered(self._file, count)

    def read(self, count: int) -> bytes:
        if not self.ready():  # it may be in blocking mode
            _syscalls.would_block()
        return _syscalls.read(self.fileno(), min(count, BLOCK))


class PipeSink(_PipeEnd, Sink):
    """The write end."""

    soon = True

    def flush(self) -> None:
        self._file.flush()

    def write(self, data: memoryview) -> int:
        fd = self.fileno()
        if os.get_blocking(fd):
            if not self.ready():
                _syscalls.would_block()
            with data[:_PIPE_BUF] as piece:
                return _syscalls.write(fd, piece)
        return _syscalls.write(fd, data)
