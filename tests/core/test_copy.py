"""`gzc.copy` between every pair of ends: the count it returns, the bytes, and where both ends then stand.

Rules: every source begins behind a few bytes that were read before, every sink behind a few that were written,
and after each copy both are used on with their own methods: what is lost, repeated or reordered shows there.
How a pair travels is asserted only for the pairs that have a faster way than user space.
"""

# ruff: noqa: SIM115 - what is opened here is given to `Ends.keep`, which closes it

import array
import contextlib
import gzip
import io
import mmap
import os
import socket as native
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gevent
import pytest
from gevent import fileobject
from gevent import socket as gsocket
from hypothesis import given, settings
from hypothesis import strategies as st

import gzc

from .._ends import (
    BEYOND_SMALL,
    CHUNK,
    KIB,
    MIB,
    PATIENCE,
    Ends,
    PlainFileObject,
    at_rest,
    error,
    is_at,
    payload,
)

SIZES = (0, 1, 42, 1025, 4097, 32 * KIB, BEYOND_SMALL, MIB + 3, 5 * MIB)
HEAD, TAIL = b"head\n", b"END"


@contextlib.contextmanager
def no_small() -> Iterator[None]:
    """Every size takes the fast path."""
    before, gzc.config.small = gzc.config.small, 0
    try:
        yield
    finally:
        gzc.config.small = before


# -- sources -----------------------------------------------------------------------------------------------


class Reader:
    """Only `read`, and never as much as was asked for: a short read is no end (hard case X8)."""

    def __init__(self, content: bytes) -> None:
        self._inner = io.BytesIO(content)
        self._step = 0

    def read(self, count: int) -> bytes:
        self._step += 1
        return self._inner.read(min(count, 1 + self._step * 977 % 40_009))


class Receiver:
    """Only `recv`."""

    def __init__(self, content: bytes) -> None:
        self.recv = Reader(content).read


class IntoReader:
    """Only `readinto`."""

    def __init__(self, content: bytes) -> None:
        self._read = Reader(content).read

    def readinto(self, buffer: memoryview) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class IntoReceiver:
    """Only `recv_into`."""

    def __init__(self, content: bytes) -> None:
        self.recv_into = IntoReader(content).readinto


def _behind_head(file: Any) -> Any:
    assert file.read(len(HEAD)) == HEAD
    return file


def _opened(open_: Callable[..., Any], *args: Any) -> Callable[[Ends, bytes], Any]:
    return lambda ends, content: _behind_head(ends.keep(open_(str(ends.path(HEAD + content)), *args)))


def _filled(make: Callable[[], Any]) -> Callable[[Ends, bytes], Any]:
    def source(ends: Ends, content: bytes) -> Any:
        file = ends.keep(make())
        file.write(HEAD + content)
        file.seek(0)
        return _behind_head(file)

    return source


def _socket(family: str) -> Callable[[Ends, bytes], Any]:
    def source(ends: Ends, content: bytes) -> Any:
        here, there = ends.pair(family)
        ends.feeding(there, content)
        return here

    return source


def _mmap(ends: Ends, content: bytes) -> mmap.mmap:
    memory = mmap.mmap(-1, len(HEAD + content))
    memory.write(HEAD + content)
    memory.seek(len(HEAD))
    return memory


def _gzip(ends: Ends, content: bytes) -> Any:
    path = ends.path()
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(HEAD + content)
    return _behind_head(ends.keep(gzip.open(path)))


