"""Work that may block on storage: is it cached, and if not, a thread of our own pool does it.

gevent's own pool also resolves names, so a slow disk must not fill it. The thread makes the real call, of
bounded size, on duplicates of the descriptors: a greenlet that is killed closes its files while the thread
is still in the call, and the numbers may be somebody else's by then (hard case G1). Warming the pages in a
thread and moving them in the hub was not airtight (gaps of 21 to 143 ms).

Rules of this file: it runs calls and knows nothing of ends; what a call moved is never lost with the
exception that interrupted the waiting for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from enum import Enum
from typing import Any

import gevent
from gevent import get_hub
from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

from . import _hub, _syscalls
from ._config import config

#: Bytes of one job where storage may be slow: it must be over within the grace, if at all possible.
PIECE = 256 * 1024


class Storage(Enum):
    """What may happen below a file."""

    MEMORY = "memory"  # tmpfs, ramfs: never blocks
    VIRTUAL = "virtual"  # procfs, sysfs and kin: never blocks, and a size is a claim (sysfs says 4096 for 23 bytes)
    LOCAL = "local"  # a page cache that can be asked, and a disk of this machine
    REMOTE = "remote"  # FUSE, network file systems, anything unknown: a read or a write may take seconds


#: Storage that a call never waits for.
NEVER_WAITS = frozenset({Storage.MEMORY, Storage.VIRTUAL})

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


class Job:
    """One call in the pool.

    ``result`` is the number of bytes it moved, also when the waiting greenlet was interrupted; None while
    the call has not come back.
    """

    __slots__ = ("_start", "_waiting", "result")

    def __init__(self) -> None:
        self._waiting: Any = None
        self.result: int | None = None
        # Popping is atomic: either the thread gets it and makes the call, or the greenlet, and nobody does.
        self._start = [True]

    def run(self, call: Callable[..., Any], fds: tuple[int, ...], *args: Any) -> Any:
        """``call(*fds, *args)`` in a thread; other greenlets run meanwhile.

        A call that takes longer than ``config.disk_grace`` seconds has its thread lent to it, so that it does
        not stall the others. An interruption waits that long for a call that has begun. If that is over by
        then, ``result`` says what it did; if not, ``result`` is None and the thread is written off.
        """
        self.result = 0  # nothing is handed over yet
        pool = _pool()
        try:
            copies = _duplicate(fds)
        except OSError as exc:  # EMFILE: no reason to fail, or EBADF, which the call says itself
            if _syscalls.struck(exc):
                raise
            return self._booked(call, fds, args)
        self.result = None
        try:
            waiting = self._waiting = self._hand_over(pool, call, copies, args)
            waiting.wait(config.disk_grace)
            if not waiting.ready():
                _lend(pool, waiting)
                waiting.wait()
        except BaseException:
            if self._mine():
                self.result = 0
                _close_all(copies)
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
        """Whether whoever asks first, thread or greenlet, may have the call and must close the descriptors."""
        try:
            self._start.pop()
        except IndexError:
            return False
        return True

    def _work(self, call: Callable[..., Any], fds: tuple[int, ...], args: tuple[Any, ...]) -> Any:
        return self._make(call, fds, args) if self._mine() else 0

    def _make(self, call: Callable[..., Any], fds: tuple[int, ...], args: tuple[Any, ...]) -> Any:
        try:
            return self._booked(call, fds, args)
        except OSError as exc:  # EAGAIN is no news; raised here, gevent would print it
            return exc
        finally:
            _close_all(fds)

    def _booked(self, call: Callable[..., Any], fds: tuple[int, ...], args: tuple[Any, ...]) -> Any:
        self.result = None
        try:
            answer = call(*fds, *args)
        except OSError as exc:
            if not _syscalls.struck(exc):
                self.result = 0
            raise
        self.result = answer if isinstance(answer, int) else 0
        return answer


class Doer:
    """Whoever makes calls that may have to go to the pool."""

    job: Job | None = None

    def do(self, inline: bool, call: Callable[..., Any], fds: tuple[int, ...], *args: Any) -> Any:
        """``call(*fds, *args)``, here when it cannot block or holds nobody up, else in the pool."""
        if inline or _hub.alone():
            self.job = None
            return call(*fds, *args)
        self.job = Job()
        return self.job.run(call, fds, *args)

    def out(self) -> bool:
        """Whether the last call has not come back, and its waiting was given up."""
        return self.job is not None and self.job.result is None

    def late(self) -> int | None:
        """What an interrupted call moved all the same; None when nobody can know."""
        return None if self.job is None else self.job.result


#: Duplicates in the hands of threads, which a forked child has and its threads do not.
_lent_fds: set[int] = set()


def _duplicate(fds: tuple[int, ...]) -> tuple[int, ...]:
    copies: list[int] = []
    try:
        for fd in fds:
            copies.append(os.dup(fd))
            _lent_fds.add(copies[-1])
    except BaseException:
        _close_all(tuple(copies))
        raise
    return tuple(copies)


def _close_all(fds: tuple[int, ...]) -> None:
    for fd in fds:
        _lent_fds.discard(fd)
        _syscalls.close(fd)


def _forked() -> None:
    for fd in tuple(_lent_fds):
        _syscalls.close(fd)
    _lent_fds.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


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
