"""Bad input, broken peers and full disks: a clear error, at the right moment, as the kernel said it.

Rules: what can be known beforehand must be refused before a byte moves, and the tests look; what the kernel
says later goes up with its errno and its class.
"""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import contextlib
import errno
import io
import mmap
import os
import pty
import socket as native
import struct
import tempfile
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import fileobject
from gevent import socket as gsocket

import gzc

from .._ends import (
    KIB,
    MIB,
    PATIENCE,
    Ends,
    PlainFileObject,
    is_at,
    payload,
    python,
)
from .._inside import Config
from .._lacks import tmpfs


@contextlib.contextmanager
def nothing_moves() -> Iterator[None]:
    with gzc.trace() as t:
        yield
    assert sum(t.bytes.values()) == sum(t.calls.values()) == 0


# -- what is no end ----------------------------------------------------------------------------------------

NO_ENDS: dict[str, Callable[[Ends], object]] = {
    "text file": lambda ends: ends.keep(open(ends.path(b"text"), encoding="utf-8")),
    "text file for writing": lambda ends: ends.keep(open(ends.path(), "w", encoding="utf-8")),
    "StringIO": lambda ends: io.StringIO("text"),
    "gevent text file": lambda ends: ends.keep(PlainFileObject(str(ends.path(b"text")), "r")),
    "temporary text file": lambda ends: ends.keep(tempfile.NamedTemporaryFile("w+")),
    "number": lambda ends: 1,
    "bool": lambda ends: True,
    "None": lambda ends: None,
    "str": lambda ends: "name",
    "path": lambda ends: ends.path(b"content"),
    "float": lambda ends: 1.5,
    "object": lambda ends: object(),
    "list": lambda ends: [b"a", b"b"],
}


@pytest.mark.parametrize("call", [gzc.copy, gzc.explain, gzc.Transfer], ids=["copy", "explain", "Transfer"])
@pytest.mark.parametrize("what", NO_ENDS)
def test_what_is_no_end_is_a_type_error(ends: Ends, what: str, call: Callable[..., object]) -> None:
    bad = NO_ENDS[what](ends)
    memory = io.BytesIO(b"content")
    with nothing_moves():
        with pytest.raises(TypeError):
            call(bad, memory)
        with pytest.raises(TypeError):
            call(memory, bad)
        with pytest.raises(TypeError):
            call(bad, memory, 0)
    assert memory.getvalue() == b"content"
    assert memory.tell() == 0


def test_the_type_errors_tell_what_to_do(ends: Ends) -> None:
    with pytest.raises(TypeError, match=r"open\(7, closefd=False\)"):
        gzc.copy(7, bytearray())
    with pytest.raises(TypeError, match="binary mode"):
        gzc.copy(io.StringIO(), bytearray())
    with pytest.raises(TypeError, match="read, recv"):
        gzc.copy(object(), bytearray())
    with pytest.raises(TypeError, match="write, sendall"):
        gzc.copy(b"", object())


@pytest.mark.parametrize("sink", [b"bytes", memoryview(b"view"), memoryview(bytearray(4)).toreadonly()])
def test_read_only_memory_is_no_sink(sink: object) -> None:
    with pytest.raises(TypeError), nothing_moves():
        gzc.copy(b"content", sink)


def test_a_read_only_mmap_is_no_sink(ends: Ends) -> None:
    memory = mmap.mmap(-1, 100, access=mmap.ACCESS_READ)
    source = io.BytesIO(b"content")
    with nothing_moves(), pytest.raises(TypeError):
        gzc.copy(source, memory)
    assert source.tell() == 0


def test_a_reader_of_text_is_found_out_at_the_first_read() -> None:
    class Text:
        def read(self, count: int) -> str:
            return "text"

    sink = bytearray()
    with pytest.raises(TypeError, match="binary"):
        gzc.copy(Text(), sink)
    assert sink == b""


def test_a_reader_that_gives_more_than_asked_is_refused() -> None:
    class Generous:
        def read(self, count: int) -> bytes:
            return bytes(count + 1)

    with pytest.raises(ValueError, match="asked for 5") as caught:
        gzc.copy(Generous(), sink := bytearray(), 5)
    assert sink == b""
    transfer = caught.value.transfer  # type: ignore[attr-defined]
    assert transfer.reclaim() == bytes(6), "what it gave is not lost"


