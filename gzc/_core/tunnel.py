"""``tunnel``: two transfers back to back, with half-close."""

from __future__ import annotations

import errno
import socket as native
from time import monotonic
from typing import Any

import gevent
from gevent import socket as gsocket

from .._ends.wrappers import observe
from .._errors import Error
from .interruption import sign
from .transfer import Transfer


def tunnel(a: Any, b: Any, *, idle_timeout: float | None = None) -> tuple[int, int]:
    """Move bytes between two sockets in both directions until both have ended.

    End of file on one side shuts down writing on the other, once everything is delivered; the other
    direction goes on. An error in one direction ends the other. An idle tunnel holds no pipe. Over TLS there
    is no half-close: there the first end of file ends the tunnel.

    :param idle_timeout: seconds without a byte in either direction after which to give up.
    :returns: the bytes moved a to b, and b to a.
    :raises TimeoutError: idle for too long.
    :raises OSError: as the kernel said it. ``gzc.transfers_of(exc)`` has both directions.
    """
    if a is b:
        raise Error("a tunnel needs two ends; gzc.copy(conn, conn) is an echo server")
    if idle_timeout is not None and idle_timeout <= 0:
        raise ValueError(f"idle_timeout must be positive (got {idle_timeout!r})")
    last = monotonic()

    def moved(_: int) -> None:
        nonlocal last
        last = monotonic()

    there, back = Transfer(observe(a, moved), b), Transfer(observe(b, moved), a)
    interrupted = [there, back]
    ways = [gevent.spawn(_one_way, there, b), gevent.spawn(_one_way, back, a)]
    try:
        running = list(ways)
        while running:
            left = None if idle_timeout is None else last + idle_timeout - monotonic()
            if left is not None and left <= 0:
                raise TimeoutError(f"no byte in either direction for {idle_timeout} seconds")
            for way in gevent.wait(running, timeout=left, count=1):
                running.remove(way)
                ended = way.get()
                if isinstance(ended, BaseException):
                    if way is ways[1]:
                        interrupted.reverse()  # the one it interrupted comes first
                    raise ended
                if not ended:
                    gevent.killall(ways)  # a running transfer's count is not settled
                    return there.moved, back.moved
    except BaseException as exc:
        gevent.killall(ways)
        sign(exc, *interrupted)
        raise
    finally:
        gevent.killall(ways)
    return there.moved, back.moved


def _one_way(transfer: Transfer, sink: Any) -> bool | BaseException:
    """Run one direction and pass its end of file on: whether the other direction can go on.

    What ended it is returned, not raised: it is the tunnel's caller who is to hear it.
    """
    try:
        transfer.run()
        if type(sink).shutdown is not gsocket.socket.shutdown:
            return False  # shutdown of a TLS socket drops its encryption, in both directions
        try:
            sink.shutdown(native.SHUT_WR)
        except OSError as exc:
            if exc.errno not in (errno.ENOTCONN, errno.EBADF):
                raise
    except BaseException as exc:  # noqa: BLE001 - carried over to the caller
        return exc
    return True
