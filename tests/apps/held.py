"""What a program of the tests has open and running, each by its kind, and what of it is gzc's own reserve.

A pipe that waits in gzc's pool for the next transfer is no leak, and ``config.pool_pipes`` bounds how many do. So they
are counted apart, as gzc itself has them in its pool.
Rule: it looks, and changes nothing.
"""

import gc
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import greenlet

sys.path.append(str(Path(__file__).parent.parent))
import _inside


def held() -> dict[str, Any]:
    """What the process holds."""
    gc.collect()
    pooled, most = _pool()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "descriptors": Counter(filter(None, map(_kind, _descriptors() - pooled))),
        "pooled pipes": len(pooled) // 2,
        "most pooled pipes": most,
        "threads": len(os.listdir("/proc/self/task")),
        "greenlets": sum(issubclass(type(one), greenlet.greenlet) and not one.dead for one in gc.get_objects()),
        "resident": resident,
    }


def _descriptors() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/fd")}


def _pool() -> tuple[set[int], int]:
    """The descriptors of the pool, and how many pipes it may have."""
    if _inside.HOMES["_pipe"] not in sys.modules:
        return set(), 0
    from gzc import config

    return {fd for pipe in _inside._pipe._idle for fd in (pipe.reader, pipe.writer)}, config.pool_pipes


def _kind(fd: int) -> str:
    """What it is of: "socket", "pipe", "anon_inode:[eventfd]", the path of a file; "" when it is closed already."""
    try:
        target = os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:  # that of the folder that was listed
        return ""
    return target.partition(":")[0] if target.startswith(("socket:", "pipe:")) else target