def test_a_reader_that_gives_more_than_a_step_is_taken_at_its_word() -> None:
    """Without a count there is no too much: bodies over iterators do this, and shutil takes it."""
    blocks = [payload(MIB), payload(3), b""]

    class Generous:
        def read(self, count: int) -> bytes:
            return blocks.pop(0)

    assert gzc.copy(Generous(), sink := bytearray()) == MIB + 3
    assert sink == payload(MIB) + payload(3)


# -- closed ends, wrong direction --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "open_",
    [
        lambda path: open(path, "r+b"),
        lambda path: open(path, "r+b", 0),
        lambda path: PlainFileObject(path, "r+b"),
        lambda path: fileobject.FileObjectBlock(path, "r+b"),
        lambda path: fileobject.FileObjectThread(path, "r+b"),
        lambda path: tempfile.NamedTemporaryFile(),
        lambda path: tempfile.TemporaryFile(),
        lambda path: tempfile.SpooledTemporaryFile(),
        lambda path: io.BytesIO(),
        lambda path: mmap.mmap(-1, 10),
    ],
)
def test_a_closed_file_is_a_value_error(ends: Ends, open_: Callable[[str], Any]) -> None:
    file = open_(str(ends.path(payload(100_000))))
    file.close()
    source = io.BytesIO(b"content")
    with nothing_moves():
        with pytest.raises(ValueError, match="closed"):
            gzc.copy(file, bytearray())
        with pytest.raises(ValueError, match="closed"):
            gzc.copy(source, file)
    assert source.tell() == 0


def test_a_detached_file_is_a_value_error(ends: Ends) -> None:
    file = open(ends.path(b"content"), "rb")
    raw = ends.keep(file.detach())
    with pytest.raises(ValueError, match="detached"):
        gzc.copy(file, bytearray())
    assert gzc.copy(raw, bytearray()) == 7


@pytest.mark.parametrize("family", ["gevent", "native"])
def test_a_closed_socket_is_ebadf(family: str) -> None:
    sock, other = (gsocket if family == "gevent" else native).socketpair()
    sock.close()
    source = io.BytesIO(b"content")
    with other, nothing_moves():
        for src, dst in ((sock, bytearray()), (source, sock)):
            with pytest.raises(OSError, match="descriptor") as caught:
                gzc.copy(src, dst)
            assert caught.value.errno == errno.EBADF
    assert source.tell() == 0


def test_a_closed_socket_of_a_subclass_is_ebadf() -> None:
    """It has a ``__dict__``, by which gevent's own would have said it before."""

    class Mine(gsocket.socket):
        pass

    sock = Mine()
    sock.close()
    for describe in (gzc.source, gzc.sink):
        with pytest.raises(OSError, match="descriptor") as caught:
            describe(sock)
        assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("mode", ["rb", "wb"])
def test_a_closed_makefile_is_a_value_error(ends: Ends, mode: str) -> None:
    file = ends.unix()[0].makefile(mode)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        (gzc.source if mode == "rb" else gzc.sink)(file)


@pytest.mark.parametrize("buffering", [-1, 0])
def test_the_wrong_direction(ends: Ends, buffering: int) -> None:
    source = io.BytesIO(b"content")
    with nothing_moves():
        with pytest.raises(io.UnsupportedOperation):
            gzc.copy(ends.file(mode="wb", buffering=buffering), bytearray())
        with pytest.raises(io.UnsupportedOperation):
            gzc.copy(source, ends.file(b"there", buffering=buffering))
    assert source.tell() == 0


def test_own_methods_of_a_class_that_leaves_readable_and_writable_as_they_are() -> None:
    """Both then say no, and shutil copies all the same."""

    class Own(io.RawIOBase):
        def __init__(self) -> None:
            self.inner = io.BytesIO(b"content")

        def read(self, size: int = -1, /) -> bytes:
            return self.inner.read(size)

        def write(self, data: Any, /) -> int:
            return self.inner.write(data)

    assert gzc.copy(Own(), taken := bytearray()) == 7
    assert taken == b"content"
    sink = Own()
    assert gzc.copy(b"CON", sink) == 3
    assert sink.inner.getvalue() == b"CONtent"


