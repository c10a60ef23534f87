"""Consent looks at position and descriptor, too: whoever overrides one of them knows something (hard case R9).

Rules: what a copy must give is found out by a loop of the object's own ``read`` or ``write`` over a twin, and never
written down here: a view behind a header, a position that is another's, another file's descriptor.
"""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import contextlib
import io
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import SHUT_WR, SocketIO
from typing import Any, NamedTuple
from unittest import mock

import pytest
from gevent import fileobject
from gevent import socket as gsocket
from gevent._fileobjectposix import GreenFileDescriptorIO  # type: ignore[import-not-found]

import gzc

from .._ends import PATIENCE, Ends, payload

CONTENT = payload(40_000)
OTHER = payload(40_000, 1_000_000)
BOTH = ("tell", "seek", "seekable", "fileno", "flush")


def _swallow(*args: Any) -> int:
    return len(next(data for data in args if isinstance(data, (bytes, memoryview))))


def _getattribute(self: object, name: str) -> object:
    return object.__getattribute__(self, name)


def lies(ends: Ends) -> dict[str, Callable[..., Any]]:
    """What the overrides say."""
    other = ends.file(OTHER, "r+b")
    return {
        "tell": lambda *_: 7,
        "seek": lambda *_: 7,
        "seekable": lambda *_: False,
        "fileno": lambda *_: other.fileno(),
        "flush": lambda *_: None,
        "readable": lambda *_: False,
        "writable": lambda *_: False,
        "__getattribute__": _getattribute,
        **dict.fromkeys(("read", "readinto", "recv", "getvalue"), lambda *_: b""),
        "getbuffer": lambda *_: memoryview(b"not this"),
        **dict.fromkeys(("write", "send"), _swallow),
    }


class Known(NamedTuple):
    """A type that is known.

    base
        The class that gets an override.
    make
        From a class to the end to copy and the object of that class: itself, or below it.
    methods
        Those that it has.
    patchable
        Whether somebody may replace methods in the class: not in those that are written in C.
    """

    base: type
    make: Callable[[Ends, type], tuple[Any, Any]]
    methods: tuple[str, ...] = BOTH
    patchable: bool = True


def _same(obj: Any) -> tuple[Any, Any]:
    return obj, obj


def _under(outer: Callable[[Any], Any], raw: Any) -> tuple[Any, Any]:
    return outer(raw), raw


def _as(obj: Any, cls: type) -> Any:
    if type(obj) is not cls:
        obj.__class__ = cls
    return obj


def _below(outer: Any, cls: type) -> tuple[Any, Any]:
    """The raw object of `outer`, made one of `cls`."""
    return outer, _as(getattr(outer, "io", outer).raw, cls)


def _filled_pipe(ends: Ends, cls: type) -> tuple[Any, Any]:
    out, into = os.pipe()
    os.write(into, CONTENT)
    os.close(into)
    return _below(ends.keep(fileobject.FileObjectPosix(out, "rb")), cls)


def _spooled(cls: Any) -> Any:
    spool = cls(max_size=1)
    spool._file.write(CONTENT)
    spool.rollover()
    spool._file.seek(0)
    return spool


def _socket(ends: Ends, cls: Any) -> Any:
    here, there = ends.unix()
    ends.feeding(there, CONTENT)
    return ends.keep(cls(here.family, here.type, fileno=here.detach()))


def _mapped(ends: Ends, cls: Any) -> Any:
    return ends.keep(cls(ends.file(CONTENT, "r+b").fileno(), 0))


