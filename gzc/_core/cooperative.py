"""Cooperative twins of ``os.sendfile``, ``os.splice``, ``os.copy_file_range``, of tee(2) and ioctl_ficlone(2).

The arguments and the answer are those of the system call; the only difference is that EAGAIN waits in the hub, and that
what waits for storage runs in the pool.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._config import MAX_CALL, config
from .._ends.description import End
from .._ends.file_reader import FileRunEnd, descriptor_of
from .._ends.files import FileEnd
from .._ends.known_types import sink, source
from .._ends.lending import Lender, Offload
from .._ends.run import RunEnd
from .._hub import waiting
from .._kernel import retries, syscalls
from .._kernel.storage import Storage

#: Bytes one call may move in the pool: an interruption waits for it.
_JOB = 8 * 1024 * 1024


class _Bare(RunEnd):
    """A bare descriptor, which nobody else may close meanwhile."""

    def __init__(self, fd: int, direction: str) -> None:
        self._fd = fd
        self._direction = direction

    def fileno(self) -> int:
        return self._fd

    def ready(self) -> bool:
        return waiting.ready(self._fd, self._direction)

    def wait(self) -> None:
        waiting.wait_fd(self._fd, self._direction)


class _File(FileRunEnd):
    """A file of which no run begins: nothing is flushed, and its position not asked."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.fileno = descriptor_of(file)


def _from(obj: Any) -> RunEnd:
    return _Bare(obj, waiting.READ) if isinstance(obj, int) else _below(source(obj))


def _to(obj: Any) -> RunEnd:
    return _Bare(obj, waiting.WRITE) if isinstance(obj, int) else _below(sink(obj))


def _below(described: End) -> RunEnd:
    if isinstance(described, FileEnd):
        return _File(described.obj)
    if not isinstance(described, RunEnd) or not hasattr(described, "fileno"):
        raise TypeError(f"{described.obj!r} has no descriptor")
    return described


def _until_answered(call: Callable[[int, int], int], src: RunEnd, dst: RunEnd) -> int:
    """``call`` with both descriptors, asked afresh each time, until it says something else than EAGAIN."""
    in_vain = 0
    while (answer := call(src.fileno(), dst.fileno())) == syscalls.AGAIN:
        # "Source empty" and "sink full" are one answer; poll tells which (hard case B13).
        blocked_on = src if not src.ready() else dst
        in_vain = in_vain + 1 if blocked_on.ready() else 0
        if in_vain >= retries.IN_VAIN:
            break
        blocked_on.wait()
    return syscalls.checked(answer)


def sendfile(out: Any, in_: Any, offset: int | None, count: int) -> int:
    """``os.sendfile``, waiting in the hub until ``out`` takes something. sendfile(2).

    One call moves at most ``config.chunk`` bytes, and reads them from storage in the hub if they are not cached;
    ``gzc.copy`` does better.

    :param out: a socket, FileObject or descriptor in non-blocking mode.
    :param in_: a file or descriptor; with ``offset`` None its descriptor's own position is used and moved.
    :returns: bytes sent, 0 at end of file.
    """
    return _until_answered(
        lambda src, dst: syscalls.sendfile(dst, src, offset, min(count, config.chunk)), _from(in_), _to(out)
    )


def splice(src: Any, dst: Any, count: int, offset_src: int | None = None, offset_dst: int | None = None) -> int:
    """``os.splice``, waiting in the hub for whichever end is not ready; one must be a pipe. splice(2).

    :returns: bytes moved, 0 at end of file.
    """
    return _until_answered(
        lambda s, d: syscalls.splice(s, d, min(count, MAX_CALL), offset_src, offset_dst), _from(src), _to(dst)
    )


def tee(src: Any, dst: Any, count: int) -> int:
    """tee(2): duplicate up to ``count`` bytes from one pipe to another without consuming them.

    Called again before they are consumed it duplicates the same bytes again.

    :returns: bytes duplicated, 0 at end of file.
    """
    return _until_answered(lambda s, d: syscalls.tee(s, d, min(count, MAX_CALL)), _from(src), _to(dst))


def copy_file_range(
    src: Any, dst: Any, count: int, offset_src: int | None = None, offset_dst: int | None = None
) -> int:
    """``os.copy_file_range`` in a thread of gzc's pool, while other greenlets run. copy_file_range(2).

    :returns: bytes copied, at most 8 MiB a call, 0 at end of file.
    """
    ends = _from(src), _to(dst)
    return syscalls.checked(int(_call(False, syscalls.copy_file_range, ends, min(count, _JOB), offset_src, offset_dst)))


def ficlone(src: Any, dst: Any) -> None:
    """Make the file ``dst`` share all blocks of the file ``src``, in a thread of gzc's pool. ioctl_ficlone(2).

    Positions play no part in it, nor does what an object has in its buffer.

    :param dst: a file or descriptor that is open for writing.
    :raises OSError: EOPNOTSUPP, EXDEV or EINVAL where the file system cannot, and ``dst`` is as it was.
    :raises TypeError: one of the two is no file.
    """
    for obj, describe in ((src, source), (dst, sink)):
        if not isinstance(obj, int):
            described = describe(obj)
            if not isinstance(described, FileEnd) or getattr(described, "limit", None) is not None:
                raise TypeError(f"{obj!r} is not a whole file")
    ends = _from(src), _to(dst)
    # FUSE has no such call, and each duplicate of its files is a flush when it is closed.
    known = any(isinstance(end, Lender) and end.storage is Storage.FUSE for end in ends)
    _call(known, syscalls.ficlone, ends)


def _call(inline: bool, call: Callable[..., Any], ends: tuple[RunEnd, RunEnd], *args: Any) -> Any:
    """``call`` with both descriptors, in the pool unless ``inline``; duplicates that files have lent are given back."""
    lenders = [end for end in ends if isinstance(end, Lender)]
    fds = tuple(end if isinstance(end, Lender) else end.fileno() for end in ends)
    try:
        answer = Offload().call(inline, call, fds, *args)
        for lender in lenders:
            lender.take_back(wait=True)
        return answer
    finally:
        for lender in lenders:
            lender.take_back(wait=False)