def test_a_directory_is_eisdir(ends: Ends, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectoryError):
            gzc.copy(open(fd, "rb", closefd=False), ends.unix()[0])
    finally:
        os.close(fd)


# -- counts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [gzc.copy, gzc.explain, gzc.Transfer], ids=["copy", "explain", "Transfer"])
@pytest.mark.parametrize(
    ("count", "error"),
    [(-1, ValueError), (-(2**70), ValueError), (1.0, TypeError), ("1", TypeError), (b"", TypeError)],
)
def test_bad_counts(ends: Ends, call: Callable[..., object], count: object, error: type[Exception]) -> None:
    file, (sock, _) = ends.file(payload(100)), ends.unix()
    with nothing_moves(), pytest.raises(error):
        call(file, sock, count)
    assert file.tell() == 0


def test_anything_with_an_index_is_a_count() -> None:
    class Three:
        def __index__(self) -> int:
            return 3

    assert gzc.copy(b"content", sink := bytearray(), Three()) == 3
    assert sink == b"con"


@pytest.mark.parametrize("count", [2**31, 2**63, 2**64, 2**70])
def test_a_count_beyond_what_the_kernel_can_take(ends: Ends, count: int) -> None:
    """Hard case C13: it is cut, never passed on."""
    content = payload(100_000)
    file, (sock, there) = ends.file(content), ends.unix()
    peer = ends.reading(there)
    with gzc.trace() as t:
        assert gzc.copy(file, sock, count) == len(content)
    assert t.bytes["sendfile"] == len(content)
    sock.close()
    assert peer.all() == content


@pytest.mark.parametrize("call", ["copy", "run"])
def test_a_count_of_zero_does_nothing(ends: Ends, call: str) -> None:
    """Hard case F14: not even to a peer that is gone."""
    file, (sock, there) = ends.file(payload(MIB)), ends.unix()
    there.close()
    with nothing_moves():
        assert (gzc.copy(file, sock, 0) if call == "copy" else gzc.Transfer(file, sock, 0).run()) == 0
    assert file.tell() == 0


# -- fallback=False ----------------------------------------------------------------------------------------


def test_no_fallback_is_refused_before_a_byte_moves(ends: Ends) -> None:
    source = io.BytesIO(b"content")
    with nothing_moves(), pytest.raises(gzc.NotZeroCopyError) as caught:
        gzc.copy(source, ends.unix()[0], fallback=False)
    assert source.tell() == 0
    assert caught.value.transfer.moved == 0  # type: ignore[attr-defined]
    assert isinstance(caught.value, gzc.Error)
    assert not isinstance(caught.value, OSError)


def test_no_fallback_lets_nothing_and_empty_files_pass(ends: Ends) -> None:
    assert gzc.copy(io.BytesIO(b"content"), bytearray(), 0, fallback=False) == 0
    assert gzc.copy(ends.file(), ends.unix()[0], fallback=False) == 0


def test_no_fallback_for_a_file_that_hides_its_size(ends: Ends) -> None:
    """Hard case F2, in /proc."""
    with open("/proc/self/status", "rb") as file, pytest.raises(gzc.NotZeroCopyError) as caught:
        gzc.copy(file, ends.unix()[0], fallback=False)
    assert caught.value.transfer.moved == 0  # type: ignore[attr-defined]


# -- peers and networks (hard cases F12, L11, P3) ----------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "fallback"),
    [("file", True), ("file", False), ("small file", True), ("small file", False), ("bytes", True)],
)
def test_a_peer_that_is_gone_is_epipe_at_once(ends: Ends, source: str, fallback: bool) -> None:
    """P3: EPIPE on the first call does not mean that the file cannot be sent this way."""
    sock, there = ends.unix()
    there.close()
    content = payload(100 if source == "small file" else MIB)
    src = content if source == "bytes" else ends.file(content)
    with gzc.trace() as t, pytest.raises(BrokenPipeError) as caught:
        gzc.copy(src, sock, fallback=fallback)
    assert caught.value.transfer.moved == 0  # type: ignore[attr-defined]
    assert t.refused == []
    if source != "bytes":
        is_at(src, 0, content)


