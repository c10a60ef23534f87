"""``limit``, ``section`` and ``observe``: wrappers that keep the fast path, because they describe.

Each is an ordinary reader, too (``read``, ``readinto``, ``close``), and counts the same in both ways. None closes
anything unless it is told to.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, SupportsIndex, TypeVar

from .description import Kind, Source
from .files import FileSource, section_below
from .known_types import source
from .memory import Cursor

_R = TypeVar("_R", bound="_Reader")


def _natural(value: SupportsIndex, what: str) -> int:
    number = operator.index(value)
    if number < 0:
        raise ValueError(f"{what} must not be negative (got {number})")
    return number


def _can_seek(file: Any) -> bool:
    """Whether ``file`` says that it can seek; where it does not say, whether it has the method."""
    try:
        return bool(file.seekable())
    except Exception:  # noqa: BLE001 - only ``seek`` itself is needed
        return hasattr(file, "seek")


class _Reader:
    """An ordinary binary reader over ``_take``."""

    def __init__(self, inner: Any) -> None:
        memory = issubclass(type(inner), (bytes, bytearray, memoryview))
        self._inner: Any = Cursor(inner) if memory else inner
        source(self._inner)  # a text file, a bare integer, a closed file: said now, not in the first read

    def _take(self, size: int) -> bytes:
        """Up to ``size`` bytes, all there are when negative."""
        read = getattr(self._inner, "read", None)
        if read is not None:
            data: bytes = read(size) or b""
            return data
        if size >= 0:
            received: bytes = self._inner.recv(size)
            return received
        pieces: list[bytes] = []
        while piece := self._inner.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to ``size`` bytes, all there are when it is negative or None; empty at the end."""
        return self._take(-1 if size is None else size)

    def readinto(self, buffer: Any, /) -> int:
        """Read into a writable buffer; the number of bytes read."""
        view = memoryview(buffer).cast("B")
        data = self._take(len(view))
        view[: len(data)] = data
        return len(data)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        """Close what is inside."""
        close = getattr(self._inner, "close", None)
        if close is not None:
            close()

    def __iter__(self) -> Iterator[bytes]:
        while block := self._take(65536):
            yield block

    def __enter__(self: _R) -> _R:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class limit(_Reader):
    """At most the next ``n`` bytes of ``src``.

    ``remaining`` counts down by what was *consumed*, delivered or not, so that a caller who drains the rest of a
    body afterwards does not read into the next message (Go decrements by what was written, and does).

    :raises ValueError: a negative ``n``.
    """

    def __init__(self, src: object, n: SupportsIndex) -> None:
        self.remaining = _natural(n, "the limit")
        super().__init__(src)

    def _consumed(self, count: int) -> None:
        self.remaining -= count

    def _take(self, size: int) -> bytes:
        size = self.remaining if size < 0 else min(size, self.remaining)
        data = super()._take(size) if size else b""
        self.remaining -= len(data)
        return data

    def __gzc_source__(self) -> Source:
        return source(self._inner).limited(self.remaining).settling(self._consumed)


class section(_Reader):
    """``count`` bytes of ``file`` from ``offset`` on; the file's own position does not move.

    Several sections of one file can be on their way at once.

    :raises ValueError: a negative offset or count.
    :raises TypeError: a file that cannot seek.
    """

    def __init__(self, file: Any, offset: SupportsIndex, count: SupportsIndex) -> None:
        self._offset = _natural(offset, "the offset")
        self._end = self._offset + _natural(count, "the count")
        super().__init__(file)
        if not _can_seek(self._inner):
            raise TypeError(f"{file!r} cannot seek, and a section needs that")

    def _consumed(self, count: int) -> None:
        self._offset += count

    def _take(self, size: int) -> bytes:
        size = self._end - self._offset if size < 0 else min(size, self._end - self._offset)
        if not size:
            return b""
        back = self._inner.tell()
        try:
            self._inner.seek(self._offset)
            data = super()._take(size)
        finally:
            self._inner.seek(back)
        self._offset += len(data)
        return data

    def __gzc_source__(self) -> Source | None:
        inner = source(self._inner)
        if inner.kind is not Kind.FILE or not isinstance(inner, FileSource):
            return None  # read above does what nothing below can
        return section_below(inner, self._offset, self._end).settling(self._consumed)


class observe(_Reader):
    """``src``, with ``callback(n)`` after each step that *delivered* ``n`` bytes: counting, progress, logging.

    It runs in the copying greenlet; what it raises interrupts the copy like a kill. The sum over a finished
    copy is its return value. Read as an ordinary file, it reports what was read.
    """

    def __init__(self, src: object, callback: Callable[[int], None]) -> None:
        if not callable(callback):
            raise TypeError(f"the callback must be callable (got {callback!r})")
        self._callback = callback
        super().__init__(src)

    def _take(self, size: int) -> bytes:
        data = super()._take(size)
        if data:
            self._callback(len(data))
        return data

    def __gzc_source__(self) -> Source:
        return source(self._inner).observing(self._callback)
