"""Ends over gevent's stream sockets.

Rules of this file: the descriptor is asked afresh for every call, and waiting is done on the socket's own
watcher; a number kept across a switch is somebody else's connection.
"""

from __future__ import annotations

import errno
import os
from socket import AF_INET, AF_INET6, AF_UNIX, SOCK_STREAM
from typing import Any

from gevent import socket as gsocket

from .._hub import waiting as _hub
from .._kernel import syscalls as _syscalls
from .description import BLOCK, End, Kind, Sink, Source
from .read_ahead import buffered

_NAMES = {AF_INET: "tcp socket", AF_INET6: "tcp socket", AF_UNIX: "unix stream socket"}


class _SocketEnd(End):
    kind = Kind.STREAM
    waitable = True

    def __init__(self, sock: Any, file: Any = None) -> None:
        super().__init__(sock)
        self._sock = sock
        self._file = file
        self.fileno = sock.fileno  # asked at every call, without a detour

    def check(self) -> None:
        _hub.check_socket(self._sock, self.direction)

    def wait(self) -> None:
        _hub.wait(self._sock, self.direction)

    def despite(self, exc: BaseException) -> int | None:
        return 0 if _syscalls.answered(exc) else None

    def ready(self) -> bool:
        return _hub.ready(self.fileno(), self.direction)

    def __str__(self) -> str:
        return self.note or _NAMES.get(self._sock.family, self.kind.value)


class StreamSource(_SocketEnd, Source):
    """The receiving half of a connected stream socket, and what a ``makefile`` above it has read ahead."""

    _buffer: memoryview | None = None

    def __init__(self, sock: Any, file: Any = None) -> None:
        super().__init__(sock, file)
        self.buffered = file is not None

    def head(self, count: int) -> bytes:
        return buffered(self._file, count)

    def read(self, count: int) -> memoryview:
        # No more than is asked for, and no longer than it runs: ten thousand tunnels that end at once ask for
        # 64 KiB each, to confirm the end, and a half-closed one may live for days.
        count = min(count, BLOCK)
        if self._buffer is None or len(self._buffer) < count:
            self._buffer = memoryview(bytearray(count))
        view = self._buffer[:count]
        return view[: _syscalls.readinto(self.fileno(), view)]

    def finish(self) -> None:
        self._buffer = None

    close = finish


class StreamSink(_SocketEnd, Sink):
    """The sending half of a connected stream socket, below what a ``makefile`` above it has to write."""

    def __init__(self, sock: Any, file: Any = None) -> None:
        super().__init__(sock, file)
        # tcp makes room a little at a time, and wakes up when a third is free: to go on with so little took 28 % more
        # CPU from a file.
        self.soon = _hub.family_and_type(sock)[0] == AF_UNIX

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def write(self, data: memoryview) -> int:
        return _syscalls.write(self.fileno(), data)


def _is_stream(sock: Any) -> bool:
    if sock.fileno() < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    # Equality, not a bit test: SEQPACKET is 5, and 5 & SOCK_STREAM is true (hard cases D4, D5).
    family, kind = _hub.family_and_type(sock)
    return kind == SOCK_STREAM and family in _NAMES


def source_below(sock: gsocket.socket) -> StreamSource | None:
    """Describe what ``sock`` receives, or None when it keeps records or is no socket of the network."""
    return StreamSource(sock) if _is_stream(sock) else None


def sink_below(sock: gsocket.socket) -> StreamSink | None:
    """Describe what can be sent on ``sock``, or None when it keeps records or is no socket of the network."""
    return StreamSink(sock) if _is_stream(sock) else None
