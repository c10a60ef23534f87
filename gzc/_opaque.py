"""Ends of which only their own methods may be used: TLS, decompressors, records, anybody's reader.

Rules of this file: the methods are called as ``shutil`` would call them; ``readinto`` and ``recv_into``
only where there is nothing else, because an object that overrides ``read`` alone must not be bypassed.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import socket as native
from collections.abc import Callable
from typing import Any

import gevent
from gevent import socket as gsocket
from gevent import ssl as gssl

from ._endpoint import Kind, Sink, Source

#: Bytes asked of an unknown reader at a time: what shutil asks for. Larger steps would hold bytes back,
#: since many readers return only when they have all.
STEP = 64 * 1024

_TEXT = (io.TextIOBase, codecs.StreamReaderWriter)


class OpaqueSource(Source):
    """Anything with ``read``, ``recv``, ``readinto`` or ``recv_into``."""

    def __init__(
        self,
        obj: object,
        note: str,
        read: Callable[[int], Any],
        *,
        kind: Kind = Kind.OPAQUE,
        records: bool = False,
    ) -> None:
        super().__init__(obj)
        self.kind = kind
        self.note = note
        self.has_descriptor = hasattr(type(obj), "fileno")
        self._read = read
        self._records = records

    def read(self, count: int) -> bytes | memoryview:
        # A record is asked for whole: the kernel drops what did not fit (hard case D4).
        data = self._read(STEP if self._records else min(count, STEP))
        if data is None:
            raise BlockingIOError(f"{self.obj!r} is in non-blocking mode and has nothing to read")
        try:
            view = memoryview(data).cast("B")
        except TypeError:
            kind = type(data).__name__
            raise TypeError(f"{self.obj!r} gives {kind}, not bytes: it must be opened in binary mode") from None
        if len(view) > count:
            if not self._records:
                raise ValueError(f"{self.obj!r} gave {len(view)} bytes when asked for at most {count}")
            view = view[:count]  # as recv(count) would have cut it
        return view


class OpaqueSink(Sink):
    """Anything with ``write``, ``sendall`` or ``send``."""

    kind = Kind.OPAQUE

    def __init__(self, obj: object, note: str, write: Callable[[Any], Any]) -> None:
        super().__init__(obj)
        self.note = note
        self.has_descriptor = hasattr(type(obj), "fileno")
        self._write = write

    def despite(self, exc: BaseException) -> int | None:
        return None  # how much of the block it had taken when it raised, only it knows

    def write(self, data: memoryview) -> int:
        # Bytes, as everybody else would pass: the writer may keep them, and the view dies with this step.
        whole = data.obj
        taken = self._write(whole if type(whole) is bytes and len(whole) == len(data) else bytes(data))
        if taken is None and isinstance(self.obj, io.RawIOBase):
            raise BlockingIOError(f"{self.obj!r} is in non-blocking mode and full")
        # sendall, and writers that do not say or answer something else, took it all, as for shutil
        return taken if type(taken) is int and 0 < taken <= len(data) else len(data)


class _SendSink(OpaqueSink):
    """A socket whose ``send`` takes some bytes or a record, or raises and has taken nothing."""

    def despite(self, exc: BaseException) -> int | None:
        return 0 if isinstance(exc, (OSError, gevent.Timeout, gevent.GreenletExit)) else None

    def write(self, data: memoryview) -> int:
        while not (taken := self._write(data)):  # gevent's send answers 0 when woken up in vain
            pass
        return int(taken)


def _buffered(readinto: Callable[[memoryview], int | None]) -> Callable[[int], memoryview | None]:
    buffer = memoryview(bytearray(STEP))

    def read(count: int) -> memoryview | None:
        got = readinto(buffer[:count])
        return None if got is None else buffer[:got]

    return read


def _nonempty(recv: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def read(count: int) -> bytes:
        while not (data := recv(count)):  # an empty datagram is no end of anything
            pass
        return data

    return read


def _refuse(obj: object, what: str, methods: tuple[str, ...]) -> TypeError:
    if isinstance(obj, int):
        return TypeError(f"a bare file number ({obj}) is no {what}: use open({obj}, closefd=False)")
    if isinstance(obj, _TEXT):
        return TypeError(f"{obj!r} is a text file; a {what} must be opened in binary mode")
    return TypeError(f"{obj!r} cannot be a {what}: it has none of {', '.join(methods)}")


_SOCKETS = (gsocket.socket, native.socket)
_SENDALLS = (gsocket.socket.sendall, gssl.SSLSocket.sendall)


def _check(obj: Any, what: str, methods: tuple[str, ...]) -> None:
    """Refuse what cannot be an end at all, before anything is asked of it."""
    if isinstance(obj, (int, *_TEXT)):
        raise _refuse(obj, what, methods)
    if isinstance(obj, _SOCKETS):
        if obj.fileno() < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    elif getattr(obj, "closed", False) is True:
        raise ValueError("I/O operation on closed file")


def _first(obj: Any, what: str, methods: tuple[str, ...]) -> tuple[str, Callable[[Any], Any]]:
    for name in methods:
        method = getattr(obj, name, None)
        if callable(method):
            return name, method
    raise _refuse(obj, what, methods)


def opaque_source(obj: Any, note: str) -> Source:
    """Describe ``obj`` by its own reading methods; ``note`` says why nothing faster may be used.

    :raises TypeError: a text file, a bare integer, or an object with no such method.
    """
    methods = ("read", "recv", "readinto", "recv_into")
    _check(obj, "source", methods)
    if isinstance(obj, _SOCKETS):
        records = obj.type != native.SOCK_STREAM
        recv = _nonempty(obj.recv) if obj.type == native.SOCK_DGRAM else obj.recv
        return OpaqueSource(obj, note, recv, records=records)
    name, method = _first(obj, "source", methods)
    return OpaqueSource(obj, note, _buffered(method) if name.endswith("into") else method)


def opaque_sink(obj: Any, note: str) -> Sink:
    """Describe ``obj`` by its own writing methods; ``note`` says why nothing faster may be used.

    :raises TypeError: a text file, a bare integer, read-only memory, or an object with no such method.
    """
    methods: tuple[str, ...] = ("write", "sendall", "send")
    if isinstance(obj, (bytes, memoryview)):
        raise TypeError(f"{type(obj).__name__} cannot grow and cannot be a sink: use bytearray or BytesIO")
    _check(obj, "sink", methods)
    if isinstance(obj, _SOCKETS):
        # gevent's sendall is a loop over send, and send tells exactly how much was taken.
        if type(obj).sendall in _SENDALLS or obj.type != native.SOCK_STREAM:
            return _SendSink(obj, note, obj.send)
        methods = ("sendall", "send")
    return OpaqueSink(obj, note, _first(obj, "sink", methods)[1])
