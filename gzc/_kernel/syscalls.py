"""The system calls that gzc makes below an object, and no others make.

A call that moves bytes answers with a number: bytes, 0 at the end, -errno where the kernel refuses. What it raises is
never the kernel's: it came out of a signal handler, and what the call had moved by then is lost with its result (M22).
The other calls answer or raise as those of ``os`` do. Counts are the caller's to keep below ``MAX_CALL``.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import sys
from collections import deque
from collections.abc import Callable

from gevent import monkey

close = monkey.get_original("os", "close")  # gevent's defers it to the hub's next turn (M17)

#: The answer of a call that would have to wait.
AGAIN = -errno.EAGAIN

_SPLICE_FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)

#: Bytes that are read ahead as a whole.
AHEAD = 64 * 1024

_F_SETPIPE_SZ, _F_GETPIPE_SZ = 1031, 1032
_FIONREAD, _FICLONE = 0x541B, getattr(fcntl, "FICLONE", 0x40049409)  # the second is new in Python 3.12


def unavailable(*_: object, **__: object) -> int:
    """Stands for a call that this platform has not."""
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


_sendfile: Callable[[int, int, int | None, int], int] = getattr(os, "sendfile", unavailable)
_splice: Callable[..., int] = getattr(os, "splice", unavailable)
_copy_file_range: Callable[..., int] = getattr(os, "copy_file_range", unavailable)
# Bound here, as those are: a tracer's function in their place would have a frame, as ``answer`` expects of a handler.
_read, _write, _pread, _pwrite, _preadv, _dup = os.read, os.write, os.pread, os.pwrite, os.preadv, os.dup

_tee = None
if sys.platform.startswith("linux"):
    _tee = getattr(ctypes.CDLL(None, use_errno=True), "tee", None)
if _tee is not None:
    _tee.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint]
    _tee.restype = ctypes.c_ssize_t


def answer(exc: OSError) -> int:
    """-errno of what a call has just raised; to be called in the ``except`` of the frame that made the call.

    An error of the kernel's has no frame below that one; an exception out of a signal handler has the handler's (M29),
    and is raised again.
    """
    below = None if exc.__traceback__ is None else exc.__traceback__.tb_next
    if below is not None and below.tb_frame.f_code is not unavailable.__code__:
        raise exc
    return -(exc.errno or errno.EIO)


def checked(answered: int) -> int:
    """The bytes of an answer.

    :raises OSError: the answer is -errno.
    """
    if answered < 0:
        raise OSError(-answered, os.strerror(-answered))
    return answered


# -- calls that move bytes -------------------------------------------------------------------------------------------


def sendfile(out_fd: int, in_fd: int, offset: int | None, count: int) -> int:
    """sendfile(2) from an explicit offset, which leaves the source's own position alone."""
    try:
        return _sendfile(out_fd, in_fd, offset, count)
    except OSError as exc:
        return answer(exc)


def splice(src: int, dst: int, count: int, offset_src: int | None = None, offset_dst: int | None = None) -> int:
    """splice(2) that never waits for a pipe; one of the two must be one.

    SPLICE_F_MORE is never set: when nothing follows, the tail would stay in the socket for 200 ms (Go#10948).
    SPLICE_F_NONBLOCK covers pipes only, also those in blocking mode; sockets must be in non-blocking mode.
    """
    try:
        return _splice(src, dst, count, offset_src, offset_dst, _SPLICE_FLAGS)
    except OSError as exc:
        return answer(exc)


def tee(src: int, dst: int, count: int) -> int:
    """tee(2) between two pipes, without waiting; Python has no ``os.tee``."""
    if _tee is None:
        return -errno.ENOSYS
    done: int = _tee(src, dst, count, getattr(os, "SPLICE_F_NONBLOCK", 0))
    return done if done >= 0 else -ctypes.get_errno()


def copy_file_range(
    src: int, dst: int, count: int, offset_src: int | None = None, offset_dst: int | None = None
) -> int:
    """copy_file_range(2); an explicit offset leaves that descriptor's position alone."""
    try:
        return _copy_file_range(src, dst, count, offset_src, offset_dst)
    except OSError as exc:
        return answer(exc)


def write(fd: int, data: bytes | memoryview) -> int:
    """write(2)."""
    try:
        return _write(fd, data)
    except OSError as exc:
        return answer(exc)


def write_at(fd: int, data: bytes | memoryview, offset: int) -> int:
    """pwrite(2)."""
    try:
        return _pwrite(fd, data, offset)
    except OSError as exc:
        return answer(exc)


def read(fd: int, count: int) -> bytes | int:
    """read(2): the bytes, empty at the end, or -errno."""
    try:
        return _read(fd, count)
    except OSError as exc:
        return answer(exc)


