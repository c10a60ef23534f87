"""The system calls gzc makes below an object, and what this kernel has of them.

Rules of this file: nobody else calls them. No policy, no loop, no waiting; an OSError goes up as it came.
Counts are the caller's to keep below ``MAX_CALL``.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import NoReturn

from gevent import monkey

from .._config import MECHANISMS

close = monkey.get_original("os", "close")  # gevent's defers it to the hub's next turn (M17)

_SPLICE_FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
_F_SETPIPE_SZ, _F_GETPIPE_SZ = 1031, 1032
_FIONREAD, _FICLONE = 0x541B, getattr(fcntl, "FICLONE", 0x40049409)  # the second is new in Python 3.12


def _unavailable(*_: object, **__: object) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


_sendfile: Callable[[int, int, int | None, int], int] = getattr(os, "sendfile", _unavailable)
_splice: Callable[..., int] = getattr(os, "splice", _unavailable)
_copy_file_range: Callable[..., int] = getattr(os, "copy_file_range", _unavailable)

_tee = None
if sys.platform.startswith("linux"):
    _tee = getattr(ctypes.CDLL(None, use_errno=True), "tee", None)
if _tee is not None:
    _tee.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint]
    _tee.restype = ctypes.c_ssize_t


def sendfile(out_fd: int, in_fd: int, offset: int | None, count: int) -> int:
    """sendfile(2) from an explicit offset, which leaves the source's own position alone."""
    return _sendfile(out_fd, in_fd, offset, count)


def splice(src: int, dst: int, count: int, offset_src: int | None = None, offset_dst: int | None = None) -> int:
    """splice(2) that never waits for a pipe; one of the two must be one.

    SPLICE_F_MORE is never set: when nothing follows, the tail would stay in the socket for 200 ms (Go#10948).
    SPLICE_F_NONBLOCK covers pipes only, also those in blocking mode; sockets must be in non-blocking mode.
    """
    return _splice(src, dst, count, offset_src, offset_dst, _SPLICE_FLAGS)


def splice_now(src: int, dst: int, count: int) -> int:
    """The same, and -1 for EAGAIN: to raise it through another frame and look where it came from costs 0.5 us."""
    try:
        return _splice(src, dst, count, None, None, _SPLICE_FLAGS)
    except BlockingIOError as exc:
        if exc.__traceback__ is not None and exc.__traceback__.tb_next is not None and struck(exc):
            raise
        return -1


def tee(src: int, dst: int, count: int) -> int:
    """tee(2) between two pipes, without waiting; Python has no ``os.tee``."""
    if _tee is None:
        return _unavailable()
    done: int = _tee(src, dst, count, getattr(os, "SPLICE_F_NONBLOCK", 0))
    if done < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return done


def copy_file_range(
    src: int, dst: int, count: int, offset_src: int | None = None, offset_dst: int | None = None
) -> int:
    """copy_file_range(2); an explicit offset leaves that descriptor's position alone."""
    return _copy_file_range(src, dst, count, offset_src, offset_dst)


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


def duplicate(fd: int, into: list[int]) -> None:
    """dup(2), close-on-exec, stored as in ``advance``."""
    into.extend(map(os.dup, (fd,)))


def close_popped(fds: list[int]) -> None:
    """Take one out of ``fds`` and close it, in one step of C code: nobody has it if a signal handler strikes.

    :raises IndexError: there is none.
    """
    deque(map(close, map(list.pop, (fds,))), 0)


def hand_over(fds: list[int], to: list[int]) -> None:
    """Take one out of ``fds`` and put it into ``to``, as ``close_popped`` does."""
    to.extend(map(list.pop, (fds,)))


def make_pipe() -> tuple[int, int]:
    """pipe2(2), non-blocking and close-on-exec: the read and the write end."""
    return os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)


def resize_pipe(fd: int, size: int) -> int:
    """Ask for a pipe of ``size`` bytes, and say what it has now.

    EPERM is no error: over pipe-max-size, or an unprivileged user's share of pipes is used up, and then
    even new pipes have 8 KiB (pipe(7), pipe-user-pages-soft).
    """
    try:
        fcntl.fcntl(fd, _F_SETPIPE_SZ, size)
    except OSError as exc:
        if struck(exc):
            raise
    return int(fcntl.fcntl(fd, _F_GETPIPE_SZ))


def unread(fd: int) -> int:
    """FIONREAD: how many bytes a pipe holds. Exact for pipes only; on tcp it stops at urgent data."""
    return int.from_bytes(fcntl.ioctl(fd, _FIONREAD, b"\0\0\0\0"), sys.byteorder)


def write(fd: int, data: bytes | memoryview) -> int:
    """write(2): what the descriptor took of ``data``, in bytes."""
    return os.write(fd, data)


def write_at(fd: int, data: bytes | memoryview, offset: int) -> int:
    """pwrite(2): what the file took of ``data`` at ``offset``, in bytes."""
    return os.pwrite(fd, data, offset)


def read(fd: int, count: int) -> bytes:
    """read(2): up to ``count`` bytes, empty at end of file."""
    return os.read(fd, count)


