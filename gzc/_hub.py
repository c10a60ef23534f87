"""Waiting on the owner's watcher, sharing a hub's turn, and one transfer per end and direction.

Rules of this file: the only home of gevent's private names. It never moves a byte.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import gevent
from gevent import get_hub, monkey
from gevent import socket as gsocket
from gevent._fileobjectcommon import cancel_wait_ex as file_cancel_wait_ex
from gevent._fileobjectposix import GreenFileDescriptorIO
from gevent._hub_primitives import wait_on_watcher

from . import _syscalls
from ._config import config
from ._errors import BusyError, Error

READ, WRITE = "reading", "writing"

_WATCHER = {READ: "_read_event", WRITE: "_write_event"}
_FILE_WATCHER = {READ: "_read_watcher", WRITE: "_write_watcher"}
_POLL = {READ: 0x001, WRITE: 0x004}  # POLLIN, POLLOUT

# gevent replaces or removes it; a question that does not wait needs the real one.
_poll = monkey.get_original("select", "poll")

# One exception object each, shared by every wait gevent ever cancels on a socket or a FileObject. Hanging a
# transfer on it would keep that transfer's socket alive for good and show it to strangers, so a fresh one of
# the same kind goes up.
_SHARED = (gsocket.cancel_wait_ex, file_cancel_wait_ex)


def wait(sock: Any, direction: str) -> None:
    """Wait in the hub until ``sock`` is ready, no longer than its own timeout.

    On the socket's own watcher: it is the one that ``close()`` in another greenlet cancels with EBADF,
    while a private watcher for the same number would wake up "ready" on somebody else's descriptor.

    :raises BlockingIOError: the socket's timeout is 0, as ``recv`` would.
    :raises TimeoutError: the socket's timeout passed.
    :raises OSError: EBADF, the socket was closed meanwhile.
    """
    if sock.timeout == 0.0:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    watcher = getattr(sock, _WATCHER[direction])
    if watcher is None:  # closed; gevent would call it "already used by another greenlet"
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    try:
        sock._wait(watcher)
    except OSError as exc:
        raise _own(exc) from None


def wait_file(raw: Any, fd: int, direction: str) -> None:
    """Wait in the hub until ``fd``, the descriptor of ``raw``, is ready: on a FileObject's own watcher.

    A plain file object over a pipe has none. Then a watcher of our own must do, and after it the descriptor
    is asked for again, which raises when the file was closed meanwhile.
    """
    if not isinstance(raw, GreenFileDescriptorIO):
        (gsocket.wait_read if direction == READ else gsocket.wait_write)(fd)
        return
    watcher = getattr(raw, _FILE_WATCHER[direction])
    if watcher is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    try:
        wait_on_watcher(watcher, None, None, raw.hub)
    except OSError as exc:
        raise _own(exc) from None


def _own(exc: OSError) -> OSError:
    return type(exc)(*exc.args) if exc in _SHARED else exc


def ready(fd: int, direction: str) -> bool:
    """Whether poll(2) calls ``fd`` ready at this moment."""
    poller = _poll()
    poller.register(fd, _POLL[direction])
    return bool(poller.poll(0))


def check_socket(sock: Any, direction: str) -> None:
    """Refuse, before a byte moves, a socket that this greenlet could not wait on."""
    _check(sock, getattr(sock, _WATCHER[direction]), direction)


def check_file(raw: Any, direction: str) -> None:
    """The same for the raw object of a FileObject."""
    if isinstance(raw, GreenFileDescriptorIO):
        _check(raw, getattr(raw, _FILE_WATCHER[direction]), direction)


def _check(owner: Any, watcher: Any, direction: str) -> None:
    hub = get_hub()
    if owner.hub is not hub:
        raise Error(f"{owner!r} belongs to the hub of another thread")
    if gevent.getcurrent() is hub:
        raise Error("a copy may have to wait, and the hub itself cannot: run it in a greenlet")
    if watcher is not None and watcher.callback is not None:
        raise BusyError(f"another greenlet is waiting on {owner!r} for {direction}")


class Turn:
    """The share of one loop iteration that all transfers of a hub may use together.

    N transfers that may each hold the hub for 5 ms would be 5N ms of delay for everybody else, so the
    deadline belongs to the iteration, not to the transfer. Whoever comes after it still makes one step.
    """

    __slots__ = ("_deadline", "_hub", "_ready_fd", "_stamp", "_stamps")

    def __init__(self, hub: Any) -> None:
        loop = hub.loop
        # libuv does not count its iterations; its clock stands still within one.
        self._stamps = (lambda: loop.iteration) if loop.iteration >= 0 else loop.now
        self._stamp: float = -1
        self._deadline = 0.0
        self._ready_fd = -1

    def over(self, now: float) -> bool:
        """Whether the budget of this iteration is spent, at ``time.monotonic()`` ``now``."""
        stamp = self._stamps()
        if stamp != self._stamp:
            self._stamp = stamp
            self._deadline = now + config.hub_budget
            return False
        return now >= self._deadline

    def breathe(self) -> None:
        """Let the loop run once: look at I/O and timers, then come back.

        ``gevent.sleep(0)`` would not: gevent runs up to 50 callbacks before it looks at the loop, which
        left gaps of 60 to 160 ms under bulk copies. A short timer sleeps out libev's minimum (0.4 ms
        each, measured) where nothing else is going on. A descriptor that is always ready costs 2 us.
        """
        if self._ready_fd < 0:
            try:
                self._ready_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            except (AttributeError, OSError):  # not Linux, or no descriptor to be had
                gevent.sleep(1e-6)
                return
        gsocket.wait_write(self._ready_fd)

    def __del__(self, _close: Callable[[int], None] = _syscalls.close) -> None:
        if self._ready_fd >= 0:
            _close(self._ready_fd)


_turns: WeakKeyDictionary[Any, Turn] = WeakKeyDictionary()


def turn() -> Turn:
    """The turn of this thread's hub."""
    hub = get_hub()
    found = _turns.get(hub)
    if found is None:
        found = _turns[hub] = Turn(hub)
    return found


# (id of the end, direction) -> the transfer that holds it. The transfer keeps the end alive, so the id
# stays true; ``setdefault`` is one atomic step also between native threads.
_claims: dict[tuple[int, str], object] = {}


def claim(end: object, direction: str, holder: object) -> tuple[int, str]:
    """Take ``end`` in one direction for ``holder``; give the result to ``release``.

    Two greenlets that move bytes through one end steal each other's bytes without any error, since
    gevent notices only when both *wait* (hard case B16).

    :raises BusyError: somebody else holds it.
    """
    key = (id(end), direction)
    if _claims.setdefault(key, holder) is not holder:
        raise BusyError(f"another transfer is {direction} {end!r}")
    return key


def release(key: tuple[int, str], holder: object) -> None:
    """Give back what ``claim`` took."""
    if _claims.get(key) is holder:
        del _claims[key]


# The greenlets that hold claims do not exist in a forked child, or must not go on there (M19).
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_claims.clear)
