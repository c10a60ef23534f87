"""Who may be bypassed: a file number is no consent (hard cases O7 to O11, P9, X3).

Rules: each test says both what the plan is and what bytes arrive, since a bypass shows in the bytes and a lost
fast path only in the plan.
"""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import bz2
import codecs
import functools
import gzip
import importlib
import io
import lzma
import os
import socket as native
import ssl
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import gevent
import pytest
import trustme
from gevent import fileobject
from gevent import socket as gsocket
from gevent import ssl as gssl

import gzc

from .._ends import (
    MIB,
    PATIENCE,
    Ends,
    PlainFileObject,
)
from .._inside import HOMES, Reader, _consent
from .._pairs import AHEAD
from .._program import finished

CONTENT = bytes(range(97, 123)) * 4000


def received(ends: Ends, source: Any, mechanism: str) -> bytes:
    """What arrives on a socket when `source` is copied to it, by `mechanism` alone."""
    sock, there = ends.unix()
    peer = ends.reading(there)
    plan = gzc.explain(source, sock)
    assert plan.mechanism == mechanism, plan
    with gzc.trace() as t:
        moved = gzc.copy(source, sock)
    assert t.bytes[mechanism] == sum(t.bytes.values()) == moved
    sock.close()
    data = peer.all()
    assert len(data) == moved
    return data


def sent(ends: Ends, sock: Any, there: Any, mechanism: str) -> bytes:
    """What `there` receives when a file is copied to `sock`, by `mechanism` alone."""
    peer = ends.reading(there)
    file = ends.file(CONTENT)
    plan = gzc.explain(file, sock)
    assert plan.mechanism == mechanism, plan
    assert gzc.copy(file, sock) == len(CONTENT)
    sock.close()
    return peer.all()


# -- files -------------------------------------------------------------------------------------------------


#: What compresses in this Python; zstd since 3.14.
COMPRESSING = [gzip, bz2, lzma, *([importlib.import_module("compression.zstd")] if sys.version_info >= (3, 14) else [])]


@pytest.mark.parametrize("module", COMPRESSING)
def test_compressed_files_give_what_is_inside(ends: Ends, module: Any) -> None:
    """Hard case O7: they have a fileno(), and it is that of the compressed bytes."""
    path = ends.path(module.compress(CONTENT))
    with module.open(path) as file:
        assert file.fileno() >= 0
        assert received(ends, file, "userspace") == CONTENT


def test_a_recoder_gives_what_is_recoded(ends: Ends) -> None:
    """Hard case O7."""
    file = codecs.EncodedFile(ends.file("äöü".encode() * 10_000), "latin-1", "utf-8")
    assert received(ends, file, "userspace") == "äöü".encode("latin-1") * 10_000


def test_a_tarfile_member_is_a_part_of_the_file(ends: Ends) -> None:
    """It is an io.BufferedReader, as open() gives, but what is below it is no descriptor of its own."""
    path = ends.path()
    with tarfile.open(path, "w") as archive:
        for name in ("one", "two", "three"):
            member = tarfile.TarInfo(name)
            member.size = len(CONTENT)
            archive.addfile(member, io.BytesIO(CONTENT))
    with tarfile.open(path) as archive:
        member_file = archive.extractfile("two")
        assert isinstance(member_file, io.BufferedReader)
        assert received(ends, member_file, "userspace") == CONTENT


class Upper(io.FileIO):
    def readinto(self, buffer: Any) -> int:
        got = super().readinto(buffer)
        buffer[:got] = bytes(buffer[:got]).upper()
        return got

    def readall(self) -> bytes:
        return super().readall().upper()

    def read(self, count: int = -1) -> bytes:
        return super().read(count).upper()


def test_a_subclass_that_overrides_read_is_asked_itself(ends: Ends) -> None:
    """Hard case O9."""
    assert received(ends, ends.keep(Upper(ends.path(CONTENT))), "userspace") == CONTENT.upper()


