"""Calls that may have to go to the pool, and the descriptors that threads get for them.

A file may be closed while a job waits for its thread, and its number be another file's when the call begins (hard case
G1): so what a thread writes to needs a descriptor of its own. But to close one drops every POSIX lock that this process
has on the file, and is a FLUSH on FUSE and NFS (M24). So there is one duplicate of a file for a whole run, and none is
closed while this process may hold a lock. Reading needs none: see ``FileReader.look``.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import gevent
from gevent import monkey

from .._hub.turn import cannot_switch
from .._kernel import syscalls
from .._kernel.disk_pool import Job
from .._kernel.locks import is_locked
from .._kernel.signals import moved_before
from .._kernel.storage import SLOW, Storage

_log = logging.getLogger("gzc")


#: The user that a duplicate is made for.
RUN = "run"


class Duplicate:
    """One more descriptor of an open file, closed when its last user has left; ``is_open`` unless dup(2) failed."""

    __slots__ = ("__weakref__", "_open", "_users", "is_open")

    _open: list[int]
    _users: set[object]

    def __new__(cls, _fd: int) -> Duplicate:
        self = super().__new__(cls)
        self._users, self._open = {RUN}, []
        return self

    def __init__(self, fd: int) -> None:
        _all.add(self)
        # EMFILE is no failure, and EBADF the call itself tells.
        self.is_open = syscalls.duplicate(fd, self._open) == 0

    @property
    def fd(self) -> int:
        return self._open[0]

    def enter(self, user: object) -> None:
        """Keep it open until ``user`` leaves. Only while another user is there."""
        self._users.add(user)

    def leave(self, user: object) -> None:
        """``user`` needs it no more; who leaves last closes it, which may take as long as the storage does.

        :raises OSError: what close(2) says, as EDQUOT and EIO of NFS: nobody else is told.
        """
        self._users.discard(user)
        if self._users or not self._open:
            return
        try:
            if is_locked(self._open[0]):
                syscalls.hand_over(self._open, _kept)
                _watch_kept()
            else:
                syscalls.close_popped(self._open)
        except IndexError:  # two have left at once, and the other one closes it
            return

    def __del__(self) -> None:  # a signal handler interrupted its making, or its users' leaving
        self._users.clear()
        self.leave(RUN)

    def drop(self) -> None:
        """Close it in a forked child, which has the descriptor, but neither the threads nor the locks."""
        while self._open:
            syscalls.close(self._open.pop())


_all: WeakSet[Duplicate] = WeakSet()

# Those that could not be closed for a lock that was taken meanwhile: closed once it is gone, at the latest when the
# program closes its own descriptor of the file.
_kept: list[int] = []

#: Seconds between two looks at whether a lock is gone for whose sake a duplicate is open.
INTERVAL = 1.0

# A native thread looks: it needs no hub, and a close may take as long as the storage does.
_start_thread = monkey.get_original("_thread", "start_new_thread")
_sleep = monkey.get_original("time", "sleep")
_lock = monkey.get_original("_thread", "allocate_lock")()
_watching = False


def _watch_kept() -> None:
    global _watching
    with _lock:
        if not _kept or _watching:
            return
        try:
            _start_thread(_wait_for_locks, ())
            _watching = True
        except RuntimeError:  # no thread to be had now; the next copy that has a duplicate tries again
            pass


def _wait_for_locks() -> None:
    global _watching
    while True:
        _sleep(INTERVAL)
        for fd in tuple(_kept):
            if not is_locked(fd):
                _kept.remove(fd)
                with contextlib.suppress(OSError):
                    syscalls.close(fd)
        with _lock:
            if not _kept:
                _watching = False
                return


class Lender:
    """A file whose descriptor threads may use: by one duplicate, for as long as a run lasts."""

    fileno: Callable[[], int]
    storage: Storage
    _duplicate: Duplicate | None = None

    def lend(self) -> Duplicate | None:
        """The duplicate; None where the hub must make the call: a lock is held, or no descriptor is to be had."""
        if self._duplicate is None:
            if self._is_locked(self.fileno()):
                return None
            duplicate = Duplicate(self.fileno())  # asked again: others may have run meanwhile
            if not duplicate.is_open:
                return None
            self._duplicate = duplicate
        return self._duplicate

    def _is_locked(self, fd: int) -> bool:
        if self.storage not in SLOW:
            return is_locked(fd)
        return bool(Job().run(is_locked, fd))  # such storage may be slow to tell, too

    def lent_another(self) -> bool:
        """Whether dup2(2) has put another file below the object since the duplicate was made."""
        if self._duplicate is None:
            return False
        fds = self.fileno(), self._duplicate.fd
        if self.storage not in SLOW:
            return not os.path.sameopenfile(*fds)
        with contextlib.suppress(OSError):  # no /proc
            one, other = (os.readlink(f"/proc/self/fd/{fd}") for fd in fds)  # which the storage is not asked for
            return one != other
        return False

    def take_back(self, *, wait: bool) -> None:
        """Close the duplicate, unless a lock is held or a thread still has it.

        :param wait: for the storage, and for what it says; else that is only logged.
        :raises OSError: what close(2) says of bytes that it could not write.
        """
        duplicate, self._duplicate = self._duplicate, None
        if duplicate is None:
            return
        if self.storage not in SLOW or cannot_switch():
            duplicate.leave(RUN)
        elif wait:
            try:
                Job().run(duplicate.leave, RUN)
            except BaseException:  # perhaps before a thread came to it
                gevent.spawn(_leave_late, duplicate)
                raise
        else:
            gevent.spawn(_leave_late, duplicate)


def _leave_late(duplicate: Duplicate) -> None:
    try:
        Job().run(duplicate.leave, RUN)
    except OSError as exc:
        _log.info("closing a duplicate of a descriptor: %r", exc)


class Offload:
    """An object whose calls may have to go to the pool."""

    job: Job | None = None

    def call(self, inline: bool, call: Callable[..., Any], fds: tuple[int | Lender, ...], *args: Any) -> Any:
        """``call(*fds, *args)``, here when it cannot block or holds nobody up, else in the pool.

        A thread gets a dup(2) of a ``Lender``'s descriptor. A number is passed as it is: the caller must see to it that
        nobody closes it meanwhile.
        """
        if not inline and not cannot_switch():
            lent = self.lent_by(*fds)
            if lent is not None:
                self.job = Job([one for one in lent if isinstance(one, Duplicate)])
                return self.job.run(call, *(one if isinstance(one, int) else one.fd for one in lent), *args)
        self.job = None
        return call(*(fd if isinstance(fd, int) else fd.fileno() for fd in fds), *args)

    def lent_by(self, *fds: int | Lender) -> list[int | Duplicate] | None:
        """What a thread may have of each; None if one lends nothing, and the hub must make the call."""
        self.job = job = Job()
        job.result = 0  # an interruption while the ends are asked has moved nothing
        lent: list[int | Duplicate] = []
        for fd in fds:
            one = fd if isinstance(fd, int) else fd.lend()
            if one is None:
                return None
            lent.append(one)
        return lent

    def still_running(self) -> bool:
        """Whether the last call has not come back, and its waiting was given up."""
        return self.job is not None and self.job.result is None

    def late(self, exc: BaseException) -> int | None:
        """What the last call moved although ``exc`` interrupted it; None when nobody can know."""
        if self.job is None:
            return moved_before(exc)
        return None if self.job.result is None else max(self.job.result, 0)


def forget() -> None:
    """In a forked child, which has the descriptors, but neither the threads nor the locks."""
    global _lock, _watching
    _lock, _watching = monkey.get_original("_thread", "allocate_lock")(), False
    for duplicate in list(_all):
        duplicate.drop()
    while _kept:
        syscalls.close(_kept.pop())
