"""Sources that are fed and sinks that are drained by hand, a step at a time, for the state machine of the fuzzer.

Rules: nothing here ever waits; feeding and draining take what the kernel takes and gives at this moment. Each end
says what its kind can suffer: an end of file, a reset, a seek.
"""

# ruff: noqa: SIM115 - each end closes what it opened

import contextlib
import io
import os
import socket as native
import struct
from pathlib import Path
from typing import Any

from gevent import socket as gsocket
from gevent.fileobject import FileObjectPosix

from ._ends import Ends
from ._inside import _hub

#: What a socket's buffers are asked to hold, so that both ends are full after a few steps.
NARROW = 16 * 1024
#: Bytes that may lie unflushed above a pipe in blocking mode: poll promises room for as many (PIPE_BUF).
UNFLUSHED = 4096


def _pair(ends: Ends, family: str) -> tuple[gsocket.socket, gsocket.socket]:
    pair = ends.pair(family)
    for sock in pair:
        sock.setsockopt(native.SOL_SOCKET, native.SO_SNDBUF, NARROW)
        if family == "unix":  # a narrow receiver makes tcp wait for its timers
            sock.setsockopt(native.SOL_SOCKET, native.SO_RCVBUF, NARROW)
    return pair


def _send_now(sock: gsocket.socket, data: bytes) -> int:
    try:
        return sock._sock.send(data, native.MSG_DONTWAIT)  # type: ignore[no-any-return]
    except BlockingIOError:
        return 0


