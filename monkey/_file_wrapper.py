"""File wrappers of WSGI servers: one for servers that have none, and what those of others lack."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gzc

from . import _describe
from ._promises import rest
from ._row import Row

Method = Callable[..., Any]

#: The least that is read at a time from what has no descriptor. Frameworks ask for 4 or 8 KiB, and a MiB of
#: BytesIO then costs 128 to 256 reads and sends.
BLOCK = 64 * 1024


def position(file: object) -> Any:
    """Where ``file`` is, if one can go back there; None also where asking fails, in whatever way (hard case R2)."""
    try:
        if not hasattr(file, "seek") or not hasattr(file, "tell"):
            return None  # Django's File around a mere reader says that it is seekable, and has neither
        ask = getattr(file, "seekable", None)
        return file.tell() if ask is None or ask() else None
    except Exception:  # noqa: BLE001 - no position; or a closed file, which says so when it is read
        return None


def widen(wrapper: Any, block: int = BLOCK) -> None:
    """Let a file wrapper read larger blocks, where that keeps nobody waiting for a block to fill up."""
    try:
        if type(size := wrapper.blksize) is int and size < block and position(wrapper.filelike) is not None:
            wrapper.blksize = block
    except Exception:  # noqa: BLE001 - no such wrapper, or one of somebody's own
        return


def _describe_file(self: Any) -> Any:
    """What a wrapper's iteration gives is what its file's ``read`` gives. It vouches for the methods made here, too."""
    filelike = getattr(self, "filelike", None)
    return None if filelike is None else gzc.source(filelike)


def _iter(self: Any) -> Any:
    """Itself. Before gunicorn 25.2 ``iter()`` made a plain sequence iterator, which cannot seek."""
    return self


def _next(self: Any) -> Any:
    """The next block, as ``__getitem__`` gives it."""
    try:
        return self[0]
    except IndexError:
        raise StopIteration from None


def _seekable(self: Any) -> bool:
    """Whether the file can seek. Werkzeug's range responses ask, and then rely on it; a file that refuses is read."""
    here = position(self.filelike)
    if here is None:
        return False  # ``seek(None)`` is not asked: somebody's may go to the beginning
    try:
        self.filelike.seek(here)
    except Exception:  # noqa: BLE001 - it would have been nobody's question without us (R2)
        return False
    return True


def _seek(self: Any, offset: int, whence: int = 0) -> Any:
    """Seek in the file, so that a Range near its end need not be read from byte 0."""
    return self.filelike.seek(offset, whence)


def _tell(self: Any) -> Any:
    """The position in the file."""
    return self.filelike.tell()


def _fileno(self: Any) -> Any:
    """The file's descriptor; middlewares leave a response alone that has one."""
    return self.filelike.fileno()


def _app_iter_range(self: Any, start: int, stop: int | None = None) -> _Range:
    """The bytes from ``start`` to ``stop`` of what iterating would give; WebOb and Pyramid ask for it (R13)."""
    return _Range(self, start, stop)


def _is_transparent(wrapper: Any) -> bool:
    """Whether iterating ``wrapper`` gives what its file has, and not what a subclass makes of it."""
    try:
        return gzc.source(wrapper, None) is not None
    except Exception:  # noqa: BLE001 - of a file that answers our questions so (R2) nothing is known
        return False


class _Range:
    """A part of what a file wrapper gives: a part of its file, or else what is left when ``start`` bytes were read."""

    def __init__(self, wrapper: Any, start: int, stop: int | None) -> None:
        self._wrapper = wrapper
        self._start, self._left = start, sys.maxsize if stop is None else max(0, stop - start)
        here = position(wrapper.filelike) if _is_transparent(wrapper) else None
        self._at = here + start if type(here) is int else None
        if hasattr(wrapper, "close"):
            self.close = wrapper.close

    def __iter__(self) -> Iterator[bytes]:
        skip, self._at = 0 if self._reached() else self._start, None
        widen(self._wrapper)
        for block in rest(self._wrapper, skip + self._left):
            if skip < len(block):
                yield block[skip:]
            skip = max(0, skip - len(block))

    def _reached(self) -> bool:
        """Whether the file stands where the part begins."""
        with contextlib.suppress(Exception):
            if self._at is not None:
                self._wrapper.filelike.seek(self._at)
                return True
        return False

    def _moved(self, count: int) -> None:
        if self._at is not None:
            self._at += count
        self._left -= count

    def __gzc_source__(self) -> Any:
        if self._at is None:
            return None
        return gzc.source(gzc.section(self._wrapper.filelike, self._at, self._left)).settling(self._moved)


def wrapper_rows(module: str) -> tuple[Row, ...]:
    """What the ``FileWrapper`` of ``module`` lacks: to be seekable, and to say what it wraps."""
    methods: dict[str, Method] = {"__iter__": _iter, "__next__": _next, "seekable": _seekable}
    methods.update(
        seek=_seek,
        tell=_tell,
        fileno=_fileno,
        app_iter_range=_app_iter_range,
        __gzc_source__=_describe_file,
    )
    return tuple(Row(module, f"FileWrapper.{name}", _describe.added(method)) for name, method in methods.items())


class FileWrapper:
    """``wsgi.file_wrapper`` for a server that has none: an iterable of the file's blocks, from its position on.

    The names are those of gunicorn's and wsgiref's. It can seek, so that Werkzeug need not read up to a range, and
    it has ``fileno``, so that Sentry does not hide it in a scope of its own; for a range WebOb asks ``app_iter_range``.
    """

    def __init__(self, filelike: Any, blksize: int = BLOCK) -> None:
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> FileWrapper:
        widen(self)
        return self

    def __next__(self) -> bytes:
        data: bytes = self.filelike.read(self.blksize)
        if data:
            return data
        raise StopIteration

    seekable = _seekable
    seek = _seek
    tell = _tell
    fileno = _fileno
    app_iter_range = _app_iter_range
    __gzc_source__ = _describe_file