class Vouching:
    """A class that vouches for itself, with a position of its own."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def read(self, count: int = -1) -> bytes:
        return self.file.read(count)  # type: ignore[no-any-return]

    def write(self, data: bytes) -> int:
        return self.file.write(data)  # type: ignore[no-any-return]

    def tell(self) -> int:
        return self.file.tell()  # type: ignore[no-any-return]

    def seek(self, *where: int) -> int:
        return self.file.seek(*where)  # type: ignore[no-any-return]

    def __gzc_source__(self) -> Any:
        return gzc.source(self.file)

    def __gzc_sink__(self) -> Any:
        return gzc.sink(self.file)


C: Any = {"patchable": False}

SOURCES = {
    "FileIO": Known(io.FileIO, lambda ends, cls: _same(cls(ends.path(CONTENT))), (*BOTH, "readable"), **C),
    "BufferedReader": Known(
        io.BufferedReader, lambda ends, cls: _same(cls(ends.file(CONTENT, buffering=0))), (*BOTH, "readable"), **C
    ),
    "BufferedRandom": Known(
        io.BufferedRandom, lambda ends, cls: _same(cls(ends.file(CONTENT, "r+b", 0))), (*BOTH, "readable"), **C
    ),
    "FileIO, buffered": Known(io.FileIO, lambda ends, cls: _under(io.BufferedReader, cls(ends.path(CONTENT))), **C),
    "FileIO, buffered for both": Known(
        io.FileIO,
        lambda ends, cls: _under(io.BufferedRandom, cls(ends.path(CONTENT), "r+b")),
        ("tell", "seek", "fileno", "flush"),  # one that is not seekable is refused by io itself
        **C,
    ),
    "FileObjectBlock": Known(
        fileobject.FileObjectBlock, lambda ends, cls: _same(ends.keep(cls(str(ends.path(CONTENT)), "rb")))
    ),
    "GreenFileDescriptorIO": Known(GreenFileDescriptorIO, _filled_pipe),
    "temporary file": Known(
        tempfile._TemporaryFileWrapper,
        lambda ends, cls: _same(cls(ends.file(CONTENT), "name", delete=False)),
    ),
    "spooled file": Known(tempfile.SpooledTemporaryFile, lambda ends, cls: _same(ends.keep(_spooled(cls)))),
    "BytesIO": Known(io.BytesIO, lambda ends, cls: _same(cls(CONTENT)), ("tell", "seek", "getbuffer", "getvalue"), **C),
    "mmap": Known(mmap.mmap, lambda ends, cls: _same(_mapped(ends, cls)), ("tell", "seek", "flush"), **C),
    "socket": Known(gsocket.socket, lambda ends, cls: _same(_socket(ends, cls)), ("fileno",)),
    "SocketIO": Known(
        SocketIO,
        lambda ends, cls: _same(_as(_socket(ends, gsocket.socket).makefile("rb", 0), cls)),
        ("fileno", "seekable"),
    ),
    "SocketIO, buffered": Known(
        SocketIO, lambda ends, cls: _below(_socket(ends, gsocket.socket).makefile("rb"), cls), ("fileno", "seekable")
    ),
    "socket, buffered": Known(
        gsocket.socket, lambda ends, cls: _under(lambda sock: sock.makefile("rb"), _socket(ends, cls)), ("fileno",)
    ),
    "dunder": Known(Vouching, lambda ends, cls: _same(cls(ends.file(CONTENT))), ("tell", "seek")),
}


def _ways() -> Iterator[Any]:
    for direction, table in (("source", SOURCES), ("sink", SINKS)):
        for name, known in table.items():
            data = ("recv", "send") if known.base is gsocket.socket else ("read", "write")
            for method in (*known.methods, data[direction == "sink"], "__getattribute__"):
                for way in ("subclass", "instance", "patched"):
                    if way == "patched" and not known.patchable:
                        continue
                    if way == "instance" and method == "__getattribute__":
                        continue
                    yield pytest.param(direction, name, method, way, id=f"{direction}-{name}-{method}-{way}")


@contextlib.contextmanager
def overridden(ends: Ends, known: Known, method: str, way: str, describe: Callable[[Any], Any]) -> Iterator[Any]:
    """An end whose `method`, or that of the object below, is overridden in this way."""
    lie = lies(ends)[method]
    if way == "subclass":
        yield known.make(ends, type("Sub", (known.base,), {method: lie}))[0]
    elif way == "patched":
        end, _ = known.make(ends, known.base)
        describe(end)  # a class that describes itself is as it is when gzc first sees it
        with mock.patch.object(known.base, method, lie, create=True):
            yield end
    else:
        end, holder = known.make(ends, known.base)
        if not hasattr(holder, "__dict__"):  # a class in C with no place for it
            end, holder = known.make(ends, type("Plain", (known.base,), {}))
        setattr(holder, method, lie)
        yield end


def _into_file(make: Callable[[Any, Path], tuple[Any, Any]]) -> Callable[[Ends, type], tuple[Any, Any]]:
    def made(ends: Ends, cls: type) -> tuple[Any, Any]:
        path = ends.path(OTHER)
        end, holder = make(cls, path)
        ends.content = path.read_bytes  # type: ignore[attr-defined]
        return end, holder

    return made


def _into_socket(make: Callable[[Any], tuple[Any, Any]]) -> Callable[[Ends, type], tuple[Any, Any]]:
    def made(ends: Ends, cls: Any) -> tuple[Any, Any]:
        here, there = ends.unix()
        peer = ends.reading(there)
        sock = ends.keep(gsocket.socket(here.family, here.type, fileno=here.detach()))

        def content() -> bytes:
            sock.shutdown(SHUT_WR)
            return peer.all()

        ends.content = content  # type: ignore[attr-defined]
        return make((sock, cls))

    return made


def _into_pipe(ends: Ends, cls: type) -> tuple[Any, Any]:
    out, into = os.pipe()
    reading = ends.keep(fileobject.FileObjectPosix(out, "rb"))
    got = ends.spawn(reading.read)
    end, holder = _below(fileobject.FileObjectPosix(into, "wb"), cls)

    def content() -> bytes:
        with contextlib.suppress(OSError):
            end.close()
        return bytes(got.get(timeout=PATIENCE))

    ends.content = content  # type: ignore[attr-defined]
    return end, holder


def _retyped(sock: Any, cls: type) -> Any:
    return sock if cls is gsocket.socket else cls(sock.family, sock.type, fileno=os.dup(sock.fileno()))


SINKS = {
    "FileIO": Known(io.FileIO, _into_file(lambda cls, path: _same(cls(path, "r+b"))), (*BOTH, "writable"), **C),
    "BufferedWriter": Known(
        io.BufferedWriter, _into_file(lambda cls, path: _same(cls(open(path, "r+b", 0)))), (*BOTH, "writable"), **C
    ),
    "BufferedRandom": Known(
        io.BufferedRandom, _into_file(lambda cls, path: _same(cls(open(path, "r+b", 0)))), (*BOTH, "writable"), **C
    ),
    "FileIO, buffered": Known(
        io.FileIO, _into_file(lambda cls, path: _under(io.BufferedWriter, cls(path, "r+b"))), **C
    ),
    "FileObjectBlock": Known(fileobject.FileObjectBlock, _into_file(lambda cls, path: _same(cls(str(path), "r+b")))),
    "GreenFileDescriptorIO": Known(GreenFileDescriptorIO, _into_pipe),
    "temporary file": Known(
        tempfile._TemporaryFileWrapper,
        _into_file(lambda cls, path: _same(cls(open(path, "r+b"), "name", delete=False))),
    ),
    "socket": Known(gsocket.socket, _into_socket(lambda given: _same(_retyped(*given))), ("fileno",)),
    "SocketIO, buffered": Known(
        SocketIO, _into_socket(lambda given: _below(given[0].makefile("wb"), given[1])), ("fileno", "seekable")
    ),
    "dunder": Known(Vouching, _into_file(lambda cls, path: _same(cls(open(path, "r+b")))), ("tell", "seek")),
}


@pytest.mark.parametrize(("direction", "name", "method", "way"), list(_ways()))
def test_an_override_of_what_gzc_would_ask_takes_the_consent_back(
    ends: Ends, direction: str, name: str, method: str, way: str
) -> None:
    """R9, and O9 for ``read`` and ``write``: the bytes are those of the object's own methods."""
    if direction == "source":
        known = SOURCES[name]
        with overridden(ends, known, method, way, gzc.source) as twin:
            expected = b"".join(iter(lambda: _read(twin), b""))
        with overridden(ends, known, method, way, gzc.source) as end:
            described = gzc.source(end)
            assert described.kind is gzc.Kind.OPAQUE
            assert method in described.note
            assert gzc.copy(end, taken := bytearray()) == len(expected)
        assert taken == expected
        return
    known = SINKS[name]
    with overridden(ends, known, method, way, gzc.sink) as twin:
        _write(twin)
        expected = _closed(ends, twin)
    with overridden(ends, known, method, way, gzc.sink) as end:
        described = gzc.sink(end)
        assert described.kind is gzc.Kind.OPAQUE
        assert method in described.note
        assert gzc.copy(CONTENT, end) == len(CONTENT)
        assert _closed(ends, end) == expected


