"""A FUSE file system whose files are named by how they misbehave.

Run as a program: ``python -m tests._fuse MOUNTPOINT``; it serves until it is unmounted or killed. With ``calls`` behind
that it also counts who opens and flushes, which the kernel does not ask of it otherwise. Names are read as words:
``read-slow`` answers each read after half a second, ``read-ticks`` after TICKS more bytes on standard input, and
``read-hang`` after a minute; ``write-...`` each write; ``size-zero`` says 0 bytes and has SIZE, ``size-big`` says
twice SIZE, ``read-EIO`` (any errno) fails beyond the first MiB, ``read-short`` gives 1000 bytes at a time. A name with
``new`` in it does not exist before it is created; one with ``stream`` cannot seek; ``large`` has LARGE bytes;
``misbehaved`` says how often one did so far, ``calls`` how often each file was opened and flushed; all others hold
``content()``.

Nothing of gzc in here; it is the kernel's view that is being misbehaved with.
"""

from __future__ import annotations

import errno
import json
import os
import random
import stat
import sys
import threading
import time
from collections import Counter
from typing import Any

SIZE = 2 * 1024 * 1024 + 77
LARGE = 16 * 1024 * 1024
SLOW = 0.5
TICKS = 5
HANG = 60.0


def content(size: int = SIZE) -> bytes:
    """What every file holds."""
    return random.Random(1).randbytes(size)


def main(mountpoint: str, *options: str) -> None:
    import mfusepy

    misbehaved: list[str] = []
    calls: Counter[str] = Counter()
    ticks, ticked = 0, threading.Condition()

    def listen() -> None:
        nonlocal ticks
        while heard := os.read(0, 1000):
            with ticked:
                ticks += len(heard)
                ticked.notify_all()

    def late(path: str, verb: str) -> None:
        if f"{verb}-ticks" in path:
            misbehaved.append(path)
            with ticked:
                enough = ticks + TICKS
                ticked.wait_for(lambda: ticks >= enough, HANG)
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
            self.large = content(LARGE)
            self.written: dict[str, bytearray] = {}

        def getattr(self, path: str, fh: Any = None) -> dict[str, Any]:
            if path == "/":
                return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
            if "new" in path and path not in self.written:
                raise mfusepy.FuseOSError(errno.ENOENT)
            size = len(self.written.get(path, self.large if "large" in path else self.data))
            if "size-zero" in path:
                misbehaved.append(path)
                size = 0
            if "size-big" in path:
                misbehaved.append(path)
                size *= 2
            return {"st_mode": stat.S_IFREG | 0o644, "st_nlink": 1, "st_size": size}

        def create(self, path: str, mode: int, fi: Any = None) -> int:
            self.written[path] = bytearray()
            calls[f"open {path}"] += 1
            return 0

        def truncate(self, path: str, length: int, fh: Any = None) -> None:
            held = self.written.setdefault(path, bytearray())
            del held[length:]
            held.extend(bytes(length - len(held)))

        def read(self, path: str, size: int, offset: int, fh: Any) -> bytes:
            if path == "/misbehaved":
                return str(len(misbehaved)).encode()[offset : offset + size]
            if path == "/calls":
                return json.dumps(calls).encode()[offset : offset + size]
            late(path, "read")
            fails(path, "read", offset)
            if "read-short" in path:
                misbehaved.append(path)
                size = min(size, 1000)
            data = self.written.get(path, self.large if "large" in path else self.data)
            return bytes(data[offset : offset + size])

        def write(self, path: str, data: bytes, offset: int, fh: Any) -> int:
            late(path, "write")
            fails(path, "write", offset)
            held = self.written.setdefault(path, bytearray())
            held[offset : offset + len(data)] = data
            return len(data)

    class Counting(Misbehaving):
        def open(self, path: str, flags: int) -> int:
            calls[f"open {path}"] += 1
            return 0

        def flush(self, path: str, fh: Any) -> int:
            calls[f"flush {path}"] += 1
            return 0

    class Opening(mfusepy.FUSE):  # type: ignore[misc]
        def open(self, path: bytes, fip: Any) -> int:
            fip.contents.nonseekable = b"stream" in path
            return int(super().open(path, fip))

        def create(self, path: bytes, mode: int, fip: Any) -> int:
            fip.contents.nonseekable = b"stream" in path
            return int(super().create(path, mode, fip))

    threading.Thread(target=listen, daemon=True).start()
    served = Counting if "calls" in options else Misbehaving
    Opening(served(), mountpoint, foreground=True, direct_io=True, nothreads=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
