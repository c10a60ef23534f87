"""``shutil.copyfileobj``, ``shutil.copyfile`` and its kin.

``copyfileobj`` moves what can be moved below both objects and leaves the rest to its own loop, which sees the
end. CPython keeps it slow because of append mode, text mode, buffered readers, GzipFile and chunked responses
(the comment in ``_fastcopy_sendfile``); gzc knows each of them. ``copyfile`` copies by ``_fastcopy_sendfile``, since
Python 3.14 by ``_fastcopy_copy_file_range`` first: one system call for the whole file, during which the hub stands
still.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from functools import wraps
from types import BuiltinFunctionType
from typing import Any

import gzc

from .. import _copy_loop, _fast_prefix, _own
from .._row import Row, Unknown, mentions

#: Bytes per step where a regular file goes to a pipe by shutil's own loop: a quarter of its calls, and the block
#: still fits the second-level cache.
BLOCK = 256 * 1024

Copy = Callable[..., Any]


def copyfileobj(original: Copy) -> Copy:
    """The replacement of ``copyfileobj``: the fast prefix, then shutil's own loop."""

    def copyfileobj(fsrc: Any, fdst: Any, length: Any = 0) -> None:
        length = length or 0  # which means to it what it always did, as what is negative
        moving = _copy_loop.attempt(fsrc, fdst) if isinstance(length, int) else None
        if moving is not None:
            if _copy_loop.fits(moving.plan):
                _fast_prefix.run(moving, fsrc)
            else:
                _fast_prefix.step_aside(moving)
                if 0 <= length < BLOCK and _blocks_unseen(moving.plan):
                    length = BLOCK
        original(fsrc, fdst, length)

    return copyfileobj


def _blocks_unseen(plan: gzc.Plan) -> bool:
    """Whether nobody's own code sees how large the blocks are: from a regular file to a pipe or a plain socket."""
    return plan.source.identity is not None and plan.sink.kind in (gzc.Kind.PIPE, gzc.Kind.STREAM)


#: The ways in which ``copyfile`` copies; fcopyfile(3) is macOS's.
_WAYS = frozenset({"_fastcopy_sendfile", "_fastcopy_copy_file_range", "_fastcopy_fcopyfile"})


def fastcopy(original: Copy) -> Copy:
    """The replacement of ``_fastcopy_sendfile`` and ``_fastcopy_copy_file_range``: their contract, off the hub."""
    new = set(filter(re.compile("_fastcopy_").match, mentions(shutil.copyfile) or ())) - _WAYS
    if new:  # whatever comes first there, we would not be asked
        raise Unknown(f"shutil.copyfile copies by {', '.join(sorted(new))}, too")

    @wraps(original)
    def fastcopy(fsrc: Any, fdst: Any) -> None:
        moving = whole(fsrc, fdst)
        if moving is None:
            original(fsrc, fdst)
            return
        try:
            moved = _fast_prefix.run(moving, whole=True)
        except OSError as exc:
            if not _fast_prefix.answered(exc):
                raise
            exc.filename, exc.filename2 = fsrc.name, fdst.name
            if exc.errno == errno.ENOSPC or moving.moved:
                raise
            raise shutil._GiveupOnFastCopy(exc)  # type: ignore[attr-defined] # noqa: B904 - as the original does
        if not moved:
            original(fsrc, fdst)

    return fastcopy


def whole(fsrc: Any, fdst: Any) -> gzc.Transfer | None:
    """The transfer of one whole file into a fresh one; None where the original must have it."""
    if not all(_is_the_systems(getattr(os, name, len)) for name in ("sendfile", "copy_file_range")):
        return None  # somebody has replaced it, and wants to see the calls: a mock, a tracer
    moving = _copy_loop.attempt(fsrc, fdst)
    if moving is None or not _copy_loop.fits(moving.plan):
        return None
    source, sink = moving.plan.source, moving.plan.sink
    if source.kind is sink.kind is gzc.Kind.FILE and source.offset == fdst.tell() == 0:
        return moving
    return None  # the original begins at 0 wherever the objects are


def _is_the_systems(call: Any) -> bool:
    """Whether it is the function in C, or the seam ``os`` in its place."""
    return isinstance(call, BuiltinFunctionType) or _own.is_ours(call)


ROWS = (
    Row(
        *("shutil", "copyfileobj.__code__", copyfileobj),
        knows=frozenset({"fsrc", "fdst", "length", "COPY_BUFSIZE", "read", "write"}),
        eager=True,
    ),
    Row(
        *("shutil", "_fastcopy_sendfile", fastcopy),
        knows=frozenset({"_GiveupOnFastCopy", "_USE_CP_SENDFILE", "sendfile", "ENOTSOCK", "ENOSPC", "filename2"}),
        eager=True,
        caller="copyfile",
    ),
    Row(
        *("shutil", "_fastcopy_copy_file_range", fastcopy),
        knows=frozenset({"_GiveupOnFastCopy", "copy_file_range", "ENOSPC", "filename2"}),
        eager=True,
        caller="copyfile",
        since=(3, 14),
    ),
)
