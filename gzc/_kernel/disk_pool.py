"""Work that may block on storage: is it cached, and if not, a thread of our own pool does it.

gevent's own pool also resolves names, so a slow disk must not fill it. The thread makes the real call, of
bounded size. Warming the pages in a thread and moving them in the hub was not airtight (gaps of 21 to 143 ms).

Rules of this file: it runs calls and knows nothing of ends; what a call moved is never lost with the
exception that interrupted the waiting for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Protocol

import gevent
from gevent import get_hub
from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

from .._config import config
from . import syscalls as _syscalls

#: Bytes of one job where storage may be slow: it must be over within the grace, if at all possible.
PIECE = 256 * 1024


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


def cached(fd: int, offset: int, count: int) -> bool:
    """Whether reading ``count`` bytes at ``offset`` would not have to wait for the disk.

    Asks for the first and the last byte; a hole in between costs one read-ahead.
    """
    # shorter ones are read ahead as a whole
    return _syscalls.cached_at(fd, offset) and (count <= 65536 or _syscalls.cached_at(fd, offset + count - 1))


class Shared(Protocol):
    """A descriptor that must stay open as long as a job uses it."""

    def enter(self, user: object) -> None: ...
    def leave(self, user: object) -> None: ...


class Job:
    """One call in the pool.

    ``result`` is the number of bytes it moved, also when the waiting greenlet was interrupted; None while
    the call has not come back.
    """

    __slots__ = ("_duplicates", "_start", "_waiting", "result")

    def __init__(self, duplicates: Sequence[Shared] = ()) -> None:
        self._duplicates = duplicates
        self._waiting: Any = None
        self.result: int | None = None
        # Popping is atomic: either the thread gets it and makes the call, or the greenlet, and nobody does.
        self._start = [True]

    def run(self, call: Callable[..., Any], *args: Any) -> Any:
        """``call(*args)`` in a thread; other greenlets run meanwhile.

        A call that takes longer than ``config.disk_grace`` seconds has its thread lent to it, so that it does
        not stall the others. An interruption waits that long for a call that has begun. If that is over by
        then, ``result`` says what it did; if not, ``result`` is None and the thread is written off.
        """
        self.result = 0  # nothing is handed over yet
        pool = _pool()
        self.result = None
        try:
            for duplicate in self._duplicates:
                duplicate.enter(self)
            waiting = self._waiting = self._hand_over(pool, call, args)
            waiting.wait(config.disk_grace)
            if not waiting.ready():
                _lend(pool, waiting)
                waiting.wait()
        except BaseException:
            if self._mine():
                self.result = 0
                self._leave()
            else:
                self._grace(pool)
            raise
        answer = waiting.get()
        try:
            if isinstance(answer, BaseException):
                raise answer
            return answer
        finally:
            # The error's traceback has this frame and our mover's, and with them the caller's files.
            del answer, waiting
            self._waiting = None

    def _hand_over(self, pool: ThreadPool, *work: Any) -> Any:
        """The answer to come. Here and now where no thread is to be had: over a limit of processes, or at exit."""
        try:
            return pool.spawn(self._work, *work)
        except RuntimeError:
            if not self._mine():  # an older thread has it
                raise
            answer: Any = AsyncResult()
            answer.set(self._make(*work))
            return answer

    def _grace(self, pool: ThreadPool) -> None:
        waiting = self._waiting
        if waiting is None:  # struck between the spawn and the name for it
            return
        try:
            with gevent.Timeout(config.disk_grace, False):  # type: ignore[arg-type]
                waiting.wait()
        finally:
            if not waiting.ready():
                _lend(pool, waiting)

    def afterwards(self, then: Callable[[], None]) -> None:
        """Call ``then`` once the call has come back."""
        if self._waiting is not None:
            self._waiting.rawlink(lambda _: then())

    def _mine(self) -> bool:
        """Whether whoever asks first, thread or greenlet, may have the call and must leave the duplicates."""
        try:
            self._start.pop()
        except IndexError:
            return False
        return True

    def _work(self, call: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        return self._make(call, args) if self._mine() else 0

    def _make(self, call: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        try:
            answer = call(*args)
        except OSError as exc:  # EAGAIN is no news; raised here, gevent would print it
            if _syscalls.struck(exc):  # here, without a thread; its traceback is what tells so
                return exc
            self.result = 0
            # Its traceback has this frame, and so the call's pipe; where nobody waits any more, in a cycle with itself.
            return exc.with_traceback(None)
        else:
            self.result = answer if isinstance(answer, int) else 0
            return answer
        finally:
            self._leave()

    def _leave(self) -> None:
        for duplicate in self._duplicates:
            duplicate.leave(self)


def _lend(pool: ThreadPool, waiting: Any) -> None:
    """Give the pool one thread more until this call comes back: one that hangs must not starve the others."""
    _resize(pool, 1)
    waiting.rawlink(lambda _: _resize(pool, -1))


def _resize(pool: ThreadPool, difference: int) -> None:
    with contextlib.suppress(RuntimeError):  # the size is set, but no thread was to be had for it
        pool.maxsize += difference


#: Seconds after which an idle thread ends: a hub that is gone leaves none behind.
_IDLE = 5

_ATTRIBUTE = "_gzc_disk_pool"


def _pool() -> ThreadPool:
    """The pool of this hub, kept on it, so that both go together."""
    hub = get_hub()
    pool: ThreadPool | None = getattr(hub, _ATTRIBUTE, None)
    if pool is None or pool.pid != os.getpid():
        _retire(pool)
        pool = ThreadPool(config.disk_threads, hub=hub, idle_task_timeout=_IDLE)
        setattr(hub, _ATTRIBUTE, pool)
    return pool


def _retire(pool: ThreadPool | None) -> None:
    """Let go of a pool, as a forked child does of its copy of the parent's.

    Its watcher must be closed first: libuv goes on using the memory of one that is merely dropped, and crashes.
    """
    if pool is not None:
        pool.fork_watcher.stop()
        pool.fork_watcher.close()
