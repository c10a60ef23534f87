"""Ends over gevent's stream sockets.

The descriptor is asked afresh for every call, and waiting is done on the socket's own watcher; a number kept across a
switch is somebody else's connection.
"""

from __future__ import annotations

import errno
import os
from functools import partial
from socket import AF_INET, AF_INET6, AF_UNIX, SOCK_STREAM
from typing import Any

from gevent import socket as gsocket

from .._hub import waiting
from .._kernel import syscalls
from .description import End, Kind, Sink, Source
from .read_ahead import buffered
from .run import Reader, RunEnd, Writer

#: The families whose stream sockets the kernel may move bytes of, and what they are called.
STREAM_FAMILIES = {AF_INET: "tcp socket", AF_INET6: "tcp socket", AF_UNIX: "unix stream socket"}

#: Bytes of a read through user space. For 128 KiB and more malloc asks the kernel for memory each time (M27).
_READ = 64 * 1024


class _SocketEnd(RunEnd, End):
    kind = Kind.STREAM
    waitable = True
    obj: Any

    def wait(self) -> None:
        waiting.wait(self.obj, self.direction)

    def ready(self) -> bool:
        return waiting.ready(self.fileno(), self.direction)

    def __str__(self) -> str:
        return self.note or STREAM_FAMILIES.get(self.obj.family, self.kind.value)


class StreamSource(_SocketEnd, Source, Reader):
    """The receiving half of a connected stream socket, and what a ``makefile`` above it has read ahead."""

    def __init__(self, sock: Any, file: Any = None) -> None:
        self.obj = sock
        self.fileno = sock.fileno  # asked at every call, without a detour
        if file is not None:
            self.heads = (partial(buffered, file),)

    def start(self) -> Reader:
        waiting.check(self.obj, self.direction)
        return self

    def read(self, count: int) -> bytes | int:
        return syscalls.read(self.fileno(), min(count, _READ))


class StreamSink(_SocketEnd, Sink, Writer):
    """The sending half of a connected stream socket, below what a ``makefile`` above it has to write."""

    def __init__(self, sock: Any, file: Any = None) -> None:
        self.obj = sock
        self.fileno = sock.fileno  # asked at every call, without a detour
        if file is not None:
            self.buffered = True
            self.flush = file.flush  # type: ignore[method-assign]

    @property
    def retry_eagain(self) -> bool:  # type: ignore[override]
        """Not of tcp, which makes room a little at a time, and wakes up when a third is free.

        To go on with so little took 28 % more CPU from a file.
        """
        return waiting.family_and_type(self.obj)[0] == AF_UNIX

    def start(self) -> Writer:
        waiting.check(self.obj, self.direction)
        return self

    def write(self, data: memoryview) -> int:
        return syscalls.write(self.fileno(), data)


#: Their family and type. Compared as a whole, and not by bits: SEQPACKET is 5,
#: and 5 & SOCK_STREAM is true (hard cases D4, D5).
_STREAMS = frozenset((family, SOCK_STREAM) for family in STREAM_FAMILIES)


def source_below(sock: gsocket.socket) -> StreamSource | None:
    """Describe what ``sock`` receives, or None when it keeps records or is of another family."""
    if sock.fileno() < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return StreamSource(sock) if waiting.family_and_type(sock) in _STREAMS else None


def sink_below(sock: gsocket.socket) -> StreamSink | None:
    """Describe what can be sent on ``sock``, or None when it keeps records or is of another family."""
    if sock.fileno() < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return StreamSink(sock) if waiting.family_and_type(sock) in _STREAMS else None
