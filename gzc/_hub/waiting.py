"""Waiting on the owner's watcher, sharing a hub's turn, and one transfer per end and direction.

Rules of this file: the only home of gevent's private names. It never moves a byte.
"""

from __future__ import annotations

import errno
import os
from functools import partial
from typing import Any

import gevent
from gevent import get_hub, monkey
from gevent._fileobjectposix import GreenFileDescriptorIO  # type: ignore[import-not-found]
from gevent._hub_local import get_hub_if_exists
from gevent._hub_primitives import wait_on_watcher

from .._config import config
from .._errors import BusyError, Error

_TYPE = 0xF  # without SOCK_NONBLOCK and SOCK_CLOEXEC, linux/net.h SOCK_TYPE_MASK

READ, WRITE = "reading", "writing"

_WATCHER = {READ: "_read_event", WRITE: "_write_event"}
_FILE_WATCHER = {READ: "_read_watcher", WRITE: "_write_watcher"}
_POLL = {READ: 0x001, WRITE: 0x004}  # POLLIN, POLLOUT
_EVENT = {READ: 1, WRITE: 2}  # of a loop's io watcher

# gevent replaces or removes it; a question that does not wait needs the real one.
_poll = monkey.get_original("select", "poll")


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
    sock._wait(watcher)


def socket_of(raw: Any) -> Any:
    """The socket that a ``makefile`` object (``socket.SocketIO``) reads and writes.

    :raises ValueError: the file was closed.
    """
    if raw.closed:
        raise ValueError("I/O operation on closed file")
    return raw._sock


def family_and_type(sock: Any) -> tuple[int, int]:
    """The socket's family and type as plain numbers: as enums, which gevent makes anew each time, they cost more."""
    native = sock._sock
    return native.family, native.type & _TYPE


def wait_file(raw: Any, fd: int, direction: str) -> None:
    """Wait in the hub until ``fd``, the descriptor of ``raw``, is ready: on a FileObject's own watcher.

    A plain file object over a pipe has none. Then a watcher of our own must do, and after it the descriptor
    is asked for again, which raises when the file was closed meanwhile.
    """
    if not isinstance(raw, GreenFileDescriptorIO):
        wait_fd(fd, direction)
        return
    watcher = getattr(raw, _FILE_WATCHER[direction])
    if watcher is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    wait_on_watcher(watcher, hub=raw.hub)


def wait_fd(fd: int, direction: str) -> None:
    """Wait in the hub until ``fd`` is ready; nobody may close it meanwhile. Its flags stay as they are."""
    hub, blocking = get_hub(), os.get_blocking(fd)
    watcher = hub.loop.io(fd, _EVENT[direction])
    try:
        if os.get_blocking(fd) is not blocking:
            os.set_blocking(fd, blocking)  # libuv sets O_NONBLOCK on what it is to watch
        hub.wait(watcher)
    finally:
        watcher.close()


def ready(fd: int, direction: str) -> bool:
    """Whether poll(2) calls ``fd`` ready at this moment."""
    poller = _poll()
    poller.register(fd, _POLL[direction])
    return bool(poller.poll(0))


def check_socket(sock: Any, direction: str) -> None:
    """Refuse, before a byte moves, a socket that this greenlet could not wait on.

    :raises Error: it belongs to another thread, or this is the hub itself.
    :raises BusyError: another greenlet waits on it.
    """
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

    __slots__ = ("_runner", "_stamp", "_stamps", "deadline")

    def __init__(self, loop: Any) -> None:
        # libuv does not count its iterations; its clock stands still within one.
        self._stamps = partial(getattr, loop, "iteration") if loop.iteration >= 0 else loop.now
        self._stamp: float = -1
        self._runner = 0
        #: ``time.monotonic()`` at which the budget of the iteration last asked about is spent.
        self.deadline = 0.0

    def enter(self, now: float) -> float:
        """The deadline of a transfer that begins ``now``: past if it has to give way first, 0 if it is to ask later.

        A loop of short copies shares one turn; a greenlet that comes fresh makes its first step at once.
        """
        me = id(gevent.getcurrent())
        before, self._runner = self._runner, me
        if before != me:
            return 0.0
        self.over(now)
        return self.deadline

    def over(self, now: float) -> bool:
        """Whether the budget of this iteration is spent, at ``time.monotonic()`` ``now``."""
        stamp = self._stamps()
        if stamp != self._stamp:
            self._stamp = stamp
            self.deadline = now + config.hub_budget
            return False
        return now >= self.deadline


def breathe() -> None:
    """Let the loop run once: look at I/O and timers, then come back.

    ``gevent.sleep(0)`` would not: gevent runs up to 50 callbacks before it looks at the loop, which left gaps
    of 60 to 160 ms under bulk copies. A short timer sleeps out libev's minimum, 0.4 ms each where nothing else
    is going on. A check watcher, with an idle one to keep the loop from sleeping, costs 2 us.
    """
    hub = get_hub()
    idle, check = hub.loop.idle(), hub.loop.check()
    try:
        idle.start(int)  # anything: it is stopped before it would be called
        hub.wait(check)
    finally:
        idle.stop()
        idle.close()
        check.close()


def alone() -> bool:
    """Whether there is nobody to give way to: a thread without a hub, or the hub itself, which cannot wait."""
    hub = get_hub_if_exists()
    return hub is None or gevent.getcurrent() is hub


def turn() -> Turn | None:
    """The turn of this thread's hub, kept on it, so that both go together; None when ``alone``."""
    hub: Any = get_hub_if_exists()
    if hub is None or gevent.getcurrent() is hub:
        return None
    try:
        found: Turn = hub._gzc_turn
    except AttributeError:
        found = hub._gzc_turn = Turn(hub.loop)
    return found


# (id of the end, direction) -> the claims of the transfer that holds it. The transfer keeps the end alive, so
# the id stays true; ``setdefault`` is one atomic step also between native threads.
_claims: dict[tuple[int, str], object] = {}


class Claims:
    """The ends that one transfer holds, each in one direction. The table keeps this, so that a transfer can be freed.

    Two greenlets that move bytes through one end steal each other's bytes without any error, since gevent notices
    only when both *wait* (hard case B16).
    """

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: list[tuple[int, str]] = []

    def take(self, end: object, direction: str) -> None:
        """Take ``end``.

        :raises BusyError: somebody else holds it.
        """
        key = (id(end), direction)
        self._keys.append(key)
        if _claims.setdefault(key, self) is not self:
            raise BusyError(f"another transfer is {direction} {end!r}")

    def release(self) -> None:
        """Give back what was taken."""
        for key in self._keys:
            if _claims.get(key) is self:
                del _claims[key]
        self._keys.clear()


#: Counts the forks this process is away from where gzc was loaded. A greenlet that was moving bytes when the
#: process forked wakes up in the child, too, with the same sockets (M19).
generation = 0


def _forked() -> None:
    global generation
    generation += 1
    _claims.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