def readinto(fd: int, buffer: memoryview) -> int:
    """readv(2) into one buffer: the bytes read, 0 at end of file."""
    return os.readv(fd, (buffer,))


def read_at(fd: int, count: int, offset: int) -> bytes:
    """pread(2): up to ``count`` bytes from ``offset``, empty at end of file."""
    return os.pread(fd, count, offset)


def read_direct(fd: int, count: int, offset: int) -> bytes:
    """pread(2) of up to ``count`` bytes from any ``offset`` of a file opened with O_DIRECT (open(2), NOTES).

    Whole pages into the memory of a page, which satisfies every device.
    """
    skip = offset % mmap.PAGESIZE
    size = -(-(skip + count) // mmap.PAGESIZE) * mmap.PAGESIZE
    with mmap.mmap(-1, size) as aligned:
        got = os.preadv(fd, (aligned,), offset - skip)
        return aligned[skip : min(got, skip + count)]


def cached_at(fd: int, offset: int) -> bool:
    """Whether the byte at ``offset`` is in the page cache: preadv2(2) with RWF_NOWAIT, 1 us.

    False also where the file system cannot tell (FUSE, NFS: EOPNOTSUPP).
    """
    try:
        os.preadv(fd, (bytearray(1),), offset, _NOWAIT)
    except OSError as exc:
        if struck(exc):
            raise
        return False
    return True


def byte_at(fd: int, offset: int) -> bool:
    """Whether a read at ``offset`` yields anything: the question a 0 from a faster call leaves open.

    Files in /proc and on FUSE have a size of 0 or answer 0 to sendfile and still have content
    (hard cases C1, F2, F4).
    """
    return bool(os.pread(fd, 1, offset))


def would_block() -> NoReturn:
    """Answer as the call would that is not made, because it would block the hub."""
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def answered(exc: BaseException) -> bool:
    """Whether ``exc`` is the kernel's answer to a call made here, and not out of a signal handler.

    A handler runs between two instructions, so its own frame is the innermost one, or its exception is no
    OSError at all. What a call moved before a handler struck is lost with the call's result (M22).
    """
    if not isinstance(exc, OSError) or exc.__traceback__ is None:
        return False
    innermost = exc.__traceback__
    while innermost.tb_next is not None:
        innermost = innermost.tb_next
    return innermost.tb_frame.f_globals is globals()


def struck(exc: BaseException) -> bool:
    """Whether ``exc`` came out of a signal handler, as a TimeoutError of the ``signal.alarm`` idiom does.

    To be asked before an OSError is taken for the kernel's word: a handler that finds its wake-up socket full raises
    BlockingIOError, and what the call it struck had moved is not nothing.
    """
    if answered(exc):
        return False
    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    step = exc.__traceback__
    while step is not None:
        if step.tb_frame.f_code in handlers:
            return True
        step = step.tb_next
    return False


def _code(handler: object) -> object:
    while hasattr(handler, "func"):  # functools.partial
        handler = handler.func
    own = getattr(handler, "__code__", None) or getattr(handler, "__func__", None)
    return getattr(own, "__code__", own) or getattr(type(handler).__call__, "__code__", None)


def _kernel() -> tuple[int, ...]:
    """Major and minor of the running kernel, however its release string goes on."""
    numbers = re.findall(r"\d+", os.uname().release) if hasattr(os, "uname") else []
    return tuple(map(int, numbers[:2]))


_missing: dict[str, str] = {
    name: f"this platform has no {name}"
    for name, call in (("sendfile", _sendfile), ("splice", _splice), ("copy_file_range", _copy_file_range))
    if call is _unavailable or not sys.platform.startswith("linux")
}
if "copy_file_range" not in _missing and _kernel() < (5, 3):  # broken in several ways before (Go#42400)
    _missing["copy_file_range"] = "copy_file_range is not to be trusted before Linux 5.3"

_probes: Mapping[str, Callable[[], object]] = {
    "sendfile": lambda: _sendfile(-1, -1, 0, 0),
    "splice": lambda: _splice(-1, -1, 1),
    "copy_file_range": lambda: _copy_file_range(-1, -1, 1),
}


def missing(mechanism: str) -> str | None:
    """Why the kernel cannot do ``mechanism`` at all, or None when it can."""
    return _missing.get(mechanism)


def any_missing() -> bool:
    """Whether anything is missing at all, for those who ask before every copy."""
    return bool(_missing)


def latch(mechanism: str, error: OSError) -> None:
    """Remember a mechanism as missing when ``error`` came from the kernel or sandbox, not from the file.

    ENOSYS is final. EPERM is asked again with descriptors that cannot exist: a kernel that has the
    call answers EBADF, a seccomp filter still says EPERM (as Rust's kernel_copy probes).
    """
    if error.errno not in (errno.ENOSYS, errno.EPERM):
        return
    try:
        _probes[mechanism]()
    except OSError as probe:
        if probe.errno in (errno.ENOSYS, errno.EPERM):
            _missing[mechanism] = f"the kernel or a sandbox answers {errno.errorcode[probe.errno]} to {mechanism}"


assert {*_probes, "userspace"} == set(MECHANISMS)
