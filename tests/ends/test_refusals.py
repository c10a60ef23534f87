"""A refusal names the object at fault, however far below it is, and what it overrides (hard case R17)."""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import gzip
import io
import tempfile
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from socket import SocketIO
from typing import Any
from unittest import mock

import pytest
from gevent import fileobject
from gevent import socket as gsocket
from gevent import ssl as gssl

import gzc

from .._ends import Ends, PlainFileObject, payload
from .._program import patched

CONTENT = payload(40_000)


class Upper(io.FileIO):
    def readinto(self, buffer: Any) -> int:
        got = super().readinto(buffer)
        buffer[:got] = bytes(buffer[:got]).upper()
        return got


class Middle(io.FileIO):
    def tell(self) -> int:
        return super().tell()


class Leaf(Middle):
    pass


class Recoding(gsocket.socket):
    def recv(self, *args: Any) -> bytes:
        return super().recv(*args)

    def sendall(self, *args: Any) -> None:
        super().sendall(*args)


class Part:
    """In the manner of somebody's wrapper that wants to know what is below: it declines where that is no file."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def read(self, size: int = -1) -> bytes:
        return self.inner.read(size)  # type: ignore[no-any-return]

    def __gzc_source__(self) -> Any:
        below = gzc.source(self.inner)
        return below if below.kind is gzc.Kind.FILE else None


class Moody(Part):
    def __gzc_source__(self) -> Any:
        assert gzc.source(io.BytesIO()).kind is gzc.Kind.MEMORY
        return None


def replaced(obj: Any, name: str, below: str = "") -> Any:
    """`obj`, after somebody has put a function of his own over `name` of it, or of what is `below` it."""
    setattr(attrgetter(below)(obj) if below else obj, name, lambda *args: b"")
    return obj


def retyped(sock: Any, cls: Any = Recoding) -> Any:
    return cls(sock.family, sock.type, fileno=sock.detach())


def tls(ends: Ends) -> Any:
    """A TLS socket that has not shaken hands yet."""
    context = gssl.SSLContext(gssl.PROTOCOL_TLS_CLIENT)
    return ends.keep(context.wrap_socket(ends.unix()[0], do_handshake_on_connect=False, server_hostname="x"))


def spooled(ends: Ends) -> Any:
    return ends.keep(tempfile.SpooledTemporaryFile(max_size=1000))


HERE = __name__
SOURCES: dict[str, tuple[Callable[[Ends], Any], str]] = {
    "a subclass": (lambda ends: Upper(ends.path(CONTENT)), f"{HERE}.Upper, which overrides readinto"),
    "its base": (lambda ends: Leaf(ends.path(CONTENT)), f"{HERE}.Leaf, which overrides tell in {HERE}.Middle"),
    "an instance": (
        lambda ends: replaced(io.FileIO(ends.path(CONTENT)), "seek"),
        "_io.FileIO, whose seek was replaced in the object",
    ),
    "unknown": (lambda ends: gzip.open(ends.path(gzip.compress(CONTENT))), "gzip.GzipFile, which nobody vouches for"),
    "a buffer over a subclass": (
        lambda ends: io.BufferedReader(Upper(ends.path(CONTENT))),
        f"_io.BufferedReader over {HERE}.Upper, which overrides readinto",
    ),
    "a buffer over an instance": (
        lambda ends: replaced(ends.file(CONTENT), "tell", "raw"),
        "_io.BufferedReader over _io.FileIO, whose tell was replaced in the object",
    ),
    "a temporary file around gzip": (
        lambda ends: tempfile._TemporaryFileWrapper(gzip.open(ends.path(gzip.compress(CONTENT))), "x", delete=False),
        "gzip.GzipFile, which nobody vouches for",
    ),
    "a FileObject over an overridden raw": (
        lambda ends: replaced(PlainFileObject(str(ends.path(CONTENT)), "rb"), "readinto", "io.raw"),
        ", whose readinto was replaced in the object",
    ),
    "a FileObject of threads": (
        lambda ends: ends.keep(fileobject.FileObjectThread(str(ends.path(CONTENT)), "rb")),
        "FileObjectThread, whose calls go through its owner's threads",
    ),
    "makefile of a subclass": (
        lambda ends: retyped(ends.unix()[0]).makefile("rb"),
        f"_io.BufferedReader over {HERE}.Recoding, which overrides recv",
    ),
    "makefile of TLS": (
        lambda ends: tls(ends).makefile("rb"),
        "_io.BufferedReader over gevent.ssl.SSLSocket, which overrides recv",
    ),
    "makefile with a raw object that was patched": (
        lambda ends: replaced(ends.unix()[0].makefile("rb"), "readinto", "raw"),
        "_io.BufferedReader over socket.SocketIO, whose readinto was replaced in the object",
    ),
    "limit of observe of gzip": (
        lambda ends: gzc.limit(gzc.observe(gzip.open(ends.path(gzip.compress(CONTENT))), int), 10),
        "gzip.GzipFile, which nobody vouches for",
    ),
    "somebody's wrapper, which declines for that": (
        lambda ends: Part(io.BufferedReader(Upper(ends.path(CONTENT)))),
        f"{HERE}.Part over {HERE}.Upper, which overrides readinto",
    ),
    "wrappers in wrappers": (
        lambda ends: gzc.limit(
            Part(Part(tempfile._TemporaryFileWrapper(Leaf(ends.path(CONTENT)), "x", delete=False))), 9
        ),
        f"{HERE}.Part over {HERE}.Leaf, which overrides tell in {HERE}.Middle",
    ),
    "one that declines by itself": (lambda ends: Moody(None), f"{HERE}.Moody, which describes nothing below it"),
    "datagrams": (
        lambda ends: ends.unix(gsocket.SOCK_DGRAM)[0],
        "socket, which keeps records, or is of a family gzc does not know",
    ),
    "makefile of datagrams": (
        lambda ends: ends.unix(gsocket.SOCK_SEQPACKET)[0].makefile("rb"),
        "socket, which keeps records, or is of a family gzc does not know",
    ),
}
SINKS: dict[str, tuple[Callable[[Ends], Any], str]] = {
    "a subclass": (lambda ends: retyped(ends.unix()[0]), f"{HERE}.Recoding, which overrides sendall"),
    "TLS": (tls, "gevent.ssl.SSLSocket, which overrides send"),
    "makefile of TLS": (
        lambda ends: tls(ends).makefile("wb"),
        "_io.BufferedWriter over gevent.ssl.SSLSocket, which overrides send",
    ),
    "a buffer over an instance": (
        lambda ends: replaced(ends.file(b"", "wb"), "seek", "raw"),
        "_io.BufferedWriter over _io.FileIO, whose seek was replaced in the object",
    ),
    "a spooled file": (spooled, "tempfile.SpooledTemporaryFile, which is still in memory, and counts"),
}


@pytest.mark.parametrize("what", SOURCES)
def test_the_object_at_fault_is_named(ends: Ends, what: str) -> None:
    """R17: explain, and the description itself, by class, method, and whether subclass, object or class."""
    make, why = SOURCES[what]
    obj = make(ends)
    assert gzc.source(obj).note.endswith(why), gzc.source(obj).note
    assert why in gzc.explain(obj, ends.unix()[0]).reason


@pytest.mark.parametrize("what", SINKS)
def test_the_sink_at_fault_is_named(ends: Ends, what: str) -> None:
    make, why = SINKS[what]
    assert gzc.sink(make(ends)).note.endswith(why)


@pytest.mark.parametrize(
    ("cls", "name", "make"),
    [
        (gsocket.socket, "recv", lambda ends: ends.unix()[0]),
        (gsocket.socket, "recv_into", lambda ends: ends.unix()[0].makefile("rb")),
        (SocketIO, "readinto", lambda ends: ends.unix()[0].makefile("rb")),
        (Part, "read", lambda ends: Part(ends.file(CONTENT))),
    ],
)
def test_a_patched_class_is_named(ends: Ends, cls: Any, name: str, make: Any) -> None:
    end = make(ends)
    assert gzc.source(end).kind is not gzc.Kind.OPAQUE
    with mock.patch.object(cls, name, return_value=b""):
        assert f"{cls.__qualname__}, whose {name} was replaced in the class" in gzc.source(end).note
    assert gzc.source(end).kind is not gzc.Kind.OPAQUE


def test_what_was_refused_before_is_not_named_for_what_declines_by_itself(ends: Ends) -> None:
    assert "Upper" in gzc.source(Part(Upper(ends.path(CONTENT)))).note
    assert gzc.source(Moody(None)).note == f"{HERE}.Moody, which describes nothing below it"


@pytest.fixture
def folder_name(tmp_path: Path) -> str:
    return str(tmp_path)


@pytest.mark.slow
@patched
def test_a_download_through_socks_names_the_socket(folder_name: str) -> None:
    """R17: requests over PySocks, a real proxy's protocol: socks.socksocket overrides recv, and it is named."""
    import struct

    import requests

    from .._clients import OK, Serving, answering, copyfileobj

    body = payload(300_000)
    with Serving(answering(OK, b"Content-Length: %d\r\n\r\n" % len(body), body)) as server:

        def proxy(sock: Any) -> None:
            """SOCKS5 without authentication (RFC 1928), for one CONNECT by address."""
            import gevent

            assert sock.recv(3)[:1] == b"\5"
            sock.sendall(b"\5\0")
            request = sock.recv(10)
            assert request[:4] == b"\5\1\0\1", request
            sock.sendall(b"\5\0\0\1" + bytes(6))
            with gsocket.create_connection(("127.0.0.1", struct.unpack(">H", request[8:])[0])) as there:
                asking = gevent.spawn(gzc.copy, sock, there)
                gzc.copy(there, sock)
                asking.kill()

        with Serving(proxy) as through:
            proxies = {"http": f"socks5://127.0.0.1:{through.port}"}
            raw = requests.get(server.url, stream=True, proxies=proxies).raw
            target = Path(folder_name, "got")
            with open(target, "wb") as file:
                note = gzc.source(raw).note
                assert note == "urllib3.response.HTTPResponse over socks.socksocket, which overrides recv", note
                assert note in gzc.explain(raw, file).reason
                copyfileobj(raw, file)
            assert target.read_bytes() == body
