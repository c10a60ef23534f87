"""``gevent.socket.socket.sendfile``, and the private method by which the standard library's tests call it.

gevent's method in its exact meaning: it starts at the file's current position when ``offset`` is 0, each
wait has the socket's timeout, and the same ValueErrors are raised. Two things differ: the final position is
right also when ``offset`` was 0 (gevent seeks to ``0 + sent`` from wherever it began), and a file that
cannot seek is left alone instead of failing after everything was sent.

What gevent refuses is refused, in gevent's words. What gzc does not know goes gevent's way.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Callable
from functools import wraps
from time import monotonic
from typing import Any

from gevent import socket as gsocket
from gevent import ssl as gssl

import gzc

from .. import _fast_prefix, _turns

_log = logging.getLogger("gzc")

#: Bytes per step where the old way is kept: larger than what ``gzc.config.small`` may be set to is not needed.
STEP = 64 * 1024

SendFile = Callable[..., int]

#: Sockets whose ``sendall`` is a loop over their ``send``: gevent's own classes, and what only overrides ``send``.
_SENDALLS = (gsocket.socket.sendall, gssl.SSLSocket.sendall)


def sendfile(original: SendFile) -> SendFile:
    """The replacement: sendfile(2) for a plain file on a plain socket, larger steps for everything else."""

    @wraps(original)
    def sendfile(self: Any, file: Any, offset: int = 0, count: int | None = None) -> int:
        self._check_sendfile_params(file, offset, count)
        if self.gettimeout() == 0:
            raise ValueError("non-blocking sockets are not supported")
        if offset:
            file.seek(offset)
        # One read and one send, with nothing to set up: a 1 KiB response has no time for more.
        if count is not None and count <= gzc.config.small:
            return _send_in_steps(self, file, offset, count)
        if getattr(self.sendall, "__func__", None) not in _SENDALLS or not hasattr(file, "read"):
            return _send_in_steps(self, file, offset, count)  # not ours, or gevent's to refuse
        start = _start(file, offset)
        transfer = _fast_prefix.attempt(file, self, count)
        if transfer is None:
            return _send_in_steps(self, file, offset, count)
        if count is not None and transfer.plan.source.kind is gzc.Kind.OPAQUE:
            return _send_in_steps(self, file, offset, count)  # it may give more than it is asked for
        try:
            return transfer._run()
        except BaseException as exc:
            if isinstance(exc, gzc.Error) and transfer not in gzc.transfers_of(exc):
                return _send_in_steps(self, file, offset, count)  # refused before a byte moved: claimed
            if transfer.in_flight:  # read from a file that only has methods, and not sent
                lost = transfer.reclaim()
                if start is not None:
                    _go_to(file, start + transfer.moved)
                else:
                    _log.info("%d bytes read from %r were not sent: %r", len(lost), file, exc)
            raise

    return sendfile


def use_sendfile(original: SendFile) -> SendFile:
    """The replacement of ``_sendfile_use_sendfile``, where gevent always gives up; CPython's own tests call it."""

    @wraps(original)
    def _sendfile_use_sendfile(self: Any, file: Any, offset: int = 0, count: int | None = None) -> int:
        self._check_sendfile_params(file, offset, count)
        try:
            mode = os.fstat(file.fileno()).st_mode
        except (AttributeError, OSError):
            return original(self, file, offset, count)
        if not stat.S_ISREG(mode):
            return original(self, file, offset, count)
        # Not what a class below overrides: that may call this.
        return int(gsocket.socket.sendfile(self, file, offset, count))

    return _sendfile_use_sendfile


def _start(file: Any, offset: int) -> int | None:
    """Where reading begins, if one can go back to it; gevent does not ask, so every exception means "no" (R2)."""
    if offset:
        return offset
    try:
        able = file.seekable() if hasattr(file, "seekable") else hasattr(file, "seek")
        return (file.tell() if hasattr(file, "tell") else 0) if able else None
    except Exception:  # noqa: BLE001
        return None


def _go_to(file: Any, position: int) -> None:
    """Leave ``file`` behind what was sent; where it cannot seek after all, there is nobody to complain to."""
    with contextlib.suppress(Exception):
        file.seek(position)


def _send_in_steps(sock: Any, file: Any, offset: int, count: int | None) -> int:
    """gevent's own loop, in larger steps; of what a ``read`` gives too much nothing is sent."""
    start = _start(file, offset)
    sent, turn = 0, _turns.NOW
    try:
        while count is None or sent < count:
            if sent and monotonic() >= turn:
                turn = _turns.give()
            step = file.read(STEP if count is None else min(STEP, count - sent))
            if step is None:  # a pipe in non-blocking mode that has nothing yet: wait in the hub
                sent += gzc.copy(file, sock, None if count is None else count - sent)
                return sent
            data = memoryview(step)
            if not data:
                break
            if count is not None:
                data = data[: count - sent]
            while data:
                taken = sock.send(data)
                sent += taken
                data = data[taken:]
        return sent
    finally:
        if start is not None:
            _go_to(file, start + sent)