FILES: dict[str, Callable[[Ends, bytes], Any]] = {
    "BufferedReader": _opened(open, "rb"),
    "FileIO": _opened(open, "rb", 0),
    "BufferedRandom": _opened(open, "r+b"),
    "FileObjectPosix": _opened(PlainFileObject, "rb"),
    "FileObjectPosix r+b": _opened(PlainFileObject, "r+b"),
    "FileObjectBlock": _opened(fileobject.FileObjectBlock, "rb"),
    "NamedTemporaryFile": _filled(tempfile.NamedTemporaryFile),
    "TemporaryFile": _filled(tempfile.TemporaryFile),
    "SpooledTemporaryFile rolled": _filled(lambda: tempfile.SpooledTemporaryFile(max_size=1)),
}
SOURCES: dict[str, Callable[[Ends, bytes], Any]] = {
    **FILES,
    "FileObjectThread": _opened(fileobject.FileObjectThread, "rb"),
    "SpooledTemporaryFile unrolled": _filled(lambda: tempfile.SpooledTemporaryFile(max_size=64 * MIB)),
    "bytes": lambda ends, content: content,
    "bytearray": lambda ends, content: bytearray(content),
    "memoryview": lambda ends, content: memoryview(HEAD + content + TAIL)[len(HEAD) : -len(TAIL)],
    "BytesIO": _filled(io.BytesIO),
    "mmap": _mmap,
    "tcp": _socket("tcp"),
    "unix": _socket("unix"),
    "read": lambda ends, content: Reader(content),
    "recv": lambda ends, content: Receiver(content),
    "readinto": lambda ends, content: IntoReader(content),
    "recv_into": lambda ends, content: IntoReceiver(content),
    "GzipFile": _gzip,
}


def rest(source: Any) -> bytes | None:
    """What `source` gives by its own methods now; None when it has none and no position."""
    read = getattr(source, "read", None) or getattr(source, "recv", None)
    if read is not None:
        return b"".join(iter(partial(read, MIB), b""))
    into = getattr(source, "readinto", None) or getattr(source, "recv_into", None)
    if into is not None:
        buffer = bytearray(MIB)
        return b"".join(iter(lambda: bytes(buffer[: into(memoryview(buffer))]), b""))
    return None


# -- sinks -------------------------------------------------------------------------------------------------


class Written(NamedTuple):
    """A sink, how to write on behind the copy, and how to find out what it got."""

    sink: Any
    write: Callable[[bytes], object]
    content: Callable[[], bytes]


class Writer:
    """Only `write`, which answers `answer(taken)`, and takes no more than `most` at a time."""

    def __init__(self, most: int | None = None, answer: Callable[[int], object] = int) -> None:
        self.got = bytearray()
        self._most = most
        self._answer = answer

    def write(self, data: bytes) -> object:
        part = data[: self._most]
        self.got += part
        return self._answer(len(part))


class Only:
    """One method under one name."""

    def __init__(self, name: str, method: Callable[[bytes], object]) -> None:
        setattr(self, name, method)


def _to_socket(family: str) -> Callable[[Ends, int], Written]:
    def sink(ends: Ends, size: int) -> Written:
        here, there = ends.pair(family)
        peer = ends.reading(there)
        here.sendall(HEAD)

        def content() -> bytes:
            here.shutdown(native.SHUT_WR)
            return peer.all()

        return Written(here, here.sendall, content)

    return sink


def _to_file(open_: Callable[..., Any], mode: str, *args: Any) -> Callable[[Ends, int], Written]:
    """Behind unflushed bytes (hard case O4); with 'r+b' behind bytes read, too (O5)."""

    def sink(ends: Ends, size: int) -> Written:
        path = ends.path(HEAD if mode != "wb" else b"to be truncated")
        file = ends.keep(open_(str(path), mode, *args))
        if mode == "r+b":
            assert file.read(2) == HEAD[:2]
            file.seek(0)
        if mode != "ab":
            file.write(HEAD)

        def content() -> bytes:
            file.close()
            return path.read_bytes()

        return Written(file, file.write, content)

    return sink


def _to_temporary(make: Callable[[], Any]) -> Callable[[Ends, int], Written]:
    def sink(ends: Ends, size: int) -> Written:
        file = ends.keep(make())
        file.write(HEAD)

        def content() -> bytes:
            file.seek(0)
            return bytes(file.read())

        return Written(file, file.write, content)

    return sink


def _to_bytearray(ends: Ends, size: int) -> Written:
    memory = bytearray(HEAD)
    return Written(memory, memory.extend, lambda: bytes(memory))


def _to_mmap(ends: Ends, size: int) -> Written:
    memory = mmap.mmap(-1, len(HEAD) + size + len(TAIL))
    memory.write(HEAD)
    return Written(memory, memory.write, lambda: memory[: memory.tell()])


