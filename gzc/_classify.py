"""The known types, and ``source`` and ``sink``: from an object to its description.

Rules of this file: a row for each type. What a row cannot vouch for is opaque, with a note saying why.
"""

from __future__ import annotations

import io
import mmap
import socket as native
import tempfile
from collections.abc import Callable
from typing import Any

from gevent import fileobject as gfile
from gevent import socket as gsocket
from gevent._fileobjectposix import GreenFileDescriptorIO  # type: ignore[import-not-found]

from . import _file_sinks, _files, _hub, _memory, _sockets
from ._consent import sinks, sources
from ._endpoint import End, Sink, Source
from ._opaque import opaque_sink, opaque_source

_Descend = Callable[[Any], Any]


def source(obj: object) -> Source:
    """Describe ``obj`` as a source: what is below it, if it may be bypassed, else its own methods.

    Gives a description back as it is, so a wrapper's ``__gzc_source__`` can build on that of the object
    inside: ``gzc.source(self.inner).limited(self.left).settling(self.count)``.

    :raises TypeError: a text file, a bare integer, or an object without ``read``, ``recv`` and their kin.
    :raises ValueError: a closed file.
    :raises OSError: EBADF, a closed socket; ``io.UnsupportedOperation``, a file that cannot be read.
    """
    if isinstance(obj, Source):
        return obj
    described = sources.describe(obj)
    return described if described is not None else opaque_source(obj, _why_opaque(obj, sources))


def sink(obj: object) -> Sink:
    """Describe ``obj`` as a sink; the counterpart of ``source``, with the same errors."""
    if isinstance(obj, Sink):
        return obj
    described = sinks.describe(obj)
    return described if described is not None else opaque_sink(obj, _why_opaque(obj, sinks))


def _why_opaque(obj: object, register: Any) -> str:
    if type(obj) is gsocket.socket:
        return "socket that keeps records, or of a family gzc does not know"
    name = f"{type(obj).__module__}.{type(obj).__qualname__}"
    if register.overridden(obj):
        return f"{name}, which overrides a data method"
    if register.permits(obj):
        return f"{name} over something that is no plain descriptor"
    return f"{name}, which nobody vouches for"


def _no_text(outer: object, inner: object) -> None:
    if isinstance(inner, io.TextIOBase):
        raise TypeError(f"{outer!r} is a text file, and must be opened in binary mode")


def _below(attribute: str, describe: Callable[[Any], Any]) -> _Descend:
    """Describe the object found in ``attribute``: for wrappers that only forward."""
    return lambda obj: describe(getattr(obj, attribute))


def _buffered(describe: Callable[[Any], Any], register: Any, stream: type[End]) -> _Descend:
    """A buffered object passes on what its raw object gives, so the raw object must be a plain one, too.

    ``tarfile``'s members have the same buffered types as ``open()``; so has ``socket.makefile``.
    """

    def below(file: Any) -> Any:
        raw = file.raw  # raises ValueError when the file was detached
        if type(raw) is native.SocketIO:
            return _made(raw, file)
        if type(raw) is io.FileIO and vars(raw).keys() <= _NAMED:
            return describe(file)
        return describe(file) if isinstance(raw, _RAW) and register.permits(raw) else None

    def _made(raw: Any, file: Any) -> Any:
        sock = _hub.socket_of(raw)
        if stream is _sockets.StreamSource and raw._timeout_occurred:
            return None  # its own ``read`` refuses, since bytes may have been lost with the exception
        plain = isinstance(sock, gsocket.socket) and register.permits(sock) and register.describe(sock)
        return stream(sock, file) if plain else None  # type: ignore[call-arg]

    return below


def _file_object(describe: Callable[[Any], Any]) -> _Descend:
    """gevent's FileObjects forward to ``.io``."""

    def below(fobj: Any) -> Any:
        if fobj.closed:
            raise ValueError("I/O operation on closed file")
        _no_text(fobj, fobj.io)
        return describe(fobj.io)

    return below


def _in_threads(describe: Callable[[Any], Any]) -> _Descend:
    """A FileObjectThread: its calls go through a lock and a pool that are its owner's choice."""

    def below(fobj: Any) -> None:
        _no_text(fobj, fobj.io)

    return below


def _spooled(describe: Callable[[Any], Any]) -> _Descend:
    """A spooled file: its ``fileno()`` would force it onto the disk, so look at what it has (hard case O8).

    As a sink it must count its bytes until it has rolled over, so until then its own ``write`` is used.
    """

    def below(spool: Any) -> Any:
        _no_text(spool, spool._file)
        return describe(spool._file) if spool._rolled or describe is source else None

    return below


#: What ``open()`` leaves in a FileIO's ``__dict__``.
_NAMED = frozenset({"name"})

#: Raw objects over a descriptor of their own; gevent's are what its FileObjects have below.
_RAW = (io.FileIO, GreenFileDescriptorIO)

sources.add(gsocket.socket, _sockets.source_below)
sinks.add(gsocket.socket, _sockets.sink_below)

for _type in _RAW:
    sources.add(_type, _files.source_below)
    sinks.add(_type, _file_sinks.sink_below)
for _type in (io.BufferedReader, io.BufferedRandom):
    sources.add(_type, _buffered(_files.source_below, sources, _sockets.StreamSource))
for _type in (io.BufferedWriter, io.BufferedRandom):
    sinks.add(_type, _buffered(_file_sinks.sink_below, sinks, _sockets.StreamSink))

_WRAPPERS: tuple[tuple[type, str, Callable[[Callable[[Any], Any]], _Descend]], ...] = (
    (tempfile._TemporaryFileWrapper, "file", lambda describe: _below("file", describe)),
    (tempfile.SpooledTemporaryFile, "_file", _spooled),
    (gfile.FileObjectPosix, "io", _file_object),
    (gfile.FileObjectBlock, "io", _file_object),
    (gfile.FileObjectThread, "io", _in_threads),
)
for _type, _inner, _make in _WRAPPERS:
    sources.add(_type, _make(source), _inner)
    sinks.add(_type, _make(sink), _inner)

for _type in (bytes, bytearray, memoryview):
    sources.add(_type, lambda obj: _memory.MemorySource(_memory.Cursor(obj)))
for _type in (_memory.Cursor, io.BytesIO, mmap.mmap):
    sources.add(_type, _memory.MemorySource)
for _type in (bytearray, io.BytesIO, mmap.mmap):
    sinks.add(_type, _memory.MemorySink)