def test_a_buffered_file_over_such_a_subclass_is_asked_itself(ends: Ends) -> None:
    assert received(ends, ends.keep(io.BufferedReader(Upper(ends.path(CONTENT)))), "userspace") == CONTENT.upper()


def test_a_subclass_that_overrides_no_data_method_keeps_the_fast_path(ends: Ends) -> None:
    class Named(io.FileIO):
        title = "report"

        def close(self) -> None:
            super().close()

        def write(self, data: Any) -> NoReturn:  # carries data, but not in this direction
            raise AssertionError

    assert received(ends, ends.keep(Named(ends.path(CONTENT))), "sendfile") == CONTENT


def _upper(read: Callable[..., bytes]) -> Callable[..., bytes]:
    def upper(*args: Any) -> bytes:
        return read(*args).upper()

    return upper


def _upper_wrapped(read: Callable[..., bytes]) -> Callable[..., bytes]:
    return functools.wraps(read)(_upper(read))


@pytest.mark.parametrize("wrap", [_upper, _upper_wrapped])
@pytest.mark.parametrize(
    "open_",
    [
        lambda path: open(path, "rb"),
        lambda path: open(path, "rb", 0),
        lambda path: PlainFileObject(str(path), "rb"),
        lambda path: fileobject.FileObjectBlock(str(path), "rb"),
    ],
    ids=["buffered", "raw", "FileObjectPosix", "FileObjectBlock"],
)
def test_an_override_on_the_instance_is_honoured(ends: Ends, open_: Any, wrap: Any) -> None:
    """Hard case O9: `f.read = counted(f.read)`, with and without functools.wraps."""
    file = ends.keep(open_(ends.path(CONTENT)))
    file.read = wrap(file.read)
    assert received(ends, file, "userspace") == CONTENT.upper()


@pytest.mark.parametrize("wrap", [_upper, _upper_wrapped])
@pytest.mark.parametrize("below", [True, False])
@pytest.mark.parametrize("buffering", [-1, 0])
def test_an_override_on_a_temporary_file_is_honoured(ends: Ends, wrap: Any, below: bool, buffering: int) -> None:
    """tempfile keeps delegates in the instance: they are no override, but what replaces one is (M18)."""
    file = ends.keep(tempfile.NamedTemporaryFile(buffering=buffering))
    file.write(CONTENT)
    file.seek(0)
    assert file.read(0) == b""  # the delegate is cached now
    assert gzc.explain(file, ends.unix()[0]).mechanism == "sendfile"
    if below:
        file.file.read = wrap(file.file.read)
        assert received(ends, file.file, "userspace") == CONTENT.upper()
    else:
        file.read = wrap(file.file.read)
        assert received(ends, file, "userspace") == CONTENT.upper()


@pytest.mark.parametrize("kind", [PlainFileObject, fileobject.FileObjectBlock], ids=["FileObject", "FileObjectBlock"])
@pytest.mark.parametrize("bufsize", [-1, 0])
def test_gevents_own_delegates_are_no_override(ends: Ends, kind: Any, bufsize: int) -> None:
    """M18: FileObjects keep bound methods of the object below in the instance, of whatever type C has for them."""
    file = ends.keep(kind(str(ends.path(CONTENT)), "rb", bufsize=bufsize))
    assert "read" in vars(file)
    assert received(ends, file, "sendfile") == CONTENT
    sink = ends.keep(kind(str(ends.path(b"")), "wb", bufsize=bufsize))
    assert "write" in vars(sink)
    assert gzc.explain(ends.file(CONTENT), sink).mechanism == "copy_file_range"


def test_an_unrolled_spooled_file_is_left_in_memory(ends: Ends) -> None:
    """Hard case O8: its fileno() would roll it over."""
    spool = ends.keep(tempfile.SpooledTemporaryFile(max_size=MIB))
    spool.write(CONTENT)
    spool.seek(0)
    assert received(ends, spool, "userspace") == CONTENT
    assert not spool._rolled
    gzc.copy(CONTENT, spool)
    assert not spool._rolled