def _to_writer(name: str, most: int | None = None, answer: Callable[[int], object] = int) -> Callable[..., Written]:
    def sink(ends: Ends, size: int) -> Written:
        writer = Writer(most, answer)
        writer.got += HEAD
        return Written(
            writer if name == "write" else Only(name, writer.write), writer.got.extend, lambda: bytes(writer.got)
        )

    return sink


SINKS: dict[str, Callable[[Ends, int], Written]] = {
    "tcp": _to_socket("tcp"),
    "unix": _to_socket("unix"),
    "file wb": _to_file(open, "wb"),
    "file ab": _to_file(open, "ab"),
    "file r+b": _to_file(open, "r+b"),
    "FileIO wb": _to_file(open, "wb", 0),
    "FileIO ab": _to_file(open, "ab", 0),
    "FileObjectPosix wb": _to_file(PlainFileObject, "wb"),
    "FileObjectThread wb": _to_file(fileobject.FileObjectThread, "wb"),
    "NamedTemporaryFile": _to_temporary(tempfile.NamedTemporaryFile),
    "SpooledTemporaryFile": _to_temporary(lambda: tempfile.SpooledTemporaryFile(max_size=10_000)),
    "BytesIO": _to_temporary(io.BytesIO),
    "bytearray": _to_bytearray,
    "mmap": _to_mmap,
    "write": _to_writer("write"),
    "write, short": _to_writer("write", 9_973),
    "write, None": _to_writer("write", None, lambda taken: None),
    "write, True": _to_writer("write", None, bool),
    "sendall": _to_writer("sendall", None, lambda taken: None),
    "send, short": _to_writer("send", 9_973),
}


def check(ends: Ends, source: Any, written: Written, content: bytes, count: int | None) -> None:
    """Copy, and hold the count, the bytes and both positions against `content`."""
    expected = content if count is None else content[:count]
    with gevent.Timeout(PATIENCE):
        assert gzc.copy(source, written.sink, count) == len(expected)
        left = rest(source)
        assert left in (None, content[len(expected) :])
        written.write(TAIL)
        assert written.content() == HEAD + expected + TAIL


