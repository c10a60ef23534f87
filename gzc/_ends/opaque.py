"""Ends of which only their own methods may be used: TLS, decompressors, records, anybody's reader.

The methods are called as ``shutil`` would call them; ``readinto`` and ``recv_into`` only where there is nothing else,
because an object that overrides ``read`` alone must not be bypassed. What else is asked, ``closed`` and a socket's
``fileno``, is believed when it refuses in plain words, and an exception says nothing (hard case R2); ``isinstance`` is
not used, for it would ask a proxy for its ``__class__``.

What such a method raises stays an exception. `signals.moved_before` tells a signal handler's from the method's own.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import reprlib
import socket as native
from collections.abc import Callable
from typing import Any

from gevent import monkey
from gevent import socket as gsocket
from gevent import ssl as gssl

from .._hub import waiting
from .._kernel import signals, syscalls
from .description import Kind, Sink, Source
from .run import Reader, Writer

#: Bytes asked of an unknown reader at a time: what shutil asks for. Larger steps would hold bytes back,
#: since many readers return only when they have all.
STEP = 64 * 1024

_NO_FILENO = io.IOBase.fileno  # what every RawIOBase has, to say that it has none
_TEXT = (io.TextIOBase, codecs.StreamReaderWriter)


def _has_descriptor(cls: type) -> bool:
    try:
        return getattr(cls, "fileno", _NO_FILENO) is not _NO_FILENO
    except Exception:  # noqa: BLE001 - somebody's descriptor that is for instances only
        return False


class OpaqueSource(Source, Reader):
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
        self.obj = obj
        self.kind = kind
        self.note = note
        self.has_descriptor = _has_descriptor(type(obj))
        self._read = read
        self.records = records

    def start(self) -> Reader:
        return self

    def read(self, count: int) -> bytes | memoryview:
        data = self._read(min(count, STEP))
        if data is None:
            raise BlockingIOError(f"{self.obj!r} is in non-blocking mode and has nothing to read")
        try:
            return memoryview(data).cast("B")
        except TypeError:
            kind = type(data).__name__
            raise TypeError(f"{self.obj!r} gives {kind}, not bytes: it must be opened in binary mode") from None

    def moved_before(self, exc: BaseException) -> int | None:
        """An object's own error or a timeout took nothing."""
        return signals.moved_before(exc, (Exception, *signals.OWN))


class OpaqueSink(Sink, Writer):
    """Anything with ``write``, ``sendall`` or ``send``."""

    kind = Kind.OPAQUE
    waits_in_write = True

    def __init__(self, obj: object, note: str, write: Callable[[Any], Any]) -> None:
        self.obj = obj
        self.note = note
        self.has_descriptor = _has_descriptor(type(obj))
        self._write = write

    def start(self) -> Writer:
        return self

    def write(self, data: memoryview) -> int:
        # Bytes, as everybody else would pass: the writer may keep them, and the view dies with this step.
        whole = data.obj
        try:
            taken = self._write(whole if type(whole) is bytes and len(whole) == len(data) else bytes(data))
        except BlockingIOError as exc:
            taken = getattr(exc, "characters_written", 0)
            if not taken:
                raise
        if taken is None and issubclass(type(self.obj), io.RawIOBase):
            raise BlockingIOError(f"{self.obj!r} is in non-blocking mode and full")
        # sendall, and writers that do not say or answer something else, took it all, as for shutil
        return taken if type(taken) is int and 0 < taken <= len(data) else len(data)

    def moved_before(self, exc: BaseException) -> int | None:
        return None  # how much of the block it had taken when it raised, only it knows


class SendSink(OpaqueSink):
    """An object whose ``send`` takes some bytes or a record, or raises and has taken nothing."""

    def moved_before(self, exc: BaseException) -> int | None:
        return signals.moved_before(exc)

    def write(self, data: memoryview) -> int:
        taken = int(self._write(data))
        if not taken:
            raise BlockingIOError(f"{self.obj!r} takes nothing")
        return taken


