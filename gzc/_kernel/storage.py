"""What storage is below a file."""

from __future__ import annotations

import ctypes
import sys
from enum import Enum
from typing import Any


class Storage(Enum):
    """What may happen below a file."""

    MEMORY = "memory"  # tmpfs, ramfs: never blocks
    VIRTUAL = "virtual"  # procfs, sysfs and kin: never blocks, and a size is a claim (sysfs says 4096 for 23 bytes)
    LOCAL = "local"  # a page cache that can be asked, and a disk of this machine
    REMOTE = "remote"  # network file systems, anything unknown: a read or a write may take seconds
    FUSE = "fuse"  # the same, and each close of a descriptor is a FLUSH, also of one that only reads

    # As of ``Kind``: Enum's own costs more than what is looked up.
    __hash__ = object.__hash__


#: Storage that a call never waits for.
NEVER_WAITS = frozenset({Storage.MEMORY, Storage.VIRTUAL})

#: Storage where any call may take seconds.
SLOW = frozenset({Storage.REMOTE, Storage.FUSE})

# Magic numbers of statfs(2), linux/magic.h.
_MAGIC = {
    **dict.fromkeys((0x01021994, 0x858458F6), Storage.MEMORY),  # tmpfs, ramfs
    **dict.fromkeys((0x9FA0, 0x62656572, 0x27E0EB, 0x64626720, 0x74726163), Storage.VIRTUAL),  # proc, sys, cgroup ...
    **dict.fromkeys(
        # ext, xfs, btrfs, f2fs, overlay, zfs, bcachefs, squashfs, isofs, vfat, exfat
        (
            *(0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x794C7630, 0x2FC12FC1),
            *(0xCA451A4E, 0x73717368, 0x9660, 0x4D44, 0x2011BAB0),
        ),
        Storage.LOCAL,
    ),
    0x65735546: Storage.FUSE,
}

_StatFS = ctypes.c_long * 32  # struct statfs, of which f_type comes first
_fstatfs: Any = None
if sys.platform.startswith("linux"):
    _fstatfs = ctypes.CDLL(None).fstatfs
    _fstatfs.argtypes = [ctypes.c_int, _StatFS]


def storage(fd: int) -> Storage:
    """What is below ``fd``: asked for each copy, 1 us, because device numbers are reused after an unmount."""
    if _fstatfs is None:
        return Storage.LOCAL
    answer = _StatFS()
    if _fstatfs(fd, answer) != 0:
        return Storage.REMOTE
    return _MAGIC.get(answer[0] & 0xFFFFFFFF, Storage.REMOTE)
