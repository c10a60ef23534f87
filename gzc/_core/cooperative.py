"""Cooperative twins of ``os.sendfile``, ``os.splice``, ``os.copy_file_range``, of tee(2) and ioctl_ficlone(2).

Rules of this file: the arguments and the answer are those of the system call; the only difference is that
EAGAIN waits in the hub, and that what waits for storage runs in the pool.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._config import MAX_CALL, config
from .._ends.description import End
from .._ends.known_types import sink, source
from .._ends.lending import Doer, Lender
from .._hub import waiting as _hub
from .._kernel import syscalls as _syscalls
from .._kernel.disk_pool import Storage

#: Bytes one call may move in the pool: an interruption waits for it.
_JOB = 8 * 1024 * 1024

#: EAGAINs in a row from ends that poll calls ready, before one is passed on: it is the file system's.
_PATIENCE = 3


class _Bare:
    """A bare descriptor, which nobody else may close meanwhile."""

    def __init__(self, fd: int, direction: str) -> None:
        self._fd = fd
        self._direction = direction

    def fileno(self) -> int:
        return self._fd

    def ready(self) -> bool:
        return _hub.ready(self._fd, self._direction)

    def wait(self) -> None:
        _hub.wait_fd(self._fd, self._direction)


def _from(obj: Any) -> End | _Bare:
    return _Bare(obj, _hub.READ) if isinstance(obj, int) else source(obj)


def _to(obj: Any) -> End | _Bare:
    return _Bare(obj, _hub.WRITE) if isinstance(obj, int) else sink(obj)


def _until_answered(call: Callable[[int, int], int], src: End | _Bare, dst: End | _Bare) -> int:
    """``call`` with both descriptors, asked afresh each time, until it says something else than EAGAIN."""
    doubts = 0
    while True:
        try:
            return call(src.fileno(), dst.fileno())
        except BlockingIOError as exc:
            if _syscalls.struck(exc):
                raise
            # "Source empty" and "sink full" are one answer; poll tells which (hard case B13).
            waiting = src if not src.ready() else dst
            doubts = doubts + 1 if waiting.ready() else 0
            if doubts >= _PATIENCE:
                raise
            waiting.wait()


def sendfile(out: Any, in_: Any, offset: int | None, count: int) -> int:
    """``os.sendfile``, waiting in the hub until ``out`` takes something. sendfile(2).

    One call moves at most ``config.chunk`` bytes, and reads them from storage in the hub if they are not cached;
    ``gzc.copy`` does better.

    :param out: a socket, FileObject or descriptor in non-blocking mode.
    :param in_: a file or descriptor; with ``offset`` None its descriptor's own position is used and moved.
    :returns: bytes sent, 0 at end of file.
    """
    return _until_answered(
        lambda src, dst: _syscalls.sendfile(dst, src, offset, min(count, config.chunk)), _from(in_), _to(out)
    )


def splice(src: Any, dst: Any, count: int, offset_src: int | None = None, offset_dst: int | None = None) -> int:
    """``os.splice``, waiting in the hub for whichever end is not ready; one must be a pipe. splice(2).

    :returns: bytes moved, 0 at end of file.
    """
    return _until_answered(
        lambda s, d: _syscalls.splice(s, d, min(count, MAX_CALL), offset_src, offset_dst), _from(src), _to(dst)
    )


def tee(src: Any, dst: Any, count: int) -> int:
    """tee(2): duplicate up to ``count`` bytes from one pipe to another without consuming them.

    Called again before they are consumed it duplicates the same bytes again.

    :returns: bytes duplicated, 0 at end of file.
    """
    return _until_answered(lambda s, d: _syscalls.tee(s, d, min(count, MAX_CALL)), _from(src), _to(dst))


def copy_file_range(
    src: Any, dst: Any, count: int, offset_src: int | None = None, offset_dst: int | None = None
) -> int:
    """``os.copy_file_range`` in a thread of gzc's pool, while other greenlets run. copy_file_range(2).

    :returns: bytes copied, at most 8 MiB a call, 0 at end of file.
    """
    ends = _from(src), _to(dst)
    return int(_do(False, _syscalls.copy_file_range, ends, min(count, _JOB), offset_src, offset_dst))


def ficlone(src: Any, dst: Any) -> None:
    """Make the file ``dst`` share all blocks of the file ``src``, in a thread of gzc's pool. ioctl_ficlone(2).

    Positions play no part in it, nor does what an object has in its buffer.

    :param dst: a file or descriptor that is open for writing.
    :raises OSError: EOPNOTSUPP, EXDEV or EINVAL where the file system cannot, and ``dst`` is as it was.
    :raises TypeError: one of the two is no file.
    """
    ends = _from(src), _to(dst)
    for end, obj in zip(ends, (src, dst), strict=True):
        if not isinstance(end, _Bare) and not (isinstance(end, Lender) and getattr(end, "limit", None) is None):
            raise TypeError(f"{obj!r} is not a whole file")
    # FUSE has no such call, and each duplicate of its files is a flush when it is closed.
    known = any(isinstance(end, Lender) and end.storage is Storage.FUSE for end in ends)
    _do(known, _syscalls.ficlone, ends)


def _do(inline: bool, call: Callable[..., Any], ends: tuple[Any, Any], *args: Any) -> Any:
    """``call`` with both descriptors, in the pool unless ``inline``; duplicates that files have lent are given back."""
    lenders = [end for end in ends if isinstance(end, Lender)]
    fds = tuple(end if isinstance(end, Lender) else end.fileno() for end in ends)
    try:
        answer = Doer().do(inline, call, fds, *args)
        for lender in lenders:
            lender.take_back(wait=True)
        return answer
    finally:
        for lender in lenders:
            lender.take_back(wait=False)