def counts(size: int) -> tuple[int | None, ...]:
    return (None, max(0, size - 1), size // 2, size + 1)


# -- every pair --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_pair_whole_and_in_part(ends: Ends, source: str, sink: str) -> None:
    content = payload(CHUNK + 1025)
    for count in (None, 70_001):
        check(ends, SOURCES[source](ends, content), SINKS[sink](ends, len(content)), content, count)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_in_every_size(ends: Ends, source: str, size: int) -> None:
    content = payload(size)
    for count in counts(size):
        check(ends, SOURCES[source](ends, content), SINKS["tcp"](ends, size), content, count)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sink", SINKS)
def test_every_sink_in_every_size(ends: Ends, sink: str, size: int) -> None:
    content = payload(size)
    for source in ("BufferedReader", "unix", "BytesIO"):
        for count in counts(size):
            check(ends, SOURCES[source](ends, content), SINKS[sink](ends, size), content, count)


@pytest.mark.parametrize("family", ["tcp", "unix"])
@pytest.mark.parametrize("source", FILES)
def test_a_file_goes_to_a_socket_by_sendfile_alone(ends: Ends, source: str, family: str) -> None:
    content = payload(MIB + 3)
    file, written = FILES[source](ends, content), SINKS[family](ends, 0)
    plan = gzc.explain(file, written.sink)
    assert plan.mechanism == "sendfile", plan
    assert "sendfile" in str(plan)
    with gzc.trace() as t:
        assert gzc.copy(file, written.sink, fallback=False) == len(content)
    assert t.bytes["sendfile"] == sum(t.bytes.values()) == len(content)
    assert sum(t.calls.values()) == t.calls["sendfile"]
    assert t.refused == []
    assert written.content() == HEAD + content


@pytest.mark.parametrize("source", FILES)
def test_a_small_file_goes_by_one_read_and_one_send_unless_forbidden(ends: Ends, source: str) -> None:
    content = payload(32 * KIB)
    file, written = FILES[source](ends, content), SINKS["tcp"](ends, 0)
    plan = gzc.explain(file, written.sink)
    assert plan.mechanism == "userspace"
    assert "small" in plan.reason
    with gzc.trace() as t:
        assert gzc.copy(file, written.sink, len(content) - 1) == len(content) - 1
        assert gzc.copy(file, written.sink, fallback=False) == 1
    assert (t.bytes["userspace"], t.bytes["sendfile"]) == (len(content) - 1, 1)
    assert t.calls["userspace"] == 2
    assert t.refused == []


def test_a_count_decides_what_is_small(ends: Ends) -> None:
    file, (sock, _) = ends.file(payload(MIB)), ends.unix()
    assert gzc.explain(file, sock, 32 * KIB).mechanism == "userspace"
    assert gzc.explain(file, sock, BEYOND_SMALL).mechanism == "sendfile"
    file.seek(-100, os.SEEK_END)
    assert gzc.explain(file, sock).mechanism == "userspace"


def test_explain_moves_nothing(ends: Ends) -> None:
    content = payload(100_000)
    file, (sock, there) = ends.file(content), ends.unix()
    file.read(10)
    with gzc.trace() as t:
        gzc.explain(file, sock)
        gzc.explain(there, io.BytesIO(), 5)
    assert sum(t.calls.values()) == 0
    is_at(file, 10, content)
    there.setblocking(False)
    with pytest.raises(BlockingIOError):
        there.recv(1)


# -- ends with manners of their own ------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["H", "I", "d"])
def test_a_view_of_wider_items_counts_bytes(ends: Ends, code: str) -> None:
    items = array.array(code, payload(80_000))
    view = memoryview(items)[10:-10]
    content = bytes(view)
    for count in (None, len(view), 3, 0):  # len() of this view is a number of items
        check(ends, view, SINKS["unix"](ends, 0), content, count)


def test_a_view_of_two_dimensions_counts_bytes() -> None:
    content = payload(60)
    view = memoryview(content).cast("B", (6, 10))
    assert gzc.copy(view, sink := bytearray()) == 60
    assert sink == content


@pytest.mark.parametrize("make", [bytearray, io.BytesIO], ids=["bytearray", "BytesIO"])
def test_memory_can_grow_again_after_a_copy(ends: Ends, make: Callable[[bytes], Any]) -> None:
    """An exported buffer cannot be resized: what a copy exports it must take back."""
    memory = make(b"abc")
    gzc.copy(memory, bytearray())
    (memory.extend if isinstance(memory, bytearray) else memory.write)(payload(1000))


@pytest.mark.parametrize("make", [bytearray, io.BytesIO], ids=["bytearray", "BytesIO"])
def test_memory_can_grow_while_it_is_only_described(ends: Ends, make: Callable[[bytes], Any]) -> None:
    memory = make(b"abc")
    plan = gzc.explain(memory, bytearray())
    transfer = gzc.Transfer(memory, sink := bytearray())
    (memory.extend if isinstance(memory, bytearray) else io.BytesIO.write.__get__(memory))(b"defg")
    assert plan.mechanism == "userspace"
    transfer.run()
    assert sink in (b"abcdefg", b"")  # the BytesIO stands behind what was written


def test_an_mmap_or_bytesio_source_starts_at_its_position_and_ends_behind_what_went() -> None:
    memory = io.BytesIO(b"0123456789")
    memory.seek(3)
    assert gzc.copy(memory, sink := bytearray(), 4) == 4
    assert (sink, memory.tell()) == (b"3456", 7)
    memory.seek(50)
    assert gzc.copy(memory, sink) == 0
    assert memory.tell() == 50


def test_a_socket_echoes_itself(ends: Ends) -> None:
    """API.md: a copy to itself is an echo server."""
    here, there = ends.tcp()
    content = payload(MIB)
    ends.feeding(there, content)
    peer = ends.reading(there)
    with gevent.Timeout(PATIENCE):
        assert gzc.copy(here, here) == len(content)
    here.shutdown(native.SHUT_WR)
    assert peer.all() == content


def test_two_directions_of_one_socket_at_once(ends: Ends) -> None:
    here, there = ends.tcp()
    up, down = payload(MIB), payload(MIB, start=MIB)
    ends.feeding(there, up)
    peer = ends.reading(there)
    got = bytearray()
    upwards = ends.spawn(gzc.copy, here, got)
    assert gzc.copy(down, here) == len(down)
    here.shutdown(native.SHUT_WR)
    assert upwards.get(timeout=PATIENCE) == len(up)
    assert (bytes(got), peer.all()) == (up, down)


@pytest.mark.parametrize("source", ["BufferedReader", "bytes", "unix", "GzipFile", "read"])
def test_dev_null_takes_everything(ends: Ends, source: str) -> None:
    content = payload(MIB + 3)
    with open("/dev/null", "wb") as sink:
        assert gzc.copy(SOURCES[source](ends, content), sink) == len(content)
    with open("/dev/null", "wb", 0) as sink:
        assert gzc.copy(SOURCES[source](ends, content), sink, 10) == 10


@pytest.mark.parametrize("mode", ["rb", "wb"])
def test_a_pipe_is_an_end(ends: Ends, mode: str) -> None:
    content = payload(MIB)
    reader, writer = (ends.keep(f) for f in map(fileobject.FileObjectPosix, os.pipe(), ("rb", "wb")))
    if mode == "rb":

        def feed() -> None:
            writer.write(content)
            writer.close()

        ends.spawn(feed)
        assert gzc.copy(reader, sink := bytearray()) == len(content)
        assert sink == content
    else:
        reading = ends.spawn(reader.read)
        assert gzc.copy(content, writer) == len(content)
        writer.close()
        assert reading.get(timeout=PATIENCE) == content


def test_bytes_on_a_pipe_do_not_wait_for_more(ends: Ends) -> None:
    """Hard case X9."""
    read_end, write_end = os.pipe()
    reader = ends.keep(open(read_end, "rb"))
    os.write(write_end, b"five ")
    sink = Writer(answer=lambda taken: os.close(write_end))  # the end only after the bytes were delivered
    assert gzc.copy(reader, sink) == 5
    assert sink.got == b"five "


@pytest.mark.parametrize("pauses", [1, 5])
def test_short_reads_are_no_end(ends: Ends, pauses: int) -> None:
    """Hard case X8: lines that come one by one, each only when the one before has been delivered."""
    here, there = ends.unix()
    lines = [b"line %d\n" % n for n in range(pauses)]
    left = list(lines)

    def next_line(taken: int) -> int:
        if left:
            there.sendall(left.pop(0))
        else:
            there.shutdown(native.SHUT_WR)
        return taken

    next_line(0)
    sink = Writer(answer=next_line)
    with gevent.Timeout(PATIENCE):
        assert gzc.copy(here, sink) == sum(map(len, lines))
    assert sink.got == b"".join(lines)


@pytest.mark.parametrize("kind", [native.SOCK_DGRAM, native.SOCK_SEQPACKET], ids=["datagram", "seqpacket"])
@pytest.mark.parametrize("sink_kind", [native.SOCK_DGRAM, native.SOCK_SEQPACKET], ids=["datagram", "seqpacket"])
def test_records_stay_records(ends: Ends, kind: int, sink_kind: int) -> None:
    """Hard cases D4, D5: one record a step, none cut, merged or taken for the end."""
    records = [payload(size, start=size) for size in (1, 100, 30_000, 2, 60_000)]
    (here, there), (out, drain) = ends.unix(kind), ends.unix(sink_kind)
    got: list[bytes] = []
    reading = ends.spawn(lambda: [got.append(drain.recv(MIB)) for _ in records])

    def feed() -> None:
        for record in records:
            there.send(record)

    assert gzc.explain(here, out).mechanism == "userspace"
    ends.spawn(feed)
    with gevent.Timeout(PATIENCE):
        assert gzc.copy(here, out, sum(map(len, records))) == sum(map(len, records))
        reading.get()
    assert got == records


def test_an_empty_datagram_is_no_end(ends: Ends) -> None:
    """Hard case D4: a datagram of no bytes looks like the end of a file."""
    here, there = ends.unix(native.SOCK_DGRAM)
    for record in (b"", b"one", b"", b"", b"two", b""):
        there.send(record)
    assert gzc.copy(here, sink := bytearray(), 6) == 6
    assert sink == b"onetwo"


@pytest.mark.parametrize("kind", [native.SOCK_DGRAM, native.SOCK_SEQPACKET], ids=["datagram", "seqpacket"])
def test_a_large_record_comes_whole(ends: Ends, kind: int) -> None:
    """Hard case D4: a unix record may fill the socket's buffer, and the kernel drops what was not asked for."""
    here, there = ends.unix(kind)
    records = [payload(150_000), payload(5)]
    for record in records:
        there.setsockopt(native.SOL_SOCKET, native.SO_SNDBUF, MIB)
        ends.spawn(there.send, record)
    here.settimeout(2)  # where the record is cut, the rest never comes
    assert gzc.copy(here, sink := bytearray(), 150_005) == 150_005
    assert sink == b"".join(records)


def test_seqpacket_ends_with_the_connection(ends: Ends) -> None:
    here, there = ends.unix(native.SOCK_SEQPACKET)
    there.send(b"first")
    there.send(b"second")
    there.close()
    assert gzc.copy(here, sink := bytearray()) == 11
    assert sink == b"firstsecond"


def test_udp_records(ends: Ends) -> None:
    here, there = (ends.keep(gsocket.socket(native.AF_INET, native.SOCK_DGRAM)) for _ in range(2))
    for sock in (here, there):
        sock.bind(("127.0.0.1", 0))
    here.connect(there.getsockname())
    there.connect(here.getsockname())
    file = ends.file(payload(100_000))
    assert gzc.explain(file, here).mechanism == "userspace"
    assert gzc.copy(file, here, 300) == 300
    assert there.recv(MIB) == payload(300)


# -- positions ---------------------------------------------------------------------------------------------


def _raw_position(file: Any) -> int:
    return os.lseek(file.fileno(), 0, os.SEEK_CUR)


@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_the_logical_position_counts_not_the_descriptors(ends: Ends, mode: str) -> None:
    """Hard cases O1, O2: after read and seek within the buffer, the descriptor is far ahead of the file."""
    content = payload(MIB)
    file, written = ends.file(content, mode), SINKS["unix"](ends, 0)
    assert file.read(4) == content[:4]
    file.seek(0)
    assert mode == "r+b" or _raw_position(file) > 0  # else this proves nothing
    assert gzc.explain(file, written.sink).mechanism == "sendfile"
    assert gzc.copy(file, written.sink) == len(content)
    assert written.content() == HEAD + content
    assert file.tell() == len(content)


@pytest.mark.parametrize("before", [1, 4095, 4096, 4097, 100_000])
def test_a_partly_read_file_goes_on_where_it_was_read_to(ends: Ends, before: int) -> None:
    """Hard case O3."""
    content = payload(MIB)
    file, written = ends.file(content), SINKS["tcp"](ends, 0)
    file.read(before)
    assert gzc.copy(file, written.sink, 300_000) == 300_000
    assert written.content() == HEAD + content[before : before + 300_000]
    is_at(file, before + 300_000, content)


def test_unflushed_writes_are_part_of_the_file(ends: Ends) -> None:
    content = payload(100_000)
    file, written = ends.file(content, "r+b"), SINKS["unix"](ends, 0)
    file.seek(50_000)
    file.write(b"unflushed")
    expected = content[:50_000] + b"unflushed" + content[50_009:]
    file.seek(10)
    file.read(5)
    file.seek(49_998)
    file.write(b"XY")
    expected = expected[:49_998] + b"XY" + expected[50_000:]
    assert file.tell() == 50_000
    assert gzc.copy(file, written.sink) == 50_000
    assert written.content() == HEAD + expected[50_000:]
    file.seek(0)
    assert file.read() == expected


def test_writes_that_only_exist_in_the_buffer(ends: Ends) -> None:
    """The descriptor has size 0 and the file has not."""
    file, written = ends.file(b"", "w+b"), SINKS["unix"](ends, 0)
    file.write(payload(5000))
    file.seek(1000)
    file.write(b"!")
    assert gzc.copy(file, written.sink) == 3999
    assert written.content() == HEAD + payload(5000)[1001:]


def test_beyond_the_end_there_is_nothing_and_the_position_stays(ends: Ends) -> None:
    file, (sock, _) = ends.file(payload(10)), ends.unix()
    file.seek(1000)
    with gzc.trace() as t:
        assert gzc.copy(file, sock) == 0
        assert gzc.copy(file, sock, 50) == 0
    assert file.tell() == 1000
    assert t.calls["sendfile"] == 0


@pytest.mark.parametrize("source", FILES)
def test_position_after_an_error_in_the_middle(ends: Ends, source: str) -> None:
    content = payload(5 * MIB)
    file, (sock, there) = FILES[source](ends, content), ends.unix()
    peer = ends.peer(there)

    def read_some_and_leave() -> None:
        peer.take(MIB)
        there.close()

    ends.spawn(read_some_and_leave)
    with pytest.raises(OSError, match="Broken pipe") as caught:
        gzc.copy(file, sock)
    moved = caught.value.transfer.moved
    assert MIB <= moved < len(content)
    is_at(file, len(HEAD) + moved, HEAD + content)


@pytest.mark.parametrize("source", FILES)
def test_position_after_a_kill(ends: Ends, source: str) -> None:
    content = payload(5 * MIB)
    file, (sock, there) = FILES[source](ends, content), ends.unix()
    copying = ends.spawn(gzc.copy, file, sock)
    part = ends.peer(there).take(MIB)
    copying.kill(timeout=PATIENCE)
    sock.shutdown(native.SHUT_WR)
    part += ends.peer(there).all()
    assert MIB < len(part) < len(content)
    assert content.startswith(part)
    is_at(file, len(HEAD) + len(part), HEAD + content)


@pytest.mark.parametrize("small", [True, False])
def test_tell_never_goes_astray(ends: Ends, small: bool) -> None:
    """Hard case O6: a seek of the descriptor behind the object's back makes tell() negative."""
    content = payload(MIB)
    file, written = ends.file(content), SINKS["unix"](ends, 0)
    step = 1000 if small else 40_000
    for n in range(10):
        assert file.tell() == n * (step + 3)
        assert file.read(3) == content[n * (step + 3) :][:3]
        assert gzc.copy(file, written.sink, step) == step
        file.peek(1)
    assert written.content() == HEAD + b"".join(content[n * (step + 3) + 3 :][:step] for n in range(10))


def test_the_same_file_in_two_objects(ends: Ends) -> None:
    """Explicit offsets: two transfers that share one offset do not push each other on, once they have begun."""
    content = payload(2 * MIB)
    first = ends.file(content)
    second = ends.keep(open(os.dup(first.fileno()), "rb"))
    (a, b), (c, d) = ends.unix(), ends.unix()
    peers = ends.reading(b), ends.reading(d)
    began = []

    def copy(file: Any, sock: Any) -> None:
        began.append(file.tell())  # the first has moved it, as a loop of ``read`` does
        gzc.copy(file, sock)

    gevent.joinall([ends.spawn(copy, first, a), ends.spawn(copy, second, c)], PATIENCE, raise_error=True)
    a.close()
    c.close()
    assert [peer.all() for peer in peers] == [content[at:] for at in began]


# -- limits (hard case X5) ---------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["BufferedReader", "unix", "BytesIO", "read", "bytes"])
@pytest.mark.parametrize(
    ("limits", "count", "expected"),
    [
        ((100_000,), None, 100_000),
        ((100_000,), 60_000, 60_000),
        ((60_000,), 100_000, 60_000),
        ((100_000, 60_000), None, 60_000),
        ((60_000, 100_000), None, 60_000),
        ((10 * MIB,), None, MIB),
        ((0,), None, 0),
    ],
)
def test_the_smallest_limit_counts(
    ends: Ends, source: str, limits: tuple[int, ...], count: int | None, expected: int
) -> None:
    content = payload(MIB)
    inner = SOURCES[source](ends, content)
    limited = gzc.source(inner)
    for limit in limits:
        limited = limited.limited(limit)
    written = SINKS["unix"](ends, 0)
    assert gzc.copy(limited, written.sink, count) == expected
    assert written.content() == HEAD + content[:expected]
    assert rest(inner) in (None, content[expected:])
    assert limited.limit == min(limits), "a description stays as it is"


def test_a_limit_counts_down_over_several_copies_and_errors(ends: Ends) -> None:
    content = payload(5 * MIB)
    file = ends.file(content)
    limited = gzc.limit(file, 4 * MIB)
    here, there = ends.unix()
    peer = ends.peer(there)
    copying = ends.spawn(gzc.copy, limited, here)
    peer.take(MIB)
    copying.kill(timeout=PATIENCE)
    moved = file.tell()
    assert limited.remaining == 4 * MIB - moved
    written = SINKS["unix"](ends, 0)
    assert gzc.copy(limited, written.sink) == 4 * MIB - moved
    assert written.content() == HEAD + content[moved : 4 * MIB]
    assert limited.remaining == 0
    assert gzc.copy(limited, written.sink) == 0


def test_a_limit_of_nothing_makes_no_call(ends: Ends) -> None:
    file, (sock, _) = ends.file(payload(MIB)), ends.unix()
    with gzc.trace() as t:
        assert gzc.copy(gzc.source(file).limited(0), sock) == 0
    assert sum(t.calls.values()) == 0


# -- against a model ---------------------------------------------------------------------------------------

_steps = st.one_of(
    st.tuples(st.just("read"), st.integers(0, 9000)),
    st.tuples(st.just("peek"), st.just(1)),
    st.tuples(st.just("readline"), st.integers(0, 500)),
    st.tuples(st.just("seek"), st.integers(0, 120_000)),
    st.tuples(st.just("write"), st.integers(0, 9000)),
    st.tuples(st.just("copy"), st.one_of(st.none(), st.integers(0, 130_000))),
    st.tuples(st.just("limited"), st.integers(0, 130_000)),
    st.tuples(st.just("fill"), st.integers(0, 70_000)),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(["rb", "r+b", "rb unbuffered", "gevent r+b"]), st.lists(_steps, max_size=14))
def test_any_order_of_reads_seeks_writes_and_copies(how: str, steps: list[tuple[str, int | None]]) -> None:
    """A file, and a BytesIO that does the same with plain reads and writes."""
    content = payload(100_000)
    with tempfile.TemporaryDirectory() as folder, Ends(Path(folder)) as ends, no_small():
        path = ends.path(content)
        file: Any
        if how.startswith("gevent"):
            file = ends.keep(PlainFileObject(str(path), "r+b"))
        else:
            file = ends.keep(open(path, how.partition(" ")[0], 0 if "unbuffered" in how else -1))
        model, expected = io.BytesIO(content), bytearray()
        sock, there = ends.unix()
        peer = ends.reading(there)
        for name, n in steps:
            if name in ("write", "fill") and "+" not in how:
                continue
            if name == "copy":
                data = model.read(n)
                assert gzc.copy(file, sock, n) == len(data)
                expected += data
            elif name == "limited":
                data = model.read(n)
                assert gzc.copy(gzc.source(file).limited(n), sock) == len(data)
                expected += data
            elif name == "fill":  # the file as a sink
                assert n is not None
                assert gzc.copy(payload(n, start=7), file) == model.write(payload(n, start=7))
            elif name == "write":
                assert n is not None
                file.write(payload(n, start=9))
                model.write(payload(n, start=9))
            elif name == "seek":
                assert file.seek(n) == model.seek(n or 0)
            elif name == "peek":
                if hasattr(file, "peek"):
                    file.peek(n)
            else:
                assert getattr(file, name)(n) == getattr(model, name)(n)
            assert file.tell() == model.tell()
            with gevent.Timeout(PATIENCE):
                while len(peer.received) < len(expected):  # a later write would show in pages still on their way (F7)
                    at_rest()
        file.close()
        sock.close()
        assert peer.all() == expected
        assert path.read_bytes() == model.getvalue()


def test_the_error_of_a_reader_is_its_own(ends: Ends) -> None:
    """What was delivered before counts, and the position is that of the delivered bytes."""
    broken = error(5)

    class Breaks(Reader):
        def read(self, count: int) -> bytes:
            if self._step == 3:
                raise broken
            return super().read(count)

    with pytest.raises(OSError, match="Input/output") as caught:
        gzc.copy(Breaks(payload(MIB)), sink := bytearray())
    assert caught.value is broken
    assert caught.value.transfer.moved == len(sink) > 0
    assert caught.value.transfer.exact
