"""What an errno means to a mover, and which mechanisms this kernel has not at all.

An errno in a table means "this call cannot serve this pair": nothing moved, and another way goes on from the same
offset. Every other one (EIO, ENOSPC, EPIPE, ECONNRESET ...) is the truth about the disk or the peer. Hiding it behind a
second method can turn a reported disk error into good-looking wrong data.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable, Mapping

from . import syscalls

_ALWAYS: Mapping[int, str] = {
    errno.EINVAL: "not supported for these two (procfs since Linux 5.10, /dev/full, O_DIRECT, O_APPEND)",
    errno.EOPNOTSUPP: "the file system refuses",
    errno.ENOSYS: "not in this kernel or sandbox",
    errno.EPERM: "a sandbox (seccomp), security module or file attribute refuses",
}
SENDFILE: Mapping[int, str] = {
    **_ALWAYS,
    errno.ESPIPE: "the source is not seekable",
    errno.EOVERFLOW: "the offset is beyond what the call can express here",
    errno.ENODATA: "the file system answers ENODATA (Lustre; cpython#139416)",
}
SPLICE: Mapping[int, str] = {**_ALWAYS, errno.ESPIPE: "an offset was given for a pipe"}
COPY_RANGE: Mapping[int, str] = {
    **_ALWAYS,
    errno.EXDEV: "two file systems (Linux 5.19 and later)",
    errno.ETXTBSY: "a swap file",
    errno.EACCES: "refused (CephFS before Linux 4.20)",
    errno.EOVERFLOW: "the offset is beyond what the call can express here",
}


def _version() -> tuple[int, ...]:
    """Major and minor of the running kernel, however its release string goes on."""
    numbers = re.findall(r"\d+", os.uname().release) if hasattr(os, "uname") else []
    return tuple(map(int, numbers[:2]))


_CALLS: Mapping[str, Callable[..., int]] = {
    "sendfile": syscalls._sendfile,
    "splice": syscalls._splice,
    "copy_file_range": syscalls._copy_file_range,
}

#: Mechanism -> why this kernel cannot do it at all.
missing: dict[str, str] = {
    name: f"this platform has no {name}"
    for name, call in _CALLS.items()
    if call is syscalls.unavailable or not sys.platform.startswith("linux")
}
if "copy_file_range" not in missing and _version() < (5, 3):  # broken in several ways before (Go#42400)
    missing["copy_file_range"] = "copy_file_range is not to be trusted before Linux 5.3"

#: Each with descriptors that cannot exist.
_PROBES: Mapping[str, Callable[[], int]] = {
    "sendfile": lambda: syscalls.sendfile(-1, -1, 0, 0),
    "splice": lambda: syscalls.splice(-1, -1, 1),
    "copy_file_range": lambda: syscalls.copy_file_range(-1, -1, 1),
}


def remember_missing(mechanism: str, number: int) -> None:
    """Remember a mechanism as missing when the errno ``number`` came from the kernel or sandbox, not from the file.

    ENOSYS is final. EPERM is asked again with descriptors that cannot exist: a kernel that has the
    call answers EBADF, a seccomp filter still says EPERM (as Rust's kernel_copy probes).
    """
    if number in (errno.ENOSYS, errno.EPERM):
        answered = -_PROBES[mechanism]()
        if answered in (errno.ENOSYS, errno.EPERM):
            missing[mechanism] = f"the kernel or a sandbox answers {errno.errorcode[answered]} to {mechanism}"