def test_after_a_reset_it_is_econnreset_then_epipe(ends: Ends) -> None:
    sock, there = ends.tcp()
    file = ends.file(payload(MIB))
    there.setsockopt(native.SOL_SOCKET, native.SO_LINGER, struct.pack("ii", 1, 0))
    there.close()
    with gevent.Timeout(PATIENCE):
        gsocket.wait_read(sock.fileno())  # the reset has arrived
    with gzc.trace() as t:
        for expected in (ConnectionResetError, BrokenPipeError):
            with pytest.raises(expected):
                gzc.copy(file, sock)
    assert t.refused == []
    assert t.bytes["sendfile"] == t.bytes["userspace"] == file.tell() == 0


def test_a_reset_source_is_econnreset(ends: Ends) -> None:
    """Hard case L14: what came before is delivered."""
    here, there = ends.tcp()
    there.sendall(b"before")
    sink = bytearray()
    assert gzc.copy(here, sink, 6) == 6
    there.setsockopt(native.SOL_SOCKET, native.SO_LINGER, struct.pack("ii", 1, 0))
    there.close()
    with pytest.raises(ConnectionResetError):
        gzc.copy(here, sink)
    assert sink == b"before"


def test_after_shutdown_it_is_epipe(ends: Ends) -> None:
    sock, _ = ends.tcp()
    sock.shutdown(native.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        gzc.copy(ends.file(payload(MIB)), sock)


@pytest.mark.parametrize("family", [native.AF_INET, native.AF_UNIX])
def test_an_unconnected_sink_and_source(ends: Ends, family: int) -> None:
    """Hard case F12."""
    sock = ends.keep(gsocket.socket(family, native.SOCK_STREAM))
    file = ends.file(payload(MIB))
    with pytest.raises(OSError, match=r"connected|pipe") as caught:
        gzc.copy(file, sock)
    assert caught.value.errno in (errno.EPIPE, errno.ENOTCONN)
    assert file.tell() == 0
    with pytest.raises(OSError, match=r"connected|argument") as caught:
        gzc.copy(sock, bytearray())
    assert caught.value.errno in (errno.ENOTCONN, errno.EINVAL)


def test_a_listening_socket_is_no_sink(ends: Ends) -> None:
    sock = ends.keep(gsocket.socket())
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    with pytest.raises(BrokenPipeError):
        gzc.copy(ends.file(payload(MIB)), sock)


# -- full disks (hard case C21) ----------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    with tmpfs(tmp_path / "tiny", "64k") as folder:
        yield folder


@pytest.mark.root
@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize("source", ["file", "bytes", "unix"])
def test_a_full_disk_is_enospc_with_the_exact_count(ends: Ends, tiny_disk: Path, source: str, buffering: int) -> None:
    content = payload(200_000)
    src: Any = content
    if source == "file":
        src = ends.file(content)
    elif source == "unix":
        src, there = ends.unix()
        ends.feeding(there, content)
    path = tiny_disk / "file"
    sink = open(path, "wb", buffering)
    try:
        with pytest.raises(OSError, match="No space") as caught:
            gzc.copy(src, sink)
        transfer: gzc.Transfer = caught.value.transfer  # type: ignore[attr-defined]
        moved = transfer.moved
        assert sink.tell() == moved
        assert path.stat().st_size == moved == 64 * KIB
        if source == "file":
            is_at(src, moved, content)
        taken = transfer.reclaim()
        assert taken == content[moved:][: len(taken)]
    finally:
        with contextlib.suppress(OSError):
            sink.close()
    assert path.read_bytes() == content[:moved]


LIMITED = """
import errno, gzc, os, resource, sys, tempfile
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
content = bytes(range(256)) * 1000
source = tempfile.SpooledTemporaryFile(); source.write(content); source.seek(0)
sink = open(sys.argv[1], "wb", int(sys.argv[2]))
try:
    gzc.copy(source, sink)
except OSError as exc:
    assert exc.errno == errno.EFBIG, exc
    print(exc.transfer.moved, sink.tell(), os.stat(sys.argv[1]).st_size, source.tell())
os._exit(0)  # not closing what may still hold bytes that do not fit
"""


@pytest.mark.parametrize("buffering", [0, -1])
def test_the_file_size_limit_is_efbig_with_the_exact_count(ends: Ends, buffering: int) -> None:
    path = ends.path()
    code = LIMITED.replace("os._exit(0)", "sys.stdout.flush(); os._exit(0)")
    assert python(code, path, buffering).split() == ["50000"] * 4
    assert path.read_bytes() == (bytes(range(256)) * 1000)[:50_000]


def test_dev_full(ends: Ends) -> None:
    with open("/dev/full", "wb", 0) as sink, pytest.raises(OSError, match="No space") as caught:
        gzc.copy(payload(100_000), sink)
    assert caught.value.transfer.moved == 0  # type: ignore[attr-defined]


# -- ends that will not wait -------------------------------------------------------------------------------


def test_a_readers_own_blocking_error_goes_up_as_it_is() -> None:
    """API.md: the caller's own exception object, never another in its place."""
    own = BlockingIOError(errno.EAGAIN, "mine")

    class Empty:
        def read(self, count: int) -> bytes:
            raise own

    with pytest.raises(BlockingIOError) as caught:
        gzc.copy(Empty(), bytearray())
    assert caught.value is own


@pytest.mark.parametrize("taken", [0, 1000])
def test_a_writers_own_blocking_error_is_believed(taken: int) -> None:
    """Who says how much it took must not be given the same block again: bytes would be sent twice."""
    own = BlockingIOError(errno.EAGAIN, "mine", taken)
    got = bytearray()

    class Full:
        def write(self, data: bytes) -> int:
            got.extend(data[:taken])
            raise own

    if taken:  # progress, as a full BufferedWriter reports it: what it did not take is offered again
        assert gzc.copy(payload(5000), Full()) == 5000
        assert got == payload(5000)
        return
    with pytest.raises(BlockingIOError) as caught:
        gzc.copy(payload(5000), Full())
    assert got == b""
    assert caught.value is own


@pytest.mark.parametrize("blocking", [True, False])
def test_a_full_pipe_is_waited_for_in_the_hub(ends: Ends, blocking: bool) -> None:
    """In either mode, and without touching it: other holders of the descriptor would see that (O14, B6)."""
    read_end, write_end = os.pipe()
    reader, writer = ends.keep(open(read_end, "rb")), ends.keep(open(write_end, "wb", 0))
    os.set_blocking(write_end, blocking)
    content = payload(MIB)
    with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(0.05):
        gzc.copy(content, writer)
    transfer = caught.value.transfer  # type: ignore[attr-defined]
    moved = transfer.moved
    assert 0 < moved < MIB
    assert os.get_blocking(write_end) is blocking
    assert reader.read(moved) == content[:moved]
    rest = gevent.spawn(gzc.copy, reader, sink := bytearray(), MIB - moved)
    assert transfer.run() == MIB
    rest.get()
    assert sink == content[moved:]


@pytest.mark.parametrize("blocking", [True, False])
def test_an_empty_pipe_is_waited_for_in_the_hub(ends: Ends, blocking: bool) -> None:
    read_end, write_end = os.pipe()
    reader, _ = ends.keep(open(read_end, "rb", 0)), ends.keep(open(write_end, "wb", 0))
    os.set_blocking(read_end, blocking)
    os.write(write_end, b"some")
    sink = bytearray()
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        gzc.copy(reader, sink)
    assert sink == b"some"
    assert os.get_blocking(read_end) is blocking


@pytest.mark.parametrize("reads", ["read", "readinto"])
def test_a_reader_that_has_nothing_now_is_no_end_of_file(reads: str) -> None:
    """None is a raw stream's word for EAGAIN; nobody knows how to wait for this one."""
    empty = type("Empty", (), {reads: lambda self, _: None})()
    with pytest.raises(BlockingIOError, match="non-blocking mode and has nothing to read") as caught:
        gzc.copy(empty, bytearray())
    assert caught.value.transfer.exact  # type: ignore[attr-defined]


def test_a_raw_stream_that_takes_nothing_now_has_not_taken_everything() -> None:
    class Full(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> None:
            """None, a raw stream's word for EAGAIN."""

    with pytest.raises(BlockingIOError, match="non-blocking mode and full") as caught:
        gzc.copy(payload(5000), Full())
    assert caught.value.transfer.moved == 0  # type: ignore[attr-defined]


def test_an_object_that_sends_nothing_does_not_spin() -> None:
    class Lazy:
        def send(self, data: Any) -> int:
            return 0

    with pytest.raises(BlockingIOError, match="takes nothing"):
        gzc.copy(payload(5000), Lazy())


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_full_terminal_in_non_blocking_mode(ends: Ends, buffering: int) -> None:
    """Nobody reads it, and the hub cannot wait for what gzc takes for a device: the count is right all the same."""
    master, slave = pty.openpty()
    reader = ends.keep(open(master, "rb", 0))
    tty.setraw(slave)
    os.set_blocking(slave, False)
    sink = open(slave, "wb", buffering)
    transfer = gzc.Transfer(payload(MIB), sink)
    with pytest.raises(BlockingIOError):
        transfer.run()
    os.set_blocking(master, False)
    arrived = b""
    while data := reader.read(KIB):
        arrived += data
    assert arrived
    assert arrived == payload(len(arrived))
    assert transfer.moved == len(arrived) if buffering == 0 else transfer.moved >= len(arrived)
    while True:  # what was left in the buffer fits now, by and by
        try:
            sink.close()
        except BlockingIOError:
            reader.read(KIB)
        else:
            break


# -- settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chunk", 0),
        ("chunk", 4095),
        ("chunk", 2**31),
        ("chunk", "many"),
        ("small", -1),
        ("hub_budget", 0),
        ("hub_budget", "nan"),
        ("disable", "teleport"),
        ("disable", "userspace"),
        ("disable", 5),
    ],
)
def test_a_wrong_setting_is_an_error_where_it_is_set(name: str, value: object) -> None:
    before = getattr(gzc.config, name)
    with pytest.raises(ValueError, match=f"GZC_{name.upper()}"):
        setattr(gzc.config, name, value)
    assert getattr(gzc.config, name) == before
    with pytest.raises(ValueError, match=name):
        Config({f"GZC_{name.upper()}": str(value)})


