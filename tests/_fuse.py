"""A FUSE file system whose files are named by how they misbehave.

Run as a program: ``python -m tests._fuse MOUNTPOINT``; it serves until it is unmounted or killed. Names are read as
words: ``read-slow`` answers each read after half a second, ``write-slow`` each write, ``read-hang`` and
``write-hang`` after a minute, ``size-zero`` says 0 bytes and has SIZE, ``size-big`` says twice SIZE,
``read-EIO`` (any errno) fails beyond the first MiB, ``read-short`` gives 1000 bytes at a time. A name with
``new`` in it does not exist before it is created; ``misbehaved`` says how often one did so far; all others hold
``content()``.

Rules of this file: nothing of gzc in here; it is the kernel's view that is being misbehaved with.
"""

from __future__ import annotations

import errno
import random
import stat
import sys
import time
from typing import Any

SIZE = 2 * 1024 * 1024 + 77
SLOW = 0.5
HANG = 60.0


def content(size: int = SIZE) -> bytes:
    """What every file holds."""
    return random.Random(1).randbytes(size)


def main(mountpoint: str) -> None:
    import mfusepy

    misbehaved: list[str] = []

    def late(path: str, verb: str) -> None:
        for word, seconds in (("slow", SLOW), ("hang", HANG)):
            if f"{verb}-{word}" in path:
                misbehaved.append(path)
                time.sleep(seconds)

    def fails(path: str, verb: str, offset: int) -> None:
        name = path.partition(f"{verb}-E")[2].partition(" ")[0]
        if name and offset >= 1 << 20:
            misbehaved.append(path)
            raise mfusepy.FuseOSError(getattr(errno, "E" + name))

    class Misbehaving(mfusepy.Operations):  # type: ignore[misc]
        use_ns = True

        def __init__(self) -> None:
            self.data = content()
            self.written: dict[str, bytearray] = {}

        def getattr(self, path: str, fh: Any = None) -> dict[str, Any]:
            if path == "/":
                return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
            if "new" in path and path not in self.written:
                raise mfusepy.FuseOSError(errno.ENOENT)
            size = len(self.written[path]) if path in self.written else len(self.data)
            if "size-zero" in path:
                misbehaved.append(path)
                size = 0
            if "size-big" in path:
                misbehaved.append(path)
                size *= 2
            return {"st_mode": stat.S_IFREG | 0o644, "st_nlink": 1, "st_size": size}

        def create(self, path: str, mode: int, fi: Any = None) -> int:
            self.written[path] = bytearray()
            return 0

        def truncate(self, path: str, length: int, fh: Any = None) -> None:
            held = self.written.setdefault(path, bytearray())
            del held[length:]
            held.extend(bytes(length - len(held)))

        def read(self, path: str, size: int, offset: int, fh: Any) -> bytes:
            if path == "/misbehaved":
                return str(len(misbehaved)).encode()[offset : offset + size]
            late(path, "read")
            fails(path, "read", offset)
            if "read-short" in path:
                misbehaved.append(path)
                size = min(size, 1000)
            data = self.written.get(path, self.data)
            return bytes(data[offset : offset + size])

        def write(self, path: str, data: bytes, offset: int, fh: Any) -> int:
            late(path, "write")
            fails(path, "write", offset)
            held = self.written.setdefault(path, bytearray())
            held[offset : offset + len(data)] = data
            return len(data)

    mfusepy.FUSE(Misbehaving(), mountpoint, foreground=True, direct_io=True, nothreads=False)


if __name__ == "__main__":
    main(sys.argv[1])