def read_at(fd: int, count: int, offset: int) -> bytes | int:
    """pread(2): the bytes, empty at the end, or -errno."""
    try:
        return _pread(fd, count, offset)
    except OSError as exc:
        return answer(exc)


def read_direct(fd: int, count: int, offset: int) -> bytes | int:
    """pread(2) of up to ``count`` bytes from any ``offset`` of a file opened with O_DIRECT (open(2), NOTES).

    Whole pages into the memory of a page, which satisfies every device.
    """
    skip = offset % mmap.PAGESIZE
    size = -(-(skip + count) // mmap.PAGESIZE) * mmap.PAGESIZE
    with mmap.mmap(-1, size) as aligned:
        try:
            got = _preadv(fd, (aligned,), offset - skip)
        except OSError as exc:
            return answer(exc)
        return aligned[skip : min(got, skip + count)]


def byte_at(fd: int, offset: int) -> int:
    """1 if a read at ``offset`` yields anything, else 0: the question that a 0 from a faster call leaves open.

    Files in /proc and on FUSE have a size of 0 or answer 0 to sendfile and still have content
    (hard cases C1, F2, F4).
    """
    try:
        return len(_pread(fd, 1, offset))
    except OSError as exc:
        return answer(exc)


# -- questions and the rest ------------------------------------------------------------------------------------------


def is_cached(fd: int, offset: int, count: int) -> bool:
    """Whether ``count`` bytes at ``offset`` are in the page cache: preadv2(2) with RWF_NOWAIT.

    The first and the last byte are asked for, 1 us each; 64 KiB are read ahead as a whole. A hole in between costs one
    read-ahead. False also where the file system cannot tell (FUSE, NFS: EOPNOTSUPP).
    """
    try:
        _preadv(fd, (bytearray(1),), offset, _NOWAIT)
        if count > AHEAD:
            _preadv(fd, (bytearray(1),), offset + count - 1, _NOWAIT)
    except OSError as exc:
        answer(exc)  # raises what a signal handler has raised
        return False
    return True


def ficlone(src: int, dst: int) -> None:
    """ioctl_ficlone(2): make all of ``dst`` share the blocks of ``src``."""
    fcntl.ioctl(dst, _FICLONE, src)


def advance(fd: int, count: int, ends: list[int]) -> None:
    """lseek(2): move the offset of an open file in one atomic step, and append where it is then to ``ends``.

    C code stores the answer, so no signal handler runs before what was moved is known.
    """
    ends.extend(map(os.lseek, (fd,), (count,), (os.SEEK_CUR,)))


def offset(fd: int) -> int:
    """lseek(2): where the open file stands."""
    return os.lseek(fd, 0, os.SEEK_CUR)


def duplicate(fd: int, into: list[int]) -> int:
    """dup(2), close-on-exec, stored as in ``advance``: 0, or -errno."""
    try:
        into.extend(map(_dup, (fd,)))
    except OSError as exc:
        return answer(exc)
    return 0


def close_popped(
    fds: list[int],
    # Bound, for where the interpreter takes the module apart.
    _deque: type[deque[None]] = deque,
    _close: Callable[[int], None] = close,
) -> None:
    """Take one out of ``fds`` and close it, in one step of C code, which no signal handler interrupts.

    :raises IndexError: there is none.
    """
    _deque(map(_close, map(list.pop, (fds,))), 0)


def hand_over(fds: list[int], to: list[int]) -> None:
    """Take one out of ``fds`` and put it into ``to``, as ``close_popped`` does."""
    to.extend(map(list.pop, (fds,)))


def make_pipe(into: list[int]) -> int:
    """pipe2(2), non-blocking and close-on-exec: the read and the write end, stored as in ``advance``; 0, or -errno."""
    try:
        deque(map(into.extend, map(os.pipe2, (os.O_CLOEXEC | os.O_NONBLOCK,))), 0)
    except OSError as exc:
        return answer(exc)
    return 0


def resize_pipe(fd: int, size: int) -> int:
    """Ask for a pipe of ``size`` bytes, and say what it has now.

    EPERM is no error: over pipe-max-size, or an unprivileged user's share of pipes is used up, and then
    even new pipes have 8 KiB (pipe(7), pipe-user-pages-soft).
    """
    try:
        fcntl.fcntl(fd, _F_SETPIPE_SZ, size)
    except OSError as exc:
        answer(exc)
    return int(fcntl.fcntl(fd, _F_GETPIPE_SZ))


def unread(fd: int) -> int:
    """FIONREAD: how many bytes a pipe holds. Exact for pipes only; on tcp it stops at urgent data."""
    return int.from_bytes(fcntl.ioctl(fd, _FIONREAD, b"\0\0\0\0"), sys.byteorder)


def flags(fd: int) -> int:
    """fcntl(2) F_GETFL: the flags of the open file, which others may change at any time."""
    return fcntl.fcntl(fd, fcntl.F_GETFL)