def test_an_unknown_setting_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="chunk"):
        gzc.config.chunks = 5  # type: ignore[attr-defined]


LIBUV = """
import gevent, gzc, os
assert "libuv" in type(gevent.get_hub().loop).__module__
r, w = os.pipe()
with open(r, "rb", 0) as reader, open(w, "wb", 0) as writer:
    def feed():
        assert os.get_blocking(r)  # libuv has been asked to watch it by now
        writer.write(b"content")
        writer.close()
    gevent.spawn_later(0.01, feed)
    got = bytearray()
    assert gzc.copy(reader, got) == 7
    assert got == b"content"
    assert os.get_blocking(r)
print("done")
"""


def test_o14_libuv_does_not_change_the_flags_of_somebody_elses_pipe() -> None:
    """O14: its other holders would see them; libuv sets O_NONBLOCK on whatever it watches."""
    assert python(LIBUV, env={"GEVENT_LOOP": "libuv"}) == "done\n"


def test_the_settings_say_what_they_are() -> None:
    assert repr(Config({"GZC_CHUNK": "65536"})) == (
        "Config(chunk=65536, small=32768, pipe_size=1048576, hub_budget=0.005, pool_pipes=8, disk_threads=4,"
        " disk_grace=1.0, disable=frozenset())"
    )


def test_settings_from_the_environment() -> None:
    config = Config({"GZC_CHUNK": "65536", "GZC_DISABLE": "sendfile, splice", "GZC_SMALL": "0", "OTHER": "x"})
    assert (config.chunk, config.small, config.disable) == (65536, 0, {"sendfile", "splice"})


def test_the_kill_switch(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hard case C18."""
    monkeypatch.setattr(gzc.config, "disable", "sendfile")
    content = payload(MIB)
    file, (sock, there) = ends.file(content), ends.unix()
    peer = ends.reading(there)
    plan = gzc.explain(file, sock)
    assert plan.mechanism != "sendfile"
    assert "switched off" in plan.reason
    with gzc.trace() as t:
        assert gzc.copy(file, sock) == len(content)
    assert t.calls["sendfile"] == 0
    assert [count for why, count in t.refused if "switched off" in why] == [1]
    sock.close()
    assert peer.all() == content
