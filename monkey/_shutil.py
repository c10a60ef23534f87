"""``shutil.copyfileobj``, ``shutil.copyfile`` and its kin, and the writer that ``socketserver`` gives its handlers.

``copyfileobj`` moves what can be moved below both objects and leaves the rest to its own loop, which sees the
end. CPython keeps it slow because of append mode, text mode, buffered readers, GzipFile and chunked responses
(the comment in ``_fastcopy_sendfile``); gzc knows each of them. ``copyfile`` copies by ``_fastcopy_sendfile``, since
Python 3.14 by ``_fastcopy_copy_file_range`` first: one system call for the whole file, during which the hub stands
still.

Rules of this file: mind that ``_copyfileobj``'s code runs with shutil's globals.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from functools import wraps
from time import monotonic
from types import BuiltinFunctionType
from typing import Any

import gzc

from . import _files, _seam, _turns
from ._ledger import Row, Unknown, mentions

#: Bytes per step where a regular file goes to a pipe by shutil's own loop: a quarter of its calls, and the block
#: still fits the second-level cache.
BLOCK = 256 * 1024

Copy = Callable[..., Any]

_original_copyfileobj: Copy


def copyfileobj(fsrc: Any, fdst: Any, length: Any = 0) -> None:
    """The fast prefix, then shutil's own loop; a negative ``length`` or 0 means to it what it always did."""
    length = length or 0
    moving = _files.attempt(fsrc, fdst) if isinstance(length, int) else None
    if moving is not None:
        if _files.fits(moving.plan):
            _seam.run(moving, fsrc)
        else:
            _seam.step_aside(moving)
            if 0 <= length < BLOCK and _blocks_unseen(moving.plan):
                length = BLOCK
    _original_copyfileobj(fsrc, fdst, length)


def _blocks_unseen(plan: gzc.Plan) -> bool:
    """Whether nobody's own code sees how large the blocks are: from a regular file to a pipe or a plain socket."""
    return plan.source.identity is not None and plan.sink.kind in (gzc.Kind.PIPE, gzc.Kind.STREAM)


def _copyfileobj(fsrc, fdst, length=0):  # type: ignore[no-untyped-def]
    import sys

    sys.modules["gzc.monkey._shutil"].copyfileobj(fsrc, fdst, length)


def swap_copyfileobj(original: Copy) -> Copy:
    """The function whose code ``shutil.copyfileobj`` gets."""
    global _original_copyfileobj
    _original_copyfileobj = original
    return _copyfileobj


#: The ways in which ``copyfile`` copies; fcopyfile(3) is macOS's.
_WAYS = frozenset({"_fastcopy_sendfile", "_fastcopy_copy_file_range", "_fastcopy_fcopyfile"})


def swap_fastcopy(original: Copy) -> Copy:
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
            moved = _seam.run(moving, whole=True)
        except OSError as exc:
            if not _seam.answered(exc):
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
    moving = _files.attempt(fsrc, fdst)
    if moving is None or not _files.fits(moving.plan):
        return None
    source, sink = moving.plan.source, moving.plan.sink
    if source.kind is sink.kind is gzc.Kind.FILE and source.offset == fdst.tell() == 0:
        return moving
    return None  # the original begins at 0 wherever the objects are


def _is_the_systems(call: Any) -> bool:
    """Whether it is the function in C, or the seam ``os`` in its place."""
    return isinstance(call, BuiltinFunctionType) or getattr(call, "__globals__", {}).get("__package__") == __package__


def socket_writer(self: Any) -> Any:
    """``socketserver._SocketWriter.__gzc_sink__``: below it is the connection."""
    below = gzc.sink(self._sock)
    return below if below.kind is gzc.Kind.STREAM else None


def writing(original: Callable[[Any, Any], int]) -> Callable[[Any, Any], int]:
    """The replacement of ``_SocketWriter.write``: a peer that keeps up would get an endless body in one turn (R1)."""

    @wraps(original)
    def write(self: Any, b: Any) -> int:
        taken = original(self, b)
        if monotonic() >= getattr(self, "_gzc_turn", _turns.NOW):
            self._gzc_turn = _turns.give()
        return taken

    return write


ROWS = (
    Row(
        *("shutil", "copyfileobj.__code__", swap_copyfileobj),
        knows=frozenset({"fsrc", "fdst", "length", "COPY_BUFSIZE", "read", "write"}),
        eager=True,
    ),
    Row(
        *("shutil", "_fastcopy_sendfile", swap_fastcopy),
        knows=frozenset({"_GiveupOnFastCopy", "_USE_CP_SENDFILE", "sendfile", "ENOTSOCK", "ENOSPC", "filename2"}),
        eager=True,
        caller="copyfile",
    ),
    Row(
        *("shutil", "_fastcopy_copy_file_range", swap_fastcopy),
        knows=frozenset({"_GiveupOnFastCopy", "copy_file_range", "ENOSPC", "filename2"}),
        eager=True,
        caller="copyfile",
        since=(3, 14),
    ),
)

SOCKETSERVER = (
    Row(
        *("socketserver", "_SocketWriter.write", writing),
        knows=frozenset({"_sock", "sendall"}),
        caller="StreamRequestHandler.setup",
    ),
    Row("socketserver", "_SocketWriter.__gzc_sink__", lambda _missing: socket_writer),
)