def test_a_spooled_file_as_a_sink_rolls_over_when_it_is_full(ends: Ends) -> None:
    spool = ends.keep(tempfile.SpooledTemporaryFile(max_size=1000))
    assert gzc.copy(ends.file(CONTENT), spool) == len(CONTENT)
    assert spool._rolled
    spool.seek(0)
    assert spool.read() == CONTENT


def test_fileno_of_an_unknown_type_is_never_called(ends: Ends) -> None:
    """Hard case O8."""

    class Strange:
        def __init__(self) -> None:
            self._inner = io.BytesIO(CONTENT)
            self.read = self._inner.read

        def fileno(self) -> NoReturn:
            raise AssertionError("asked")

    assert received(ends, Strange(), "userspace") == CONTENT


def test_a_mode_attribute_that_is_no_string_does_no_harm(ends: Ends) -> None:
    """Hard case O11: GzipFile.mode is an int."""
    file = ends.file(CONTENT)
    mine = io.FileIO(ends.path(CONTENT))
    mine.mode_of_mine = 1  # type: ignore[attr-defined]
    assert received(ends, ends.keep(mine), "sendfile") == CONTENT
    assert received(ends, file, "sendfile") == CONTENT


# -- sockets -----------------------------------------------------------------------------------------------


class Shouting(gsocket.socket):
    """Overrides `send` alone, as a socket that encrypts would."""

    def send(self, data: Any, flags: int = 0) -> int:
        return super().send(bytes(data).upper(), flags)


class ShoutingAll(gsocket.socket):
    """Overrides `sendall` alone."""

    def sendall(self, data: Any, flags: int = 0) -> None:
        super().sendall(bytes(data).upper(), flags)


class Quiet(gsocket.socket):
    """Overrides nothing that carries data."""

    def close(self) -> None:
        super().close()


def _as(cls: type, sock: Any) -> Any:
    return cls(sock.family, sock.type, fileno=sock.detach())


@pytest.mark.parametrize("cls", [Shouting, ShoutingAll])
def test_a_socket_that_overrides_sending_is_asked_itself(ends: Ends, cls: type) -> None:
    """Hard cases O9, O10."""
    here, there = ends.unix()
    sock = ends.keep(_as(cls, here))
    assert sent(ends, sock, there, "userspace") == CONTENT.upper()


def test_a_socket_subclass_that_overrides_nothing_keeps_the_fast_path(ends: Ends) -> None:
    here, there = ends.unix()
    assert sent(ends, ends.keep(_as(Quiet, here)), there, "sendfile") == CONTENT


def test_an_override_of_receiving_leaves_sending_alone(ends: Ends) -> None:
    class Deaf(gsocket.socket):
        def recv(self, *args: Any) -> bytes:
            return b""

    here, there = ends.unix()
    sock = ends.keep(_as(Deaf, here))
    assert gzc.copy(sock, bytearray()) == 0
    assert sent(ends, sock, there, "sendfile") == CONTENT


@pytest.mark.parametrize("name", ["send", "sendall"])
def test_an_override_on_the_instance_of_a_socket(ends: Ends, name: str) -> None:
    here, there = ends.unix()
    sock = ends.keep(_as(Quiet, here))  # gevent's own class has slots
    plain = getattr(sock, name)
    setattr(sock, name, lambda data, flags=0: plain(bytes(data).upper(), flags))
    assert sent(ends, sock, there, "userspace") == CONTENT.upper()