def _reset(sock: gsocket.socket) -> None:
    sock.setsockopt(native.SOL_SOCKET, native.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Source:
    """`obj` is copied from; `feed` puts bytes in at the far end."""

    obj: Any
    #: Whether what was fed is all there is at this moment, so that a copy ends there and does not wait.
    ends_by_itself: bool = False
    seekable: bool = False
    can_reset: bool = False
    ended = False
    broken = False

    def feed(self, data: bytes) -> int:
        raise NotImplementedError

    def end(self) -> None:
        """No more will be fed."""

    def reset(self) -> None:
        """The far end goes in the rudest way it knows."""

    def read(self, count: int) -> bytes:
        """A read of the program's own, of up to `count` bytes, called only when there are some."""
        data: bytes = self.obj.read(count)
        return data

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.obj.close()


class FileSource(Source):
    ends_by_itself = True
    seekable = True

    def __init__(self, ends: Ends, mode: str, buffering: int = -1) -> None:
        path = ends.path()
        self.obj = ends.keep(open(path, mode, buffering))
        self._end = ends.keep(open(path, "ab", 0))

    def feed(self, data: bytes) -> int:
        return self._end.write(data)  # type: ignore[no-any-return]


class SocketSource(Source):
    def __init__(self, ends: Ends, family: str) -> None:
        self.sock, self._there = _pair(ends, family)
        self.obj = self.sock
        self.can_reset = family == "tcp"

    def feed(self, data: bytes) -> int:
        return _send_now(self._there, data)

    def end(self) -> None:
        self._there.shutdown(native.SHUT_WR)

    def reset(self) -> None:
        _reset(self._there)

    def read(self, count: int) -> bytes:
        return self.sock.recv(count)  # type: ignore[no-any-return]


class MakefileSource(SocketSource):
    def __init__(self, ends: Ends, family: str) -> None:
        super().__init__(ends, family)
        self.obj = ends.keep(self.sock.makefile("rb"))

    def read(self, count: int) -> bytes:
        return self.obj.read1(count)  # type: ignore[no-any-return]


class PipeSource(Source):
    def __init__(self, ends: Ends, open_: Any, buffering: int = -1) -> None:
        reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self.obj = ends.keep(open_(reader, "rb", buffering))
        self._ends = ends

    def feed(self, data: bytes) -> int:
        try:
            return os.write(self._writer, data)
        except BlockingIOError:
            return 0

    def end(self) -> None:
        os.close(self._writer)
        self._writer = -1

    def read(self, count: int) -> bytes:
        return getattr(self.obj, "read1", self.obj.read)(count)  # type: ignore[no-any-return]

    def close(self) -> None:
        super().close()
        if self._writer >= 0:
            self.end()


class Queue(Source):
    """An object that only has a `read`, of short counts."""

    ends_by_itself = True

    def __init__(self, ends: Ends) -> None:
        self.obj = self
        self._held = bytearray()
        self._reads = 0

    def feed(self, data: bytes) -> int:
        self._held += data
        return len(data)

    def read(self, count: int) -> bytes:
        self._reads += 1
        count = min(count, 1 + self._reads * 1237 % 9000)
        data = bytes(self._held[:count])
        del self._held[:count]
        return data

    def close(self) -> None:
        pass


class MemorySource(Source):
    ends_by_itself = True
    seekable = True

    def __init__(self, ends: Ends) -> None:
        self.obj = io.BytesIO()

    def feed(self, data: bytes) -> int:
        back = self.obj.tell()
        try:
            self.obj.seek(0, os.SEEK_END)
            return self.obj.write(data)  # type: ignore[no-any-return]
        except BufferError:  # while a copy reads it, it may not grow
            return 0
        finally:
            self.obj.seek(back)


class Sink:
    """`obj` is copied to; `drain` takes bytes out at the far end."""

    obj: Any
    #: A file or memory: its content is looked at as a whole, and its position can be set.
    random_access: bool = False
    appends: bool = False
    can_die: bool = False
    dead = False

    def drain(self, count: int) -> bytes:
        return b""

    def write(self, data: bytes) -> int:
        """A write of the program's own, into buffers or as much as can be had at once."""
        return self.obj.write(data)  # type: ignore[no-any-return]

    def content(self) -> bytes:
        raise NotImplementedError

    def flush(self) -> None:
        self.obj.flush()

    def die(self) -> None:
        """The far end goes."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.obj.close()


class FileSink(Sink):
    random_access = True

    def __init__(self, ends: Ends, mode: str, buffering: int = -1) -> None:
        self._path: Path = ends.path()
        self.obj = ends.keep(open(self._path, mode, buffering))
        self.appends = mode == "ab"

    def content(self) -> bytes:
        self.obj.flush()
        return self._path.read_bytes()


class MemorySink(Sink):
    random_access = True

    def __init__(self, ends: Ends) -> None:
        self.obj = io.BytesIO()

    def content(self) -> bytes:
        return self.obj.getvalue()  # type: ignore[no-any-return]


class SocketSink(Sink):
    can_die = True

    def __init__(self, ends: Ends, family: str) -> None:
        self.sock, self._there = _pair(ends, family)
        self.obj = self.sock
        self._tcp = family == "tcp"

    def drain(self, count: int) -> bytes:
        try:
            return self._there._sock.recv(count, native.MSG_DONTWAIT)  # type: ignore[no-any-return]
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> int:
        return _send_now(self.sock, data)

    def flush(self) -> None:
        pass

    def die(self) -> None:
        if self._tcp:
            _reset(self._there)
        else:
            self._there.close()


class MakefileSink(SocketSink):
    def __init__(self, ends: Ends, family: str) -> None:
        super().__init__(ends, family)
        self.obj = ends.keep(self.sock.makefile("wb"))

    def write(self, data: bytes) -> int:
        return self.obj.write(data)  # type: ignore[no-any-return]

    def flush(self) -> None:
        self.obj.flush()


class PipeSink(Sink):
    can_die = True

    def __init__(self, ends: Ends, open_: Any, buffering: int = -1) -> None:
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        self.obj = ends.keep(open_(writer, "wb", buffering))
        self._unflushed = 0

    def drain(self, count: int) -> bytes:
        try:
            return os.read(self._reader, count)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> int:
        if self._unflushed + len(data) > UNFLUSHED or not _hub.ready(self.obj.fileno(), _hub.WRITE):
            return 0
        self._unflushed += len(data)
        return self.obj.write(data)  # type: ignore[no-any-return]

    def flush(self) -> None:
        self._unflushed = 0
        self.obj.flush()

    def die(self) -> None:
        os.close(self._reader)
        self._reader = -1

    def close(self) -> None:
        if self._reader >= 0:
            self.die()  # else closing might have to wait for room
        super().close()


class Writer(Sink):
    """An object that only has a `write`, which takes what it likes of each block."""

    def __init__(self, ends: Ends) -> None:
        self.obj = self
        self._held = bytearray()
        self._writes = 0

    def write(self, data: Any) -> int:
        self._writes += 1
        taken = min(len(data), 1 + self._writes * 991 % 7000)
        self._held += data[:taken]
        return taken

    def drain(self, count: int) -> bytes:
        data = bytes(self._held[:count])
        del self._held[:count]
        return data

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


SOURCES: dict[str, Any] = {
    "file": lambda ends: FileSource(ends, "rb"),
    "raw file": lambda ends: FileSource(ends, "rb", 0),
    "r+b file": lambda ends: FileSource(ends, "r+b"),
    "tcp": lambda ends: SocketSource(ends, "tcp"),
    "unix": lambda ends: SocketSource(ends, "unix"),
    "makefile": lambda ends: MakefileSource(ends, "unix"),
    "pipe": lambda ends: PipeSource(ends, open),
    "raw pipe": lambda ends: PipeSource(ends, open, 0),
    "pipe FileObject": lambda ends: PipeSource(ends, FileObjectPosix),
    "read()": Queue,
    "BytesIO": MemorySource,
}

SINKS: dict[str, Any] = {
    "file wb": lambda ends: FileSink(ends, "wb"),
    "raw file": lambda ends: FileSink(ends, "wb", 0),
    "file r+b": lambda ends: FileSink(ends, "r+b"),
    "file ab": lambda ends: FileSink(ends, "ab"),
    "tcp": lambda ends: SocketSink(ends, "tcp"),
    "unix": lambda ends: SocketSink(ends, "unix"),
    "makefile": lambda ends: MakefileSink(ends, "unix"),
    "pipe": lambda ends: PipeSink(ends, open),
    "raw pipe": lambda ends: PipeSink(ends, open, 0),
    "pipe FileObject": lambda ends: PipeSink(ends, FileObjectPosix),
    "write()": Writer,
    "BytesIO": MemorySink,
}
