"""The system calls gzc makes below an object, what this kernel has of them, and which errnos mean "not me".

Rules of this file: nobody else calls them. No policy, no loop, no waiting; an OSError goes up as it came.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping

from ._config import MAX_CALL, MECHANISMS

# Errnos that mean "this call cannot serve this pair": nothing moved, go on another way from the same
# offset. Everything else (EIO, ENOSPC, EPIPE, ECONNRESET ...) is the truth about the disk or the peer:
# hiding it behind a second method can turn a reported disk error into good-looking wrong data.
SENDFILE_DECLINES: Mapping[int, str] = {
    errno.EINVAL: "the file system has no sendfile (procfs since Linux 5.10, O_DIRECT at an odd length)",
    errno.EOPNOTSUPP: "the file system refuses sendfile",
    errno.ENOSYS: "this kernel or sandbox has no sendfile",
    errno.ESPIPE: "the source is not seekable",
    errno.EPERM: "a sandbox (seccomp) or security module refuses sendfile",
    errno.EOVERFLOW: "the offset is beyond what sendfile can express here",
    errno.ENODATA: "the file system answers ENODATA to sendfile (Lustre; cpython#139416)",
}


def _unavailable(*_: object) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


_sendfile: Callable[[int, int, int, int], int] = getattr(os, "sendfile", _unavailable)


def sendfile(out_fd: int, in_fd: int, offset: int, count: int) -> int:
    """sendfile(2) from an explicit offset, which leaves the file's own position alone."""
    return _sendfile(out_fd, in_fd, offset, min(count, MAX_CALL))


def write(fd: int, data: memoryview) -> int:
    """write(2): what the descriptor took of ``data``, in bytes."""
    return os.write(fd, data)


def readinto(fd: int, buffer: memoryview) -> int:
    """readv(2) into one buffer: the bytes read, 0 at end of file."""
    return os.readv(fd, (buffer,))


def byte_at(fd: int, offset: int) -> bool:
    """Whether a read at ``offset`` yields anything: the question a 0 from a faster call leaves open.

    Files in /proc and on FUSE have a size of 0 or answer 0 to sendfile and still have content
    (hard cases C1, F2, F4).
    """
    return bool(os.pread(fd, 1, offset))


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


_missing: dict[str, str] = {} if hasattr(os, "sendfile") else {"sendfile": "this platform has no sendfile"}
_probes: Mapping[str, Callable[[], object]] = {"sendfile": lambda: _sendfile(-1, -1, 0, 0)}


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
    if error.errno not in (errno.ENOSYS, errno.EPERM) or mechanism not in _probes:
        return
    try:
        _probes[mechanism]()
    except OSError as probe:
        if probe.errno in (errno.ENOSYS, errno.EPERM):
            _missing[mechanism] = f"the kernel or a sandbox answers {errno.errorcode[probe.errno]} to {mechanism}"


assert set(_probes) <= set(MECHANISMS)