@pytest.mark.parametrize("name", ["send", "sendall"])
def test_a_socket_class_patched_after_import(ends: Ends, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = ends.unix()
    assert gzc.explain(ends.file(CONTENT), here).mechanism == "sendfile"
    plain = getattr(gsocket.socket, name)
    monkeypatch.setattr(gsocket.socket, name, lambda self, data, flags=0: plain(self, bytes(data).upper(), flags))
    assert sent(ends, here, there, "userspace") == CONTENT.upper()
    monkeypatch.undo()
    here, there = ends.unix()
    assert sent(ends, here, there, "sendfile") == CONTENT


def test_a_native_socket_uses_its_own_methods(ends: Ends) -> None:
    """Hard case O10: gevent's socket is no subclass of the native one, nor the other way round."""
    here, there = native.socketpair()
    with here, there:
        assert gzc.explain(ends.file(CONTENT), here).mechanism == "userspace"
        assert gzc.copy(CONTENT[:1000], here) == 1000
        assert there.recv(2000) == CONTENT[:1000]
        here.close()
        assert gzc.copy(there, sink := bytearray()) == 0
        assert sink == b""


class _Tls:
    """Two ends of a TLS connection over tcp, and what was seen on the wire between them."""

    def __init__(self, ends: Ends) -> None:
        authority = trustme.CA()
        server = gssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(server)
        client = gssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(client)
        inside, relay_in = ends.tcp()
        relay_out, outside = ends.tcp()
        self.wire = bytearray()
        ends.spawn(self._relay, relay_in, relay_out)
        ends.spawn(self._relay, relay_out, relay_in)
        shaking = ends.spawn(lambda: server.wrap_socket(inside, server_side=True))
        self.there = ends.keep(client.wrap_socket(outside, server_hostname="localhost"))
        self.here = ends.keep(shaking.get(timeout=PATIENCE))

    def _relay(self, source: gsocket.socket, sink: gsocket.socket) -> None:
        while data := source.recv(65536):
            self.wire += data
            sink.sendall(data)
        sink.shutdown(native.SHUT_WR)


def test_tls_is_never_bypassed_when_sending(ends: Ends) -> None:
    """Hard cases O10, P9: SSLSocket is a subclass of gevent's socket, and has a fileno()."""
    tls = _Tls(ends)
    file = ends.file(CONTENT)
    assert gzc.explain(file, tls.here).mechanism == "userspace"
    reading = ends.spawn(lambda: b"".join(iter(lambda: tls.there.recv(65536), b"")))
    assert gzc.copy(file, tls.here) == len(CONTENT)
    tls.here.close()
    assert reading.get(timeout=PATIENCE) == CONTENT
    assert CONTENT[:50] not in tls.wire
    assert len(tls.wire) > len(CONTENT)


def test_tls_is_never_bypassed_when_receiving(ends: Ends) -> None:
    tls = _Tls(ends)
    ends.spawn(tls.there.sendall, CONTENT)
    with gevent.Timeout(PATIENCE):
        assert gzc.copy(tls.here, sink := bytearray(), len(CONTENT)) == len(CONTENT)
    assert sink == CONTENT


def test_makefile_keeps_what_it_has_read_ahead(ends: Ends) -> None:
    """Hard case D12: the line that was read, and what came with it."""
    here, there = ends.unix()
    reader = ends.keep(here.makefile("rb"))
    there.sendall(b"first line\n" + CONTENT)
    assert reader.readline() == b"first line\n"
    there.shutdown(native.SHUT_WR)
    sock, peer_end = ends.unix()
    peer = ends.reading(peer_end)
    with gzc.trace() as t:
        assert gzc.copy(reader, sock) == len(CONTENT)
    sock.close()
    assert peer.all() == CONTENT
    assert 0 < t.bytes["userspace"] <= AHEAD, "what was read ahead, and only that"
    assert t.bytes["splice"] == len(CONTENT) - t.bytes["userspace"]


def test_makefile_as_a_sink(ends: Ends) -> None:
    here, there = ends.unix()
    peer = ends.reading(there)
    writer = ends.keep(here.makefile("wb"))
    writer.write(b"head ")
    assert gzc.copy(ends.file(CONTENT), writer) == len(CONTENT)
    writer.close()
    here.close()
    assert peer.all() == b"head " + CONTENT


# -- vouching ----------------------------------------------------------------------------------------------


@pytest.fixture
def registry() -> Iterator[None]:
    """Whatever a test registers is forgotten."""
    saved = [(register, dict(register._vouches)) for register in (_consent.sources, _consent.sinks)]
    yield
    for register, vouches in saved:
        register._vouches.clear()
        register._vouches.update(vouches)
        register._found.clear()


class Body:
    """A wrapper in the manner of a web framework's: `left` bytes of `inner`."""

    def __init__(self, inner: Any, left: int) -> None:
        self.inner = inner
        self.left = left
        self.steps: list[int] = []

    def read(self, count: int = -1) -> bytes:
        data: bytes = self.inner.read(self.left if count < 0 else min(count, self.left))
        self.left -= len(data)
        return data

    def consumed(self, count: int) -> None:
        self.left -= count


class Vouching(Body):
    def __gzc_source__(self) -> Any:
        return gzc.source(self.inner).limited(self.left).settling(self.consumed)


class Shrinking(Vouching):
    """Overrides below the dunder: what it says about its parent's bytes is no longer true."""

    def read(self, count: int = -1) -> bytes:
        return super().read(count).upper()


class Titled(Vouching):
    title = "no data method"


def test_an_unknown_wrapper_loses_the_fast_path(ends: Ends) -> None:
    """Hard case X3, and explain says so."""
    body = Body(ends.file(CONTENT), 50_000)
    assert "Body, which nobody vouches for" in gzc.explain(body, ends.unix()[0]).reason
    assert received(ends, body, "userspace") == CONTENT[:50_000]


def test_registering_gives_it_back(ends: Ends, registry: None) -> None:
    gzc.register(Body, source=lambda body: gzc.source(body.inner).limited(body.left).settling(body.consumed))
    body = Body(ends.file(CONTENT), 50_000)
    assert received(ends, body, "sendfile") == CONTENT[:50_000]
    assert body.left == 0
    assert body.inner.tell() == 50_000


def test_registering_late_reaches_objects_that_exist(ends: Ends, registry: None) -> None:
    body = Body(ends.file(CONTENT), 90_000)
    sock, _ = ends.unix()
    assert gzc.explain(body, sock).mechanism == "userspace"
    gzc.register(Body, source=lambda body: gzc.source(body.inner))
    assert gzc.explain(body, sock).mechanism == "sendfile"


def test_a_class_vouches_for_itself_by_dunder(ends: Ends) -> None:
    body = Vouching(ends.file(CONTENT), 50_000)
    assert received(ends, body, "sendfile") == CONTENT[:50_000]
    assert body.left == 0


@pytest.mark.parametrize("how", ["dunder", "register"])
def test_an_override_below_the_vouching_takes_it_back(ends: Ends, registry: None, how: str) -> None:
    if how == "register":
        gzc.register(Vouching, source=Vouching.__gzc_source__)
    body = Shrinking(ends.file(CONTENT), 50_000)
    assert "Shrinking, which overrides read" in gzc.explain(body, ends.unix()[0]).reason
    assert received(ends, body, "userspace") == CONTENT[:50_000].upper()
    assert body.left == 0
    assert received(ends, Titled(ends.file(CONTENT), 50_000), "sendfile") == CONTENT[:50_000]


def test_an_override_on_the_instance_takes_it_back(ends: Ends) -> None:
    body = Vouching(ends.file(CONTENT), 50_000)
    body.read = _upper(body.read)  # type: ignore[method-assign]
    assert received(ends, body, "userspace") == CONTENT[:50_000].upper()


@pytest.mark.parametrize("cls", [Vouching, Titled])
def test_patching_a_vouching_class_takes_it_back(ends: Ends, cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracers patch classes late; what gzc found out about the class before must not outlive that."""
    assert received(ends, cls(ends.file(CONTENT), 50_000), "sendfile") == CONTENT[:50_000]
    read = cls.read
    monkeypatch.setattr(cls, "read", lambda self, count=-1: read(self, count).upper())
    assert received(ends, cls(ends.file(CONTENT), 50_000), "userspace") == CONTENT[:50_000].upper()
    monkeypatch.undo()
    assert received(ends, cls(ends.file(CONTENT), 50_000), "sendfile") == CONTENT[:50_000]


def test_an_override_that_vouches_again_is_believed(ends: Ends) -> None:
    class Counted(Vouching):
        def read(self, count: int = -1) -> bytes:
            data = super().read(count)
            self.steps.append(len(data))
            return data

        def __gzc_source__(self) -> Any:
            return super().__gzc_source__().settling(self.steps.append)

    body = Counted(ends.file(CONTENT), 50_000)
    assert received(ends, body, "sendfile") == CONTENT[:50_000]
    assert sum(body.steps) == 50_000


def test_a_description_of_none_means_the_objects_own_methods(ends: Ends, registry: None) -> None:
    gzc.register(Body, source=lambda body: None)
    assert received(ends, Body(ends.file(CONTENT), 50_000), "userspace") == CONTENT[:50_000]


def test_a_sink_can_be_vouched_for(ends: Ends, registry: None) -> None:
    class Response:
        def __init__(self, sock: gsocket.socket) -> None:
            self.sock = sock
            self.sent = 0

        def write(self, data: bytes) -> NoReturn:
            raise AssertionError

        def count(self, moved: int) -> None:
            self.sent += moved

        def __gzc_sink__(self) -> Any:
            return gzc.sink(self.sock).settling(self.count)

    sock, there = ends.unix()
    peer = ends.reading(there)
    response = Response(sock)
    with gzc.trace() as t:
        assert gzc.copy(ends.file(CONTENT), response, fallback=False) == len(CONTENT)
    assert t.bytes["sendfile"] == response.sent == len(CONTENT)
    sock.close()
    assert peer.all() == CONTENT


@pytest.mark.parametrize("size", [10, len(CONTENT), 0])
@pytest.mark.parametrize("side", ["source", "sink"])
def test_observers_hear_every_step_of_either_end(ends: Ends, side: str, size: int) -> None:
    """The sum over a finished copy is the return value."""
    steps: list[int] = []
    source: Any = ends.file(CONTENT[:size])
    sock, there = ends.unix()
    ends.reading(there)
    sink: Any = sock
    if side == "source":
        source = gzc.source(source).observing(steps.append)
    else:
        sink = gzc.sink(sink).observing(steps.append)
    assert gzc.copy(source, sink) == sum(steps) == size


def test_several_settlers_and_observers_all_hear(ends: Ends) -> None:
    settled: list[tuple[str, int]] = []
    source = gzc.source(io.BytesIO(CONTENT))
    for name in "ab":
        source = source.settling(lambda n, name=name: settled.append((name, n)))
    assert gzc.copy(source, bytearray(), 77) == 77
    assert sorted(settled) == [("a", 77), ("b", 77)]


def test_composing_leaves_the_description_below_alone(ends: Ends) -> None:
    plain = gzc.source(ends.file(CONTENT))
    limited = plain.limited(10)
    assert (plain.limit, limited.limit) == (None, 10)
    assert limited.limited(100).limit == 10
    assert str(limited.noted("my body")) == "my body"
    assert str(plain) == str(gzc.source(ends.file(CONTENT)))


def test_registering_wants_a_class() -> None:
    with pytest.raises(TypeError, match="is not a class"):
        gzc.register(Body(None, 0), source=lambda body: None)  # type: ignore[arg-type]


def test_vouching_for_one_direction_says_nothing_of_the_other(ends: Ends) -> None:
    class Both:
        def __init__(self, file: Any) -> None:
            self.file = file

        def read(self, count: int) -> bytes:
            return bytes(self.file.read(count))

        def write(self, data: bytes) -> int:
            return int(self.file.write(data))

    gzc.register(Both, sink=lambda both: gzc.sink(both.file))
    assert gzc.sink(Both(ends.file(mode="wb"))).kind is gzc.Kind.FILE
    assert gzc.source(Both(ends.file(CONTENT))).kind is gzc.Kind.OPAQUE


def test_classes_made_by_the_request_are_not_kept_for_ever() -> None:
    """What is known of a type is kept, but not of more than a thousand of them."""
    for number in range(1100):
        cls = type(f"Body{number}", (), {"read": lambda self, count: b""})
        assert gzc.source(cls()).kind is gzc.Kind.OPAQUE
    assert len(_consent.sources._found) <= 1001
    assert gzc.source(io.BytesIO()).kind is gzc.Kind.MEMORY, "what was forgotten is found again"


def test_a_description_that_does_not_say_how_says_so() -> None:
    source = type("Described", (gzc.Source,), {"kind": gzc.Kind.OPAQUE})(object())
    sink = type("Described", (gzc.Sink,), {"kind": gzc.Kind.OPAQUE})(object())
    with pytest.raises(TypeError, match="does not say how to be read"):
        gzc.copy(source, bytearray())
    with pytest.raises(TypeError, match="does not say how to be written"):
        gzc.copy(b"content", sink)
    with pytest.raises(BlockingIOError, match="does not know how to wait for it"):
        Reader().wait()


@pytest.mark.parametrize(
    ("owner", "method", "end"),
    [
        ("gevent.socket.socket", "recv_into", "gevent.socket.socketpair()[0]"),
        ("socket.SocketIO", "readinto", "gevent.socket.socketpair()[0].makefile('rb')"),
        ("gevent.fileobject.FileObjectBlock", "read", "gevent.fileobject.FileObjectBlock(__file__, 'rb')"),
        ("tempfile.SpooledTemporaryFile", "seek", "tempfile.SpooledTemporaryFile()"),
    ],
)
def test_a_class_that_was_patched_before_gzc_was_loaded(tmp_path: Path, owner: str, method: str, end: str) -> None:
    """R9: a tracer may have come first, and wants to see the calls all the same; a seam of gzc's own is none."""
    script = tmp_path / "program.py"
    for patch, patched in (("pass", False), (f"{owner}.{method} = lambda *args: traced(*args)", True)):
        script.write_text(
            "import gevent.socket, gevent.fileobject, socket, tempfile, sys\n"
            f"traced = getattr({owner}, {method!r}, None)\n{patch}\n"
            "import gzc\n"
            f"assert {HOMES['_consent']!r} not in sys.modules\n"
            "gzc.patch_all(stdlib=False)\n"
            f"described = gzc.source({end})\n"
            f"assert (described.kind is gzc.Kind.OPAQUE) is {patched}, described\n"
            f"assert not {patched} or {method!r} in described.note, described\n"
        )
        finished([sys.executable, script])


@pytest.mark.parametrize("registered", [True, False])
def test_a_method_that_is_gone_takes_the_vouching_back(ends: Ends, registered: bool) -> None:
    """As one that was replaced does: an object without it is not what its class was."""

    class Wrapper:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def read(self, size: int) -> bytes:
            return bytes(self.inner.read(size))

        recv = read

        if not registered:

            def __gzc_source__(self) -> gzc.Source:
                return gzc.source(self.inner)

    if registered:
        gzc.register(Wrapper, source=lambda wrapper: gzc.source(wrapper.inner))
    wrapper = Wrapper(ends.file(b"content"))
    assert gzc.source(wrapper).kind is gzc.Kind.FILE
    del Wrapper.recv
    out = bytearray()
    assert gzc.copy(wrapper, out) == 7
    assert out == b"content"


def test_a_tracer_in_the_place_of_a_call_is_no_signal_handler(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a Python function between gzc and the kernel raises has a frame, as a handler's has."""
    for name in ("read", "write", "pread", "pwrite"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, _real=real: _real(*args))
    sock, peer = ends.stuck()
    ends.spawn(peer.start)
    with gevent.Timeout(PATIENCE):
        assert gzc.copy(b"x" * 3_000_000, sock) == 3_000_000
