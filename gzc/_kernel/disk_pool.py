"""Calls that may block on storage, each in a thread of gzc's own pool.

gevent's own pool also resolves names, so a slow disk must not fill it. The thread makes the real call, of
bounded size: to warm the pages in a thread and move them in the hub was not airtight (gaps of 21 to 143 ms).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import gevent
from gevent import get_hub
from gevent.threadpool import ThreadPool

from .._config import config

#: Bytes of one call where storage may be slow: it must be over within the grace, if at all possible.
PIECE = 256 * 1024


class Shared(Protocol):
    """A descriptor that must stay open as long as a call uses it."""

    def enter(self, user: object) -> None: ...
    def leave(self, user: object) -> None: ...


class Job:
    """One call in the pool.

    ``result`` is what it answered, also when the waiting greenlet was interrupted: a number, 0 for every other answer;
    None while the call is still running.
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

        While a call takes longer than ``config.disk_grace`` seconds, the pool has one thread more, so that the call
        does not stall the others. An interruption waits that long for a call that has begun. If that is over by
        then, ``result`` says what it did; if not, ``result`` is None and the thread is written off.

        :raises OSError: what ``call`` raised.
        """
        self.result = 0  # nothing is handed over yet
        pool = _pool()
        self.result = None
        try:
            for duplicate in self._duplicates:
                duplicate.enter(self)
            try:
                waiting = self._waiting = pool.spawn(self._work, call, args)
            except RuntimeError:  # no thread can start: a limit of processes, or the interpreter's exit
                if not self._take():  # an older thread has it
                    raise
                return self._make(call, args)
            waiting.wait(config.disk_grace)
            if not waiting.ready():
                _lend(pool, waiting)
                waiting.wait()
        except BaseException:
            if self._take():
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

    def _grace(self, pool: ThreadPool) -> None:
        waiting = self._waiting
        if waiting is None:  # interrupted between the spawn and this name, or the call was made inline
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

    def _take(self) -> bool:
        """Take ownership, atomically: the owner makes the call, or not, and leaves the duplicates."""
        try:
            self._start.pop()
        except IndexError:
            return False
        return True

    def _work(self, call: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if not self._take():
            return 0
        try:
            return self._make(call, args)
        except OSError as exc:  # no news; raised here, gevent would print it
            self.result = 0  # no signal handler runs in a thread
            # Its traceback has this frame, and so the call's pipe; where nobody waits any more, in a cycle with itself.
            return exc.with_traceback(None)

    def _make(self, call: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        try:
            answer = call(*args)
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
