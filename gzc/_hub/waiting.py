"""Waiting in the hub for an end, on its owner's watcher: gevent's private names are used in this wing alone."""

from __future__ import annotations

import errno
import os
from typing import Any

import gevent
from gevent import get_hub, monkey
from gevent._fileobjectposix import GreenFileDescriptorIO  # type: ignore[import-not-found]
from gevent._hub_primitives import wait_on_watcher

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


def check(owner: Any, direction: str) -> None:
    """Refuse, before a byte moves, a socket or a FileObject's raw object that this greenlet could not wait on.

    :raises Error: it belongs to another thread, or this is the hub itself.
    :raises BusyError: another greenlet waits on it.
    """
    hub = get_hub()
    if owner.hub is not hub:
        raise Error(f"{owner!r} belongs to the hub of another thread")
    if gevent.getcurrent() is hub:
        raise Error("a copy may have to wait, and the hub itself cannot: run it in a greenlet")
    names = _FILE_WATCHER if isinstance(owner, GreenFileDescriptorIO) else _WATCHER
    watcher = getattr(owner, names[direction])
    if watcher is not None and watcher.callback is not None:
        raise BusyError(f"another greenlet is waiting on {owner!r} for {direction}")


def check_file(raw: Any, direction: str) -> None:
    """``check`` where ``raw`` is a FileObject's; a plain file object has no watcher that somebody could wait on."""
    if isinstance(raw, GreenFileDescriptorIO):
        check(raw, direction)
