"""Calls that may have to go to the pool, and the descriptors that threads get for them.

A file may be closed while a job waits for its thread, and its number be another file's when the call begins (hard case
G1): so what a thread writes to needs a descriptor of its own. But to close one drops every POSIX lock that this process
has on the file, and is a FLUSH on FUSE and NFS (M24). Reading needs none: see ``FileEnd.look``.

Rules of this file: one duplicate of a file for a whole run; none is closed while this process may hold a lock.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import gevent

from . import _hub, _syscalls
from ._disk import SLOW, Job, Storage

_log = logging.getLogger("gzc")


#: The user that a duplicate is made for.
RUN = "run"


class Duplicate:
    """One more descriptor of an open file, closed when the last of its users has left.

    :raises OSError: EMFILE, EBADF.
    """

    __slots__ = ("__weakref__", "_open", "_users")

    def __init__(self, fd: int) -> None:
        self._users: set[object] = {RUN}
        self._open: list[int] = []
        _all.add(self)
        _syscalls.duplicate(fd, self._open)

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
        if self._users:
            return
        try:
            fd = self._open.pop()  # one atomic step: two may leave at once
        except IndexError:
            return
        if _syscalls.is_locked(fd):
            _kept.append(fd)
        else:
            _syscalls.close(fd)

    def __del__(self) -> None:  # a signal handler struck before anybody had it, or nobody came to leave it
        self._users.clear()
        self.leave(RUN)

    def drop(self) -> None:
        """Close it in a forked child, which has the descriptor, but neither the threads nor the locks."""
        while self._open:
            _syscalls.close(self._open.pop())


_all: WeakSet[Duplicate] = WeakSet()

# Those that could not be closed for a lock: closed once it is gone, at the latest when the program closes its own
# descriptor of the file.
_kept: list[int] = []


def _close_kept() -> None:
    """Close those whose lock is gone, which may take as long as the storage does."""
    for fd in tuple(_kept):
        if not _syscalls.is_locked(fd):
            _kept.remove(fd)
            _syscalls.close(fd)


class Lender:
    """A file whose descriptor threads may use: by one duplicate, for as long as a run lasts."""

    fileno: Callable[[], int]
    storage: Storage
    _duplicate: Duplicate | None = None

    def lend(self) -> Duplicate | None:
        """The duplicate; None where the hub must make the call: a lock is held, or no descriptor is to be had."""
        if self._duplicate is None:
            fd = self.fileno()
            # Slow storage may be slow to tell, too, and must not stop the hub: its duplicate is kept if need be.
            if self.storage not in SLOW and _syscalls.is_locked(fd):
                return None
            try:
                self._duplicate = Duplicate(fd)
            except OSError as exc:  # EMFILE: no reason to fail; EBADF, which the call says itself
                if _syscalls.struck(exc):
                    raise
                return None
        return self._duplicate

    def take_back(self, *, wait: bool) -> None:
        """Close the duplicate, unless a lock is held or a thread still has it.

        :param wait: for the storage, and for what it says; else that is only logged.
        :raises OSError: what close(2) says of bytes that it could not write.
        """
        duplicate, self._duplicate = self._duplicate, None
        if duplicate is None:
            return
        if self.storage not in SLOW or _hub.alone():
            duplicate.leave(RUN)
        elif wait:
            try:
                Job().run(duplicate.leave, RUN)
            except BaseException:  # perhaps before a thread came to it
                gevent.spawn(_leave_late, duplicate)
                raise
        else:
            gevent.spawn(_leave_late, duplicate)
        _watch_kept()


def _leave_late(duplicate: Duplicate) -> None:
    try:
        Job().run(duplicate.leave, RUN)
    except OSError as exc:
        _log.info("closing a duplicate of a descriptor: %r", exc)
    _watch_kept()


#: Seconds between two looks at whether a lock is gone for whose sake a duplicate is open.
INTERVAL = 1.0
_watching = False


def _watch_kept() -> None:
    global _watching
    if _kept and not _watching and not _hub.alone():
        _watching = True
        gevent.spawn(_wait_for_locks)


def _wait_for_locks() -> None:
    global _watching
    try:
        while _kept:
            gevent.sleep(INTERVAL, ref=False)
            Job().run(_close_kept)
    finally:
        _watching = False


class Doer:
    """Whoever makes calls that may have to go to the pool."""

    job: Job | None = None

    def do(self, inline: bool, call: Callable[..., Any], fds: tuple[int | Lender, ...], *args: Any) -> Any:
        """``call(*fds, *args)``, here when it cannot block or holds nobody up, else in the pool.

        For a thread a file lends a duplicate of its descriptor; a number stays what it is, and the caller must see to
        that, or mind what came of it.
        """
        lent: list[Duplicate] = []
        numbers: list[int] = []
        inline = inline or _hub.alone()
        for fd in fds:
            if isinstance(fd, int):
                numbers.append(fd)
            elif not inline and (duplicate := fd.lend()) is not None:
                lent.append(duplicate)
                numbers.append(duplicate.fd)
            else:
                inline = True
                numbers.append(fd.fileno())
        if inline:
            self.job = None
            return call(*numbers, *args)
        self.job = Job(lent)
        return self.job.run(call, *numbers, *args)

    def out(self) -> bool:
        """Whether the last call has not come back, and its waiting was given up."""
        return self.job is not None and self.job.result is None

    def late(self) -> int | None:
        """What an interrupted call moved all the same; None when nobody can know."""
        return None if self.job is None else self.job.result


def _forked() -> None:
    for duplicate in list(_all):
        duplicate.drop()
    while _kept:
        _syscalls.close(_kept.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
