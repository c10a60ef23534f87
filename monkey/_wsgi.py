"""What the WSGI servers share: the file in a response, and a file wrapper.

A response that is a file comes as the server's own ``wsgi.file_wrapper``, or as somebody's iterable around one: a
range, a tracer's scope. Which bytes of which file that is, its class describes (``__gzc_source__``), and only as
long as nothing overrides how it is iterated.

Rules of this file: nothing is sent here, and iterating a response is always right where its file is not known.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gzc

from ._ledger import Row

#: The least that is read at a time from what has no descriptor. Frameworks ask for 4 or 8 KiB, and a MiB of
#: BytesIO then costs 128 to 256 reads and sends.
BLOCK = 64 * 1024

#: What is sent with this flag goes in one segment with what comes next. Linux's alone.
MORE = getattr(socket, "MSG_MORE", 0)

Method = Callable[..., Any]


def is_body(result: object) -> bool:
    """Whether the class of ``result`` says what is below an iteration of it.

    A file is no such class: iterated it gives lines, and Django's begins anew.
    """
    cls = type(result)
    return hasattr(cls, "__gzc_source__") and not hasattr(cls, "read")


def described(result: object) -> Any:
    """The part of a regular file that iterating ``result`` gives; None where only iteration will do."""
    if not is_body(result):
        return None
    try:
        source = gzc.source(result)
    except (TypeError, ValueError, OSError):  # nobody vouches for it; or it is text, or closed, and will say so
        return None
    return source if source.kind is gzc.Kind.FILE else None


def rest(result: Iterable[bytes], left: int) -> Iterator[bytes]:
    """Up to ``left`` bytes of what iterating ``result`` gives from here on."""
    if left <= 0:
        return
    for block in result:
        if block:
            yield block[:left]
        left -= len(block)
        if left <= 0:
            return


def position(file: object) -> Any:
    """Where ``file`` is, if one can go back there.

    What has a position has its bytes at hand; what has none may still be waiting for them.
    """
    if not hasattr(file, "seek") or not hasattr(file, "tell"):
        return None  # Django's File around a mere reader says that it is seekable, and has neither
    ask = getattr(file, "seekable", None)
    try:
        return file.tell() if ask is None or ask() else None
    except (OSError, ValueError):  # a position that cannot be told; a closed file, which says so when it is read
        return None


def widen(wrapper: Any, block: int = BLOCK) -> None:
    """Let a file wrapper read larger blocks, where that keeps nobody waiting for a block to fill up."""
    size = getattr(wrapper, "blksize", None)
    if type(size) is int and size < block and position(getattr(wrapper, "filelike", None)) is not None:
        wrapper.blksize = block


def _describe(self: Any) -> Any:
    """What a wrapper's iteration gives is what its file's ``read`` gives."""
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
    """Whether the file can seek; Werkzeug's range responses ask."""
    ask = getattr(self.filelike, "seekable", None)
    return bool(ask()) if ask is not None else hasattr(self.filelike, "seek")


def _seek(self: Any, offset: int, whence: int = 0) -> Any:
    """Seek in the file, so that a Range near its end need not be read from byte 0."""
    return self.filelike.seek(offset, whence)


def _tell(self: Any) -> Any:
    """The position in the file."""
    return self.filelike.tell()


def _fileno(self: Any) -> Any:
    """The file's descriptor; middlewares leave a response alone that has one."""
    return self.filelike.fileno()


def added(method: Method) -> Callable[[Any], Method]:
    """The ``make`` of a row that adds ``method``."""
    return lambda _missing: method


def wrapper_rows(module: str) -> tuple[Row, ...]:
    """What the ``FileWrapper`` of ``module`` lacks: to be seekable, and to say what it wraps."""
    methods: dict[str, Method] = {"__iter__": _iter, "__next__": _next, "seekable": _seekable}
    methods.update(seek=_seek, tell=_tell, fileno=_fileno, __gzc_source__=_describe)
    return tuple(Row(module, f"FileWrapper.{name}", added(method)) for name, method in methods.items())


class FileWrapper:
    """``wsgi.file_wrapper`` for a server that has none: an iterable of the file's blocks, from its position on.

    The names are those of gunicorn's and wsgiref's. It can seek, so that Werkzeug need not read up to a range, and
    it has ``fileno``, so that Sentry does not hide it in a scope of its own.
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
    __gzc_source__ = _describe
