"""Whether this process holds a POSIX lock on a file, which closing any descriptor of it would drop (M24)."""

from __future__ import annotations

import fcntl
import os
import struct
import sys

from .syscalls import answer

_OFD_GETLK: int | None = getattr(fcntl, "F_OFD_GETLK", 36) if sys.platform.startswith("linux") else None
_FLOCK = struct.Struct("hhqqi4x")  # struct flock with 64-bit offsets, and the padding at its end


def is_locked(fd: int) -> bool:
    """Whether this process holds one on the file of ``fd``; True also where nobody can know.

    fcntl(2) F_OFD_GETLK sees the locks of one's own process, too, in 2 to 4 us (M25). It tells of one lock only: where
    that is another process's, or an open file's, /proc/locks has them all.
    """
    if _OFD_GETLK is None:
        return True
    try:
        found = fcntl.fcntl(fd, _OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError as exc:
        answer(exc)  # raises what a signal handler has raised
        return False  # the file system refuses to set locks, too
    kind, _, _, _, owner = _FLOCK.unpack(found)
    if kind == fcntl.F_UNLCK:
        return False
    return owner == os.getpid() or _is_listed(fd)


def _is_listed(fd: int) -> bool:
    """Whether /proc/locks has a lock of this process on a file of that inode number, on whatever device."""
    inode = os.fstat(fd).st_ino
    try:
        listed = open("/proc/locks", encoding="ascii")  # noqa: SIM115
    except OSError as exc:
        answer(exc)
        return True  # nobody can know
    with listed:
        # 1: POSIX  ADVISORY  WRITE 4711 fe:00:12345 0 EOF; "->" stands before the kind of one that waits.
        rows = [row.split() for row in listed]
    mine = str(os.getpid())
    return any(row[1] == "POSIX" and row[4] == mine and row[5].endswith(f":{inode}") for row in rows if len(row) > 5)