class GeventSendSink(SendSink):
    """A gevent socket by its own ``send``, which waits itself, and answers 0 when it was woken up in vain."""

    waitable = True

    def wait(self) -> None:
        waiting.wait(self.obj, self.direction)

    def write(self, data: memoryview) -> int:
        return int(self._write(data)) or syscalls.AGAIN


def _buffered(readinto: Callable[[memoryview], int | None]) -> Callable[[int], memoryview | None]:
    buffer = memoryview(bytearray(STEP))

    def read(count: int) -> memoryview | None:
        got = readinto(buffer[:count])
        return None if got is None else buffer[:got]

    return read


def _records(sock: Any) -> Callable[[int], bytes]:
    """Read whole records: what does not fit the kernel drops (hard case D4), so ask for the size first."""
    datagrams = sock.type == native.SOCK_DGRAM

    def read(_: int) -> bytes:
        while True:
            size = STEP
            while sock.recvmsg(size, 0, native.MSG_PEEK)[2] & native.MSG_TRUNC:
                size *= 2
            data: bytes = sock.recv(size)
            if data or not datagrams:  # an empty datagram is no end of anything
                return data

    return read


def _refuse(obj: object, what: str, methods: tuple[str, ...]) -> TypeError:
    if issubclass(type(obj), int):
        return TypeError(f"a bare file number ({obj}) is no {what}: use open({obj}, closefd=False)")
    if issubclass(type(obj), _TEXT):
        return TypeError(f"{obj!r} is a text file; a {what} must be opened in binary mode")
    return TypeError(f"{reprlib.repr(obj)} cannot be a {what}: it has none of {', '.join(methods)}")


_SOCKETS = (gsocket.socket, monkey.get_original("socket", "socket"))
_SENDALLS = (gsocket.socket.sendall, gssl.SSLSocket.sendall)

#: What a buffered class of ``io`` has in place of a method that it lacks: it only refuses.
_LACKING = {"source": ("read", io.BufferedIOBase.read), "sink": ("write", io.BufferedIOBase.write)}


def _check(obj: Any, what: str, methods: tuple[str, ...]) -> None:
    """Refuse what cannot be an end at all, before a byte moves."""
    cls = type(obj)
    if issubclass(cls, (int, *_TEXT)):
        raise _refuse(obj, what, methods)
    if issubclass(cls, _SOCKETS):
        if _says(lambda: obj.fileno() < 0):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    elif _says(lambda: obj.closed):
        raise ValueError("I/O operation on closed file")
    elif issubclass(cls, io.BufferedIOBase):
        name, lacking = _LACKING[what]
        if getattr(cls, name) is lacking:
            raise io.UnsupportedOperation(f"{obj!r} cannot be a {what}")


def _says(ask: Callable[[], object]) -> bool:
    """Whether the answer is yes: ``shutil`` would not have asked, so an exception is none."""
    try:
        return ask() is True
    except Exception:  # noqa: BLE001
        return False


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
    if issubclass(type(obj), _SOCKETS):
        records = obj.type != native.SOCK_STREAM
        return OpaqueSource(obj, note, _records(obj) if records else obj.recv, records=records)
    name, method = _first(obj, "source", methods)
    return OpaqueSource(obj, note, _buffered(method) if name.endswith("into") else method)


def opaque_sink(obj: Any, note: str) -> Sink:
    """Describe ``obj`` by its own writing methods; ``note`` says why nothing faster may be used.

    :raises TypeError: a text file, a bare integer, read-only memory, or an object with no such method.
    """
    methods: tuple[str, ...] = ("write", "sendall", "send")
    if issubclass(type(obj), (bytes, memoryview)):
        raise TypeError(f"{type(obj).__name__} cannot grow and cannot be a sink: use bytearray or BytesIO")
    _check(obj, "sink", methods)
    if issubclass(type(obj), _SOCKETS):
        # gevent's sendall is a loop over send, and send tells exactly how much was taken.
        if getattr(obj.sendall, "__func__", None) in _SENDALLS:
            return GeventSendSink(obj, note, obj.send)
        methods = ("send",) if obj.type != native.SOCK_STREAM else ("sendall", "send")
    name, method = _first(obj, "sink", methods)
    return (SendSink if name == "send" else OpaqueSink)(obj, note, method)
