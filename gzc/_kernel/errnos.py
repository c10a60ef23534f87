"""Which errnos mean "this call cannot serve this pair": nothing moved, go on another way from the same offset.

Rules of this file: everything else (EIO, ENOSPC, EPIPE, ECONNRESET ...) is the truth about the disk or the peer. Hiding
it behind a second method can turn a reported disk error into good-looking wrong data.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

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
