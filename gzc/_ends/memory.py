"""Ends in the program's own memory.

No copy of the whole is made, and nothing is exported while others run: an exported ``bytearray`` or
``BytesIO`` cannot be resized, and the owner may do so between steps, as beside a loop of ``read`` (hard case R12).
"""

from __future__ import annotations

import io
import mmap
import os
import sys
from typing import Any

from .description import Kind, Sink, Source
from .run import Reader, Writer


class Cursor:
    """A position in a buffer that has none, so that an interrupted transfer knows where it stopped."""

    def __init__(self, buffer: bytes | bytearray | memoryview) -> None:
        self.buffer = buffer
        self.position = 0

    def seek(self, position: int) -> None:
        self.position = position

    def tell(self) -> int:
        return self.position

    @property
    def left(self) -> int:
        """Bytes behind the position."""
        return _size(self.buffer) - self.position

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, all there are left when it is negative."""
        with memoryview(self.buffer) as view, view.cast("B") as whole:
            end = len(whole) if size < 0 else self.position + size
            data = bytes(whole[self.position : end])
        self.position += len(data)
        return data


def _size(obj: Any) -> int:
    """Bytes in ``obj``. ``BytesIO.getbuffer`` would copy what it shares with the ``bytes`` it was made of (M28)."""
    if isinstance(obj, io.BytesIO):
        # There and back in one step of C code: a signal handler does not find it at its end.
        size, _ = map(io.BytesIO.seek, (obj, obj), (0, obj.tell()), (os.SEEK_END, os.SEEK_SET))
        return size
    return obj.nbytes if isinstance(obj, memoryview) else len(obj)


def _whole(obj: Any) -> Any:
    """A buffer of all of ``obj``, made without copying it."""
    if not isinstance(obj, io.BytesIO):
        return obj
    try:
        io.BytesIO.truncate(obj, sys.maxsize)  # changes nothing, and refuses where somebody has exported it
    except BufferError:
        return obj.getbuffer()  # nothing is shared then, while ``getvalue`` would copy
    return io.BytesIO.getvalue(obj)


class MemorySource(Source):
    """``bytes``, ``bytearray``, ``memoryview``, ``mmap`` or ``BytesIO``, from its position."""

    kind = Kind.MEMORY
    has_descriptor = False
    exclusive = False
    rewindable = True
    obj: Any

    def __init__(self, obj: Cursor | io.BytesIO | mmap.mmap) -> None:
        self.obj = obj
        buffer = obj.buffer if isinstance(obj, Cursor) else obj
        self.note = type(buffer).__name__
        self.size = _size(buffer)
        self.offset = obj.tell()

    def start(self) -> Reader:
        return MemoryReader(self.obj)


class MemoryReader(Reader):
    """Reads from the owner's position on, and tells it after each step."""

    rewindable = True

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self.borrowed = type(owner.buffer if isinstance(owner, Cursor) else owner) is not bytes  # which cannot change
        self._offset = self._next = owner.tell()
        #: Bytes since the last ``settle`` that the owner's position has been told.
        self._told = 0

    def read(self, count: int) -> memoryview:
        owner = self._owner
        # "B": a view of wider items would count items, not bytes
        whole = memoryview(owner.buffer if isinstance(owner, Cursor) else _whole(owner)).cast("B")
        view = whole[self._next : self._next + count]
        self._next += len(view)
        return view

    def unread(self, count: int) -> None:
        self._next -= count

    def passed(self, count: int) -> None:
        self._seek(self._offset + self._told + count)
        self._told += count  # last: what a signal handler interrupts here ``settle`` does again

    def moved_before(self, exc: BaseException) -> int:
        return 0  # it can be read again

    def settle(self, count: int) -> None:
        self._offset = self._next = self._offset + count
        told, self._told = self._told, 0
        if told != count:
            self._seek(self._offset)

    def _seek(self, position: int) -> None:
        if not getattr(self._owner, "closed", False):
            self._owner.seek(position)


class MemorySink(Sink, Writer):
    """A ``bytearray``, which grows, or an ``mmap`` or ``BytesIO`` at its position."""

    kind = Kind.MEMORY
    has_descriptor = False
    exclusive = False

    def __init__(self, obj: bytearray | io.BytesIO | mmap.mmap) -> None:
        if not isinstance(obj, bytearray) and obj.closed:
            raise ValueError("I/O operation on closed file")
        if isinstance(obj, mmap.mmap):
            with memoryview(obj) as view:
                if view.readonly:
                    raise TypeError("a read-only mmap cannot be a sink")
        self.obj = obj
        self._take = obj.extend if isinstance(obj, bytearray) else obj.write
        self.note = type(obj).__name__

    def start(self) -> Writer:
        return self

    def write(self, data: memoryview) -> int:
        self._take(data)
        return len(data)
