"""``os.sendfile``, ``os.splice`` and ``os.copy_file_range`` (opt-in).

A descriptor number does not say whether its owner wants to wait: asyncio and pyftpdlib call ``os.sendfile`` on
sockets of their own and expect EAGAIN, and a call that waits would freeze them. So only the descriptors of gevent
sockets that would wait in ``send`` wait here, too: those with a timeout other than 0, of this thread's hub.
``os.copy_file_range`` never answers EAGAIN; what it waits for is storage, and that it does in gzc's pool.

A call that is not known to be on one of gevent's sockets goes straight to the original. gzc bound its own calls to the
originals before this seam could be in force.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import WeakValueDictionary

import gevent
from gevent import socket as gsocket
from gevent._hub_local import get_hub_if_exists

import gzc

from .._row import Row

#: EAGAINs in a row from a socket that poll calls ready, before one is passed on: then it is the pipe's.
_PATIENCE = 3

_NONBLOCK = getattr(os, "SPLICE_F_NONBLOCK", 0)

#: Whose descriptor a number was when the socket was made; the socket is asked whether it still is.
_owners: WeakValueDictionary[int, gsocket.socket] = WeakValueDictionary()


def socket_init(original: Callable[..., None]) -> Callable[..., None]:
    """The replacement of gevent's ``socket.__init__``: it notes whose descriptor it is."""
    for one in gc.get_objects():  # those that were made before us
        if issubclass(type(one), gsocket.socket):
            with contextlib.suppress(Exception):  # half made, in another thread
                _owners[one.fileno()] = one

    @wraps(original)
    def __init__(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        _owners[self.fileno()] = self

    return __init__


def _waiting(fd: object, end: Callable[[Any], Any]) -> Any:
    """The end over the gevent socket that ``fd`` belongs to, if this greenlet may wait for it; else None."""
    owner: Any = _owners.get(fd) if issubclass(type(fd), int) else None  # type: ignore[call-overload]
    try:
        if owner is None or owner.fileno() != fd or owner.timeout == 0.0:
            return None
        if _cannot_wait() or owner.hub is not get_hub_if_exists():
            return None
        described = end(owner)
    except Exception:  # noqa: BLE001 - a subclass of anybody's, which os does not ask
        return None
    return described if described.kind is gzc.Kind.STREAM else None  # not TLS, not datagrams


def _cannot_wait() -> bool:
    """Whether this is a thread without a hub, or the hub itself."""
    hub = get_hub_if_exists()
    return hub is None or gevent.getcurrent() is hub


def _until_answered(call: Callable[[], int], socket: Any) -> int:
    """``call`` until it answers something else than EAGAIN, or the socket is not to blame for that."""
    doubts = 0
    while True:
        try:
            return call()
        except BlockingIOError:
            doubts = doubts + 1 if socket.ready() else 0
            if doubts >= _PATIENCE:
                raise
            if not doubts:
                socket.wait()


def sendfile(original: Callable[..., int]) -> Callable[..., int]:
    """The replacement of ``os.sendfile``: at most ``config.chunk`` bytes, once the socket takes some."""

    @wraps(original)
    def sendfile(out_fd: int, in_fd: int, offset: int | None, count: int) -> int:
        socket = _waiting(out_fd, gzc.sink)
        if socket is None:
            return original(out_fd, in_fd, offset, count)
        # A peer that keeps up would let one call hold the hub for as long as it lasts.
        return _until_answered(lambda: original(out_fd, in_fd, offset, min(count, gzc.config.chunk)), socket)

    return sendfile


def splice(original: Callable[..., int]) -> Callable[..., int]:
    """The replacement of ``os.splice``: it waits for the socket; for the pipe, too, where that is in blocking mode."""

    @wraps(original)
    def splice(
        src: int, dst: int, count: int, offset_src: int | None = None, offset_dst: int | None = None, flags: int = 0
    ) -> int:
        receiving = _waiting(src, gzc.source)
        socket = receiving or _waiting(dst, gzc.sink)
        if socket is None:
            return original(src, dst, count, offset_src, offset_dst, flags)
        if flags & _NONBLOCK or not os.get_blocking(dst if receiving else src):  # its EAGAIN is the caller's affair
            return _until_answered(lambda: original(src, dst, count, offset_src, offset_dst, flags), socket)
        return gzc.splice(receiving or src, dst if receiving else socket, count, offset_src, offset_dst)

    return splice


def copy_file_range(original: Callable[..., int]) -> Callable[..., int]:
    """The replacement of ``os.copy_file_range``: in gzc's pool, where there are other greenlets to run meanwhile."""

    @wraps(original)
    def copy_file_range(
        src: int, dst: int, count: int, offset_src: int | None = None, offset_dst: int | None = None
    ) -> int:
        offsets = (offset for offset in (offset_src, offset_dst) if offset is not None)
        wrong = any(type(n) is not int or n < 0 for n in (src, dst, count, *offsets))
        if wrong or _cannot_wait():
            return original(src, dst, count, offset_src, offset_dst)  # which says what is wrong
        return gzc.copy_file_range(src, dst, count, offset_src, offset_dst)

    return copy_file_range


_PAIR = frozenset({"src", "dst", "count", "offset_src", "offset_dst"})
_CALLS = (
    ("sendfile", sendfile, frozenset({"out_fd", "in_fd", "offset", "count"})),
    ("splice", splice, _PAIR | {"flags"}),
    ("copy_file_range", copy_file_range, _PAIR),
)

ROWS = (
    Row(
        *("gevent.socket", "socket.__init__", socket_init),
        knows=frozenset({"_gevent_sock_class", "fileno", "hub", "timeout"}),
        eager=True,
    ),
    # gevent.os has copies of all names of os.
    *(Row(module, *call, eager=True) for module in ("os", "gevent.os") for call in _CALLS),
)