def _read(obj: Any) -> bytes:
    return (obj.read if hasattr(obj, "read") else obj.recv)(65536) or b""


def _write(obj: Any) -> None:
    (obj.write if hasattr(obj, "write") else obj.sendall)(CONTENT)


def _closed(ends: Ends, end: Any) -> bytes:
    if not isinstance(end, gsocket.socket):
        with contextlib.suppress(Exception):
            getattr(end, "file", end).close()
    return ends.content()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("name", SOURCES)
def test_without_an_override_each_of_them_goes_below(ends: Ends, name: str) -> None:
    """Else the table above would say nothing."""
    end, _ = SOURCES[name].make(ends, SOURCES[name].base)
    assert gzc.source(end).kind is not gzc.Kind.OPAQUE
    assert gzc.copy(end, taken := bytearray()) == len(CONTENT)
    assert taken == CONTENT


@pytest.mark.parametrize("name", SINKS)
def test_without_an_override_each_sink_goes_below(ends: Ends, name: str) -> None:
    end, _ = SINKS[name].make(ends, SINKS[name].base)
    assert gzc.sink(end).kind is not gzc.Kind.OPAQUE
    assert gzc.copy(CONTENT, end) == len(CONTENT)
    assert _closed(ends, end)[: len(CONTENT)] == CONTENT


class Behind(io.FileIO):
    """A view of what lies behind a header of 100 bytes."""

    def tell(self) -> int:
        return super().tell() - 100

    def seek(self, offset: int, whence: int = 0) -> int:
        return super().seek(offset + 100 if whence == 0 else offset, whence) - 100


@pytest.mark.parametrize("buffered", [False, True])
def test_a_view_behind_a_header(ends: Ends, buffered: bool) -> None:
    """R9: the header is neither sent nor overwritten, not even where the copy is another file's."""
    path = ends.path(OTHER[:100] + CONTENT)
    view: Any = ends.keep(Behind(path, "r+b"))
    view.seek(0)
    source = ends.keep(io.BufferedReader(view)) if buffered else view
    assert gzc.copy(source, taken := bytearray()) == len(CONTENT)
    assert taken == CONTENT
    assert source.tell() == len(CONTENT)
    view.seek(0)
    sink = io.BufferedWriter(view) if buffered else view
    assert gzc.copy(ends.file(OTHER), sink) == len(OTHER)
    sink.close()
    assert path.read_bytes() == OTHER[:100] + OTHER
