"""Members of uncompressed tar archives, added, extracted, and read through ``extractfile()``.

tarfile writes headers, padding and sparse members. Compressed archives and streams (``w|``, ``r|``) have no descriptor
of their own and go tarfile's way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import gzc

from .. import _copy_loop, _fast_prefix, _own
from .._describe import added
from .._row import Row

Copy = Callable[..., Any]


def copyfileobj(original: Copy) -> Copy:
    """The replacement of ``tarfile.copyfileobj``, which copies exactly ``length`` bytes or raises."""

    @wraps(original)
    def copyfileobj(
        src: Any, dst: Any, length: int | None = None, exception: type[Exception] = OSError, bufsize: int | None = None
    ) -> None:
        if type(length) is int and length > gzc.config.small:
            length -= _most(src, dst, length, bufsize or 16 * 1024)
        original(src, dst, length, exception, bufsize)

    return copyfileobj


def _most(src: Any, dst: Any, length: int, block: int) -> int:
    """Move what tarfile would have written: of a source that is too short only whole blocks; bytes moved."""
    moving = _copy_loop.attempt(src, dst, length)
    if moving is None:
        return 0
    amount = moving.plan.source.amount()
    if amount is not None and not moving.plan.source.size_is_reliable():
        return 0  # where it ends, only reading tells (hard case R3)
    if amount is not None and amount < length:
        moving = _copy_loop.attempt(src, dst, amount // block * block)
    return _fast_prefix.run(moving) if moving is not None and _copy_loop.fits(moving.plan) else 0


def member(self: Any) -> Any:
    """``tarfile.ExFileObject.__gzc_source__``: a section of the archive, where it lies there in one piece."""
    raw = self.raw
    if type(raw) is not getattr(sys.modules.get("tarfile"), "_FileInFile", None):
        return None
    if not _own.is_own(raw, "tarfile", "read", "readinto", "seek", "tell"):
        return None
    try:
        archive, size, pieces = raw.fileobj, raw.size, raw.map
        (is_data, start, stop, offset) = pieces[0]
    except (AttributeError, TypeError, ValueError, LookupError):
        return None  # not the tarfile we know
    if not is_data or (start, stop) != (0, size):
        return None  # sparse
    if gzc.source(archive).kind is not gzc.Kind.FILE:
        return None
    position = self.tell()
    rest = gzc.section(archive, offset + position, max(0, size - position))
    return gzc.source(rest).settling(lambda count: self.seek(count, 1))


ROWS = (
    Row(
        *("tarfile", "copyfileobj", copyfileobj),
        knows=frozenset({"src", "dst", "length", "exception", "bufsize", "read", "write", "divmod"}),
    ),
    Row("tarfile", "ExFileObject.__gzc_source__", added(member)),
)
