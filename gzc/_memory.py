"""Ends in the program's own memory.

Rules of this file: no copy that is not asked for. A source is a view, sent as it lies; what it exports is
released when the run ends, because an exported ``bytearray`` or ``BytesIO`` cannot be resized.
"""

from __future__ import annotations

import contextlib
import io
import mmap
from typing import Any

from ._endpoint import Kind, Sink, Source


class Cursor:
    """A position in a buffer that has none, so that an interrupted transfer knows where it stopped."""

    def __init__(self, buffer: bytes | bytearray | memoryview) -> None:
        self.buffer = buffer
        self.position = 0

    def seek(self, position: int) -> None:
        self.position = position


class MemorySource(Source):
    """``bytes``, ``bytearray``, ``memoryview``, ``mmap`` or ``BytesIO``, from its position."""

    kind = Kind.MEMORY
    has_descriptor = False
    exclusive = False
    rewindable = True

    def __init__(self, obj: Cursor | io.BytesIO | mmap.mmap) -> None:
        super().__init__(obj)
        self._owner = obj
        self._exported: memoryview | None = None
        self.note = type(obj.buffer if isinstance(obj, Cursor) else obj).__name__
        with self._export() as view:
            self.size = len(view)
        self.offset = self._next = self._position()

    def _position(self) -> int:
        return self._owner.position if isinstance(self._owner, Cursor) else self._owner.tell()

    def _export(self) -> memoryview:
        owner = self._owner
        if isinstance(owner, Cursor):
            buffer: Any = owner.buffer
        else:
            buffer = owner.getbuffer() if isinstance(owner, io.BytesIO) else owner
        # "B": a view of wider items would count items, not bytes
        return memoryview(buffer).cast("B")

    def check(self) -> None:
        self.offset = self._next = self._position()

    def read(self, count: int) -> memoryview:
        if self._exported is None:
            self._exported = self._export()
        view = self._exported[self._next : self._next + count]
        self._next += len(view)
        return view

    def settle(self, count: int) -> None:
        self.offset = self._next = self.offset + count
        if not getattr(self._owner, "closed", False):
            self._owner.seek(self.offset)
        super().settle(count)

    def close(self) -> None:
        if self._exported is not None:
            with contextlib.suppress(BufferError):  # a thread that hangs on storage still has a part of it
                self._exported.release()
            self._exported = None


class MemorySink(Sink):
    """A ``bytearray``, which grows, or an ``mmap`` or ``BytesIO`` at its position."""

    kind = Kind.MEMORY
    has_descriptor = False
    exclusive = False

    def __init__(self, obj: bytearray | io.BytesIO | mmap.mmap) -> None:
        super().__init__(obj)
        if not isinstance(obj, bytearray):
            if obj.closed:
                raise ValueError("I/O operation on closed file")
            with memoryview(obj) if isinstance(obj, mmap.mmap) else obj.getbuffer() as view:
                if view.readonly:
                    raise TypeError("a read-only mmap cannot be a sink")
        self._take = obj.extend if isinstance(obj, bytearray) else obj.write
        self.note = type(obj).__name__

    def despite(self, exc: BaseException) -> int | None:
        return None  # the call may have been over when a handler struck

    def write(self, data: memoryview) -> int:
        self._take(data)
        return len(data)
