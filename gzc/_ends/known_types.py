"""The known types, and ``source`` and ``sink``: from an object to its description.

A row for each type. What a row cannot vouch for is opaque, with a note that says why.
"""

from __future__ import annotations

import io
import mmap
import socket as native
import tempfile
from collections.abc import Callable
from typing import Any, TypeVar, overload

from gevent import fileobject as gfile
from gevent import socket as gsocket
from gevent._fileobjectposix import GreenFileDescriptorIO  # type: ignore[import-not-found]

from .._hub.waiting import socket_of
from . import file_sinks, files, memory, sockets
from .consent import sinks, sources
from .description import End, Sink, Source
from .opaque import opaque_sink, opaque_source

_D = TypeVar("_D")
_Descend = Callable[[Any], Any]

_OWN_METHODS = object()


@overload
def source(obj: object) -> Source: ...
@overload
def source(obj: object, default: _D) -> Source | _D: ...
def source(obj: object, default: Any = _OWN_METHODS) -> Any:
    """Describe ``obj`` as a source: what is below it, if it may be bypassed, else its own methods.

    Gives a description back as it is, so a wrapper's ``__gzc_source__`` can build on that of the object
    inside: ``gzc.source(self.inner).limited(self.left).settling(self.count)``.

    :param default: given back in place of a description by its own methods, of which then none is looked for: for
        ``None`` the answer says whether somebody vouches for ``obj``, by registration or by a dunder.
    :raises TypeError: a text file, a bare integer, or an object without ``read``, ``recv`` and their kin.
    :raises ValueError: a closed file.
    :raises OSError: EBADF, a closed socket; ``io.UnsupportedOperation``, a file that cannot be read.
    """
    if issubclass(type(obj), Source):  # ``isinstance`` would ask a proxy for its ``__class__``
        return obj
    if default is not _OWN_METHODS and sources.find(type(obj)) is None:
        return default  # servers ask so for every response, and nobody wants to know why
    described = sources.describe(obj)
    if described is None:
        return opaque_source(obj, sources.why(obj)) if default is _OWN_METHODS else default
    return described


@overload
def sink(obj: object) -> Sink: ...
@overload
def sink(obj: object, default: _D) -> Sink | _D: ...
def sink(obj: object, default: Any = _OWN_METHODS) -> Any:
    """Describe ``obj`` as a sink; the counterpart of ``source``, with the same errors."""
    if issubclass(type(obj), Sink):
        return obj
    described = sinks.describe(obj)
    if described is None:
        return opaque_sink(obj, sinks.why(obj)) if default is _OWN_METHODS else default
    return described


def _no_text(outer: object, inner: object) -> None:
    if issubclass(type(inner), io.TextIOBase):
        raise TypeError(f"{outer!r} is a text file, and must be opened in binary mode")


def _below(attribute: str, describe: Callable[[Any], Any]) -> _Descend:
    """Describe the object found in ``attribute``: for wrappers that only forward."""
    return lambda obj: describe(getattr(obj, attribute))


#: What it says of its own bytes would not count those that a buffer above it holds.
_UNDER_A_BUFFER = "which describes itself, under a buffer"


def _buffered(describe: Callable[[Any], Any], register: Any, stream: Callable[..., Any]) -> _Descend:
    """A buffered object passes on what its raw object gives, so the raw object must be a plain one, too.

    ``tarfile``'s members have the same buffered types as ``open()``; so has ``socket.makefile``.
    """

    def below(file: Any) -> Any:
        raw = file.raw  # raises ValueError when the file was detached
        if type(raw) is io.FileIO and vars(raw).keys() <= _NAMED:
            return describe(file)
        vouch = register.vouch(raw)
        if vouch is None:
            return None
        if vouch.cls in _RAW:
            return describe(file)
        if vouch.cls is native.SocketIO:
            return stream(raw, file)
        register.refuse(raw, _UNDER_A_BUFFER)
        return None

    return below


def _stream(register: Any, make: Callable[[Any, Any], End]) -> Callable[..., Any]:
    """What ``socket.makefile`` gives, ``file``, or the bare ``raw`` object below its buffer."""

    def below(raw: Any, file: Any = None) -> Any:
        sock = socket_of(raw)
        if register is sources and raw._timeout_occurred:
            return None  # its own ``read`` refuses, since bytes may have been lost with the exception
        vouch = register.vouch(sock)
        if vouch is None:
            return None
        if vouch.cls is gsocket.socket and vouch.describe(sock) is not None:
            return make(sock, file)
        register.refuse(sock, vouch.declining if vouch.cls is gsocket.socket else _UNDER_A_BUFFER)
        return None

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

_RECORDS = "which keeps records, or is of a family gzc does not know"
sources.add(gsocket.socket, sockets.source_below, declining=_RECORDS)
sinks.add(gsocket.socket, sockets.sink_below, declining=_RECORDS)

for _type in _RAW:
    sources.add(_type, files.source_below)
    sinks.add(_type, file_sinks.sink_below)
_receiving, _sending = _stream(sources, sockets.StreamSource), _stream(sinks, sockets.StreamSink)
sources.add(native.SocketIO, _receiving)
sinks.add(native.SocketIO, _sending)
for _type in (io.BufferedReader, io.BufferedRandom):
    sources.add(_type, _buffered(files.source_below, sources, _receiving))
for _type in (io.BufferedWriter, io.BufferedRandom):
    sinks.add(_type, _buffered(file_sinks.sink_below, sinks, _sending))

_WRAPPERS: tuple[tuple[type, str, Callable[[Callable[[Any], Any]], _Descend], str], ...] = (
    (tempfile._TemporaryFileWrapper, "file", lambda describe: _below("file", describe), ""),
    (tempfile.SpooledTemporaryFile, "_file", _spooled, "which is still in memory, and counts"),
    (gfile.FileObjectPosix, "io", _file_object, ""),
    (gfile.FileObjectBlock, "io", _file_object, ""),
    (gfile.FileObjectThread, "io", _in_threads, "whose calls go through its owner's threads"),
)
for _type, _inner, _make, _declining in _WRAPPERS:
    sources.add(_type, _make(source), _inner, _declining)
    sinks.add(_type, _make(sink), _inner, _declining)

for _type in (bytes, bytearray, memoryview):
    sources.add(_type, lambda obj: memory.MemorySource(memory.Cursor(obj)))
for _type in (memory.Cursor, io.BytesIO, mmap.mmap):
    sources.add(_type, memory.MemorySource)
for _type in (bytearray, io.BytesIO, mmap.mmap):
    sinks.add(_type, memory.MemorySink)
